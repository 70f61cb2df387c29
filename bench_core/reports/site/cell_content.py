"""The content of a record's page, as texts: scores, parameters, commands, provenance, cost, curves and pictures.

A record comes from anybody's store: whatever it holds becomes text, and no field has to be there.
"""

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bench_core.keys import leaves
from bench_core.reports.pages.published_records import typed_command
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.tables.cells import decimals, show
from bench_core.store.record import AXES, Record, RecordScore

_MOST_ROWS = 500  # of a curve's numbers on a page
_IN_DOCUMENT = ("task", "embed")  # shown part by part
_IN_PRETRAIN = ("dataset", "encoder", "method", "recipe")
_BYTES_OF_PNG = "iVBORw0KGgo"  # the first ones, in base64
_COSTS = {
    "pretrain_s": ("training, shared by all cells of the chain", "s"),
    "embed_s": ("embedding, shared by all cells of the chain", "s"),
    "task_s": ("this task", "s"),
    "images_per_s": ("training speed", "images/s"),
    "peak_memory_gib": ("peak memory of the training", "GiB"),
}
_typed = lru_cache(maxsize=4096)(typed_command)  # many records have the same command
_PROVENANCE = {  # field -> what pages call it, in their order
    "command": "command",
    "started": "started",
    "ended": "ended",
    "device": "device",
    "threads": "threads",
    "precision": "precision",
    "commit": "commit",
    "dirty": "uncommitted changes",
    "bench": "bench-core",
    "torch": "torch",
    "python": "Python",
    "packages": "packages",
    "sources": "digests of its code",
    "embed_sources": "of the code of the embeddings",
}

Lines = list[tuple[str, str]]  # name and text


@dataclass(frozen=True)
class Part:
    """Names and values under one heading.

    Attributes:
        title: The heading.
        lines: Name and value of each.
    """

    title: str
    lines: Lines


