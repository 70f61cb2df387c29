"""Numbers that papers report: never mixed with ours, but shown below them, each with its source.

leaderboards/published.toml holds them; `bench table --published` and the boards' pages show those of their methods
and datasets.

[[number]]
method = "dim"
dataset = "cifar10"
beside = ["cifar10", "cifar10_jpeg"]    # datasets of ours below which it may be shown
setting = "..."                         # network, budget, which embedding is read and how
metric = "top1"
value = 0.7521                          # a fraction, unless `unit` names another unit
source = "paper, Table 1"
url = "https://..."
verified = "..."                        # how it was checked that the source reports this
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
FORMATS = ("md", "text")
_URL = re.compile(r"https://[^\s<>()|\\`]+")  # of characters that cannot end a Markdown link


@dataclass(frozen=True, kw_only=True)
class ReportedNumber:
    """One number that a paper reports; the fields are explained at the top of this file."""

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
        """Check that nothing is empty, the URL fits into a link, and a fraction is one."""
        for name in ("method", "dataset", "setting", "metric", "source", "verified"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        if not _URL.fullmatch(self.url):
            raise ValueError(f"url must begin with https:// and hold no blanks, <, >, ( or ), got {shown(self.url)}")
        if self.unit == "fraction" and not 0 <= self.value <= 1:
            raise ValueError(f"value must be a fraction in [0, 1], got {self.value}")


def shipped_numbers() -> Path:
    """Return the file that comes with the project: in a checkout below leaderboards/, in a wheel below shipped/."""
    root = checkout()
    return root / "leaderboards" / "published.toml" if root else shipped_files() / "published.toml"


def load_reported(path: Path) -> list[ReportedNumber]:
    """Read all numbers of a file, in its order.

    Raises:
        RequestError: The file is not TOML, or a number lacks a field.
    """
    document = read_toml(path)
    numbers = document.get("number", [])
    if set(document) - {"number"} or not isinstance(numbers, list) or not all(isinstance(n, dict) for n in numbers):
        raise RequestError(f"{path} must hold [[number]] tables and nothing else, got {shown(list(document))}")
    return [build(ReportedNumber, values, f"{path}: number {number}") for number, values in enumerate(numbers, 1)]


def check_format(format: str) -> None:
    """Raise UnknownNameError for a format that reported numbers cannot have."""
    if format not in FORMATS:
        raise UnknownNameError("format of published numbers", format, FORMATS, "Other formats: without --published.")


def beside(entries: Iterable[Entry], numbers: Sequence[ReportedNumber]) -> list[ReportedNumber]:
    """Return the numbers of the methods and datasets of these entries, sorted by dataset and method.

    Entries that were scored on a part of train have none beside them.
    """
    shown: set[tuple[str, str]] = set()
    for entry in entries:
        if entry.document and entry.document.held_out:
            continue  # they are of the test split
        for method in (component_name(entry, "method"), entry.names["method"]):
            for dataset in (component_name(entry, "dataset"), entry.names["dataset"]):
                shown.add((method, dataset))
    near = [n for n in numbers if any((n.method, dataset) in shown for dataset in (n.dataset, *n.beside))]
    return sorted(near, key=lambda n: (n.dataset, n.method, n.metric, -n.value))


def component_name(entry: Entry, axis: str) -> str:
    """Return the short name of a component behind a cell, whatever row or column are called; "" where it is unknown.

    Args:
        entry: The cell.
        axis: Which component: "dataset", "encoder", "method" or "task".
    """
    document = entry.document or (entry.record and entry.record.document)
    return str(document.component(axis)["id"]).rpartition("/")[2] if document else ""


def render_reported(numbers: Sequence[ReportedNumber], format: str) -> str:
    """Return a table of reported numbers as "md" or "text"; empty without any number.

    Raises:
        UnknownNameError: The format is another one.
    """
    check_format(format)
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
