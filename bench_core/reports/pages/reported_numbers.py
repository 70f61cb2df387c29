"""Numbers that papers report: never among ours, only beside them, each with its source.

leaderboards/published.toml holds them; `bench table --published` and the boards' pages show those of the methods and
data in question.

[[number]]
method = "dim"
dataset = "cifar10"
beside = ["cifar10", "cifar10_jpeg"]    # data sets of ours that it may stand beside
setting = "..."                         # network, budget, what is read and how
metric = "top1"
value = 0.7521                          # a fraction, if `unit` says nothing else
source = "paper, Table 1"
url = "https://..."
verified = "..."                        # how it was checked that the source says so
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench_core.config import build, read_toml
from bench_core.errors import RequestError, UnknownNameError, shown
from bench_core.files import checkout, shipped_files
from bench_core.reports.tables import escape
from bench_core.reports.tables.cells import show
from bench_core.reports.tables.entries import Entry

NOTE = (
    "Reported elsewhere, with other networks, budgets and protocols; not run here, and not to be ranked with the rows "
    "above."
)


_URL = re.compile(r"https://[^\s<>()|\\`]+")  # what cannot leave a Markdown link


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number that somebody reports; see the module."""

    method: str
    dataset: str
    setting: str
    metric: str
    value: float
    source: str
    url: str
    verified: str
    beside: tuple[str, ...] = ()
    unit: str = "fraction"

    def __post_init__(self) -> None:
        """Nothing may be left open."""
        for name in ("method", "dataset", "setting", "metric", "source", "verified"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        if not _URL.fullmatch(self.url):
            raise ValueError(f"url must begin with https:// and hold no blanks, <, >, ( or ), got {self.url!r}")
        if self.unit == "fraction" and not 0 <= self.value <= 1:
            raise ValueError(f"value must be a fraction in [0, 1], got {self.value}")


def shipped_numbers() -> Path:
    """The file that comes with the project: in a checkout among the boards, in a wheel among its files."""
    root = checkout()
    return root / "leaderboards" / "published.toml" if root else shipped_files() / "published.toml"


def load_published(path: Path) -> list[Published]:
    """Every number of a file, in its order.

    Raises:
        RequestError: Not TOML, or a number that lacks something.
    """
    document = read_toml(path)
    numbers = document.get("number", [])
    if set(document) - {"number"} or not isinstance(numbers, list) or not all(isinstance(n, dict) for n in numbers):
        raise RequestError(f"{path} must hold [[number]] tables and nothing else, got {shown(list(document))}")
    return [build(Published, values, f"{path}: number {place}") for place, values in enumerate(numbers, 1)]


def beside(entries: Iterable[Entry], numbers: Sequence[Published]) -> list[Published]:
    """Those of the methods and data that the entries are about, sorted by data and method."""
    about = {
        (method, data)
        for entry in entries
        for method in (_id(entry, "method"), entry.names["method"])
        for data in (_id(entry, "dataset"), entry.names["dataset"])
    }
    near = [n for n in numbers if any((n.method, data) in about for data in (n.dataset, *n.beside))]
    return sorted(near, key=lambda n: (n.dataset, n.method, n.metric, -n.value))


def _id(entry: Entry, axis: str) -> str:
    """The component's short name, whatever the row is called."""
    doc = entry.doc or (entry.record or {}).get("doc")
    return str(doc["embed"]["pretrain"][axis]["id"]).rpartition("/")[2] if doc else ""


def render_published(numbers: Sequence[Published], format: str) -> str:
    """A table of them as "md" or "text"; empty without any.

    Raises:
        UnknownNameError: Another format.
    """
    if format not in ("md", "text"):
        raise UnknownNameError("format of published numbers", format, ("md", "text"))
    if not numbers:
        return ""
    safe = escape.markdown if format == "md" else escape.one_line
    rows = []
    for n in numbers:
        source = f"[{safe(n.source)}]({n.url})" if format == "md" else f"{safe(n.source)} {n.url}"
        percent = " %" if n.unit == "fraction" else ""
        value = show(n.value, n.unit, 1 if n.unit == "fraction" else 3) + percent
        rows.append([*map(safe, (n.method, n.dataset, n.setting, n.metric)), value, source, safe(n.verified)])
    table = tabulate(
        rows,
        headers=["method", "data", "setting", "metric", "reported", "source", "verified"],
        tablefmt="pipe" if format == "md" else "simple",
        disable_numparse=True,
        colalign=["left", "left", "left", "left", "right", "left", "left"],
    )
    title = "**Published numbers**" if format == "md" else "Published numbers"
    return f"{title}\n\n{table}\n\n{NOTE}\n"