@dataclass(frozen=True)
class Curve:
    """A curve of a record as numbers.

    Attributes:
        title: Its name, for people.
        columns: Names of its columns, x first.
        rows: The values at each x.
        length: Number of points in the record, of which long curves show every so manyth.
        drawn: Whether x is a number, and there are at least two points.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    length: int
    drawn: bool


def score_lines(record: Record) -> list[dict[str, str]]:
    """Return the scores of a record as texts, in its order."""
    return [_score(score) for score in record.scores.values()]


def first_score(record: Record) -> str:
    """Return the first score in a few words: "top1 96.9 %"."""
    for score in record.scores.values():
        return f"{score.metric} {_value(score.value, score.unit)}"
    return "no score"


def recipe_parts(record: Record) -> list[Part]:
    """Return all that defines the numbers: the four components with every parameter, the recipe, and what is left."""
    document = record.document
    parts = [Part(f"{axis}: {record.names[axis]}", _component(document.component(axis))) for axis in AXES]
    recipe = lines_of(document.recipe)
    rest = {name: value for name, value in document.content.items() if name not in _IN_DOCUMENT}
    embed = {name: value for name, value in document.embed.items() if name != "pretrain"}
    pretrain = {name: value for name, value in document.pretrain.items() if name not in _IN_PRETRAIN}
    further = [
        *lines_of(pretrain),
        *((f"embedding: {name}", text) for name, text in lines_of(embed)),
        *((f"task: {name}", text) for name, text in lines_of(rest)),
    ]
    return [*parts, Part("training recipe", recipe), Part("further", further)]


def command_lines(record: Record, board: SiteBoard) -> Lines:
    """Return what to type to run a cell again: what it does, and the command."""
    key = record.key[:12]
    verify = "repeats training and task from this record, in a folder that is deleted, and compares the scores"
    if board.published:
        names = record.names
        words = shlex.split(board.command)
        for option, text in (
            ("--datasets", names["dataset"]),
            ("--methods", names["method"]),
            ("--tasks", names["task"]),
            ("--seeds", str(record.seed)),
        ):
            words += [option, text]
        folder = board.published.folder
        where = f"{folder.parent.name}/{folder.name}"
        return [
            ("runs this cell of the board again, into a store of yours", shlex.join(words)),
            (verify, f"bench verify {key} --store {shlex.quote(where)}"),
        ]
    store = board.store.path.name if board.store else "runs"
    lines = [(verify, shlex.join(["bench", "verify", key, "--store", store]))]
    if typed := _typed(record.provenance.command):
        lines.insert(0, ("was typed for it, with other cells of the same request", typed))
    return lines


def provenance_parts(record: Record) -> list[Part]:
    """Return code, machine and time of the task, and those of the training."""
    provenance = record.stored.get("provenance") or {}
    of_training = provenance.get("pretrain")
    parts = [Part("task", _provenance(provenance))]
    if isinstance(of_training, Mapping):
        parts.append(Part("training", _provenance(of_training)))
    return [part for part in parts if part.lines]


def cost_lines(record: Record) -> Lines:
    """Return what the cell has cost, with units."""
    lines = []
    for name, value in (record.stored.get("cost") or {}).items():
        label, unit = _COSTS.get(name, (_plain(name), ""))
        if value is not None:
            lines.append((label, f"{_short(value)} {unit}".strip()))
    return lines


def fact_lines(record: Record) -> Lines:
    """Return what else the record says of training and data."""
    facts = {name: value for name, value in (record.stored.get("facts") or {}).items() if name != "warnings"}
    lines = [(_plain(name), _in_one_line(value)) for name, value in facts.items() if value not in (None, "")]
    items = [
        (f"results by item, {metric}", f"{packed.get('n', '?')} of {packed.get('split', '?')}")
        for metric, packed in record.items.items()
    ]
    return [*lines, *items]


def warnings_of(record: Record) -> list[str]:
    """Return the warnings that the training ended with."""
    warnings = (record.stored.get("facts") or {}).get("warnings") or []
    return [str(warning) for warning in (warnings if isinstance(warnings, list) else [warnings])]


def curves_of(record: Record) -> list[Curve]:
    """Return the curves of a record as texts; of a long one every so manyth point."""
    curves = []
    for name, columns in record.curves.items():
        if set(columns) == {"precision", "recall"}:  # older records have precision first
            columns = {"recall": columns["recall"], "precision": columns["precision"]}
        length = min(map(len, columns.values()), default=0)
        step = -(-length // _MOST_ROWS) or 1
        rows = [[_number(values[k]) for values in columns.values()] for k in range(0, length, step)]
        of_x = next(iter(columns.values()), [])
        drawn = length > 1 and len(columns) > 1 and all(isinstance(x, int | float) for x in of_x)
        curves.append(Curve(_plain(name), list(columns), rows, length, drawn))
    return curves


def images_of(record: Record) -> Iterator[dict[str, str]]:
    """Yield the pictures of a record: address of the data, caption and the text in place of it."""
    names = record.names
    for name, content in record.images.items():
        if content.startswith(_BYTES_OF_PNG):  # in an attribute, where it is data of an image and nothing else
            caption = _plain(name)
            alt = f"{caption}: a grid of images by {names['method']} on {names['dataset']}, seed {record.seed}"
            yield {"name": caption, "source": f"data:image/png;base64,{content}", "alt": alt}


def lines_of(value: Mapping[str, Any]) -> Lines:
    """Return name and text of every leaf: ("config.dim", "128")."""
    return [(name, _text(leaf)) for key, inner in value.items() for name, leaf in leaves({key: inner})]


def _score(score: RecordScore) -> dict[str, str]:
    direction = {True: "higher ↑", False: "lower ↓", None: "none"}[score.higher_is_better]
    return {
        "metric": score.metric,
        "text": _value(score.value, score.unit),
        "exact": "" if score.value is None else repr(score.value),
        "unit": "" if score.unit == "fraction" else score.unit,
        "direction": direction if score.ranks or score.higher_is_better is None else f"{direction}; not ranked",
        "chance": _value(score.chance, score.unit) if score.chance is not None else "",
        "best": _value(score.best, score.unit) if score.best is not None else "",
        "n": f"{score.n:,}" if score.n is not None else "",
        "embedding": score.embedding or "",
        "caveat": score.caveat,
    }


def _value(value: float | None, unit: str) -> str:
    """Return a score as tables show it, fractions with one more digit and their sign."""
    if value is None:
        return "not measured"
    if not math.isfinite(value):
        return str(value)
    if unit == "fraction":
        return f"{show(value, unit, 2)} %"
    return f"{show(value, unit, decimals(unit, [value]))} {unit}".strip()


def _component(component: Mapping[str, Any]) -> Lines:
    """Return id, revision, digests and every parameter of a component, its parameters last."""
    first = {name: value for name, value in component.items() if name != "config"}
    return [*lines_of(first), *lines_of(component.get("config") or {})]


def _provenance(provenance: Mapping[str, Any]) -> Lines:
    """Return what is known of code, machine and time, without paths in the command; what a reader seeks is first."""
    known = {name: value for name, value in provenance.items() if value is not None and name != "pretrain"}
    ordered = [*(name for name in _PROVENANCE if name in known), *(name for name in known if name not in _PROVENANCE)]
    lines = []
    for name in ordered:
        value = known[name]
        if name == "command" and isinstance(value, str):
            value = _typed(value)
        elif name in ("started", "ended"):
            value = str(value).replace("T", " ").replace("+00:00", " UTC")
        lines.append((_PROVENANCE.get(name, _plain(name)), _in_one_line(value)))
    return lines


def _in_one_line(value: Any) -> str:
    """Return a value as text; what is in it by name stands in one line: "dataset 71e44b4a, encoder 71d1e141"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.removeprefix('bench-core/')} {_in_one_line(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "; ".join(map(_in_one_line, value))
    return _text(value).removeprefix("sha256:")


def _text(value: Any) -> str:
    """Return a value of a document as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
    """Return a value of a curve with at most five significant digits."""
    return f"{value:.5g}" if isinstance(value, float) else _text(value)


def _short(value: Any) -> str:
    """Return a number with four significant digits, large ones whole; another value as text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"


def _plain(name: str) -> str:
    return name.replace("_", " ")
