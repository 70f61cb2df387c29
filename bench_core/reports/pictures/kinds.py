"""The kinds of pictures that are drawn from curves and images; a curve's name says of which kind it is.

projection   curves `projection*` with x, y, and label where there are classes: a panel for each row
pr           curves `pr_*` with recall and precision: a line for each row
histogram    curves `histogram*` with centre, density, prior: a panel for each row and curve
layers       curve `layers`, x first: a line for each row
lines        any other curve, x first
samples      grids of images: a panel for each row and grid
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_core.planning.boards import Picture
from bench_core.reports.pictures import histogram, lines, projection, samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.reports.pictures.model import Found

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind is found and drawn.

    Attributes:
        read: Record -> name -> curve or grid of this kind.
        paint: Draws what was found.
        what: In words, singular.
        hint: What to run for one.
        shared: Which seeds have the same points, see `bench_core.reports.pictures.model`: None: one seed is shown.
        apart: Whether each curve's name is a picture of its own.
    """

    read: Callable[[Record], Mapping[str, Mapping[str, Any]]]
    paint: "Callable[[Figure, Found, Picture], None]"
    what: str
    hint: str
    shared: str | None = None
    apart: bool = False


_PREFIXES = {"projection": "projection", "pr": "pr_", "histogram": "histogram", "layers": "layers"}


_COLUMNS = {
    "projection": {"x", "y"}, "pr": {"recall", "precision"}, "histogram": {"centre", "density", "prior"},
}  # fmt: skip


def kind_of(curve: str) -> str:
    """The kind of a curve by its name."""
    return next((kind for kind, prefix in _PREFIXES.items() if curve.startswith(prefix)), "lines")


def _curves(kind: str) -> Callable[[Record], Mapping[str, Mapping[str, Any]]]:
    def read(record: Record) -> Mapping[str, Mapping[str, Any]]:
        curves = record.get("curves") or {}
        needed = _COLUMNS.get(kind, set())
        return {n: curve for n, curve in curves.items() if kind_of(n) == kind and curve and needed <= curve.keys()}

    return read


def _precision_recall(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """Recall first: records of older code have their keys sorted."""
    return {name: {k: curve[k] for k in ("recall", "precision")} for name, curve in _curves("pr")(record).items()}


def _grids(record: Record) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"png": png} for name, png in (record.get("images") or {}).items()}


KINDS: dict[str, Kind] = {
    "projection": Kind(
        read=_curves("projection"),
        paint=projection.paint,
        what="a projection",
        hint="`bench run --tasks projection` makes one",
    ),
    "pr": Kind(
        read=_precision_recall,
        paint=lines.paint,
        what="a precision-recall curve",
        hint="`bench run --tasks retrieval` makes one",
        shared="points",  # each is a radius
    ),
    "histogram": Kind(
        read=_curves("histogram"),
        paint=histogram.paint,
        what="a histogram",
        hint="`bench run --tasks distribution` makes one",
        shared="x",
    ),
    "layers": Kind(
        read=_curves("layers"),
        paint=lines.paint,
        what="a curve over layers",
        hint="tasks that read every layer make one",
        shared="x",
    ),
    "lines": Kind(
        read=_curves("lines"),
        paint=lines.paint,
        what="another curve",
        hint="no task of this store leaves one",
        shared="x",
        apart=True,
    ),
    "samples": Kind(
        read=_grids,
        paint=samples.paint,
        what="a grid of images",
        hint="tasks that look at decoded images keep some",
    ),
}


def without_shown_once(record: Record) -> dict[str, Any]:
    """A record less the curves and images of which a picture shows one seed: other seeds' are large and never seen."""
    once = {name for kind in KINDS.values() if kind.shared is None for name in kind.read(record)}
    parts = {part: record.get(part) or {} for part in ("curves", "images")}
    return {**record, **{p: {n: v for n, v in named.items() if n not in once} for p, named in parts.items() if named}}


def shown_once(record: Record) -> bool:
    """Whether it holds any of those."""
    return any(kind.read(record) for kind in KINDS.values() if kind.shared is None)
