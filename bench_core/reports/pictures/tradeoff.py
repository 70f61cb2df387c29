"""Trade-offs: one score against another, a point for each row, bars for 95 % intervals over seeds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.select import rows
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def points(entries: Sequence[Entry], picture: Picture) -> dict[str, tuple[Cell, Cell]]:
    """Row -> its cells of x and y, as the table has them, in the order of the entries.

    Raises:
        RequestError: No record has one of the two scores, or there is more than one data set or encoder.
    """
    entries = rows(entries, picture)
    cells: list[dict[str, Cell]] = []
    for axis in (picture.x, picture.y):
        (table, *others) = build(entries, metric=axis)
        if others:
            raise RequestError(f"picture {picture.name!r}: a picture shows one data set with one encoder.")
        place = next(k for k, column in enumerate(table.columns) if column.kind == "task")
        cells.append({row.name: row.cells[place] for row in table.rows if row.cells[place].mean is not None})
    order = dict.fromkeys(entry.names["method"] for entry in entries)
    return {name: (cells[0][name], cells[1][name]) for name in order if name in cells[0] and name in cells[1]}


def figures(found: Mapping[str, tuple[Cell, Cell]]) -> list[Any]:
    """All that is drawn, numbers to 9 figures, for the fingerprint."""
    return [[name, *(_figures(cell) for cell in pair)] for name, pair in found.items()]


def _figures(cell: Cell) -> list[str]:
    return [f"{value:.9g}" if value is not None else "" for value in (cell.mean, cell.halfwidth)]


def paint(figure: "Figure", entries: Sequence[Entry], picture: Picture) -> None:
    """Draw it."""
    found = points(entries, picture)
    axes = figure.add_subplot()
    scale = [100 if axis_unit(entries, axis) == "fraction" else 1 for axis in (picture.x, picture.y)]
    x, y = ([scale[k] * (pair[k].mean or 0.0) for pair in found.values()] for k in (0, 1))
    if picture.connect:
        axes.plot(x, y, color="0.75", linewidth=1, zorder=0)
    for place, (name, pair) in enumerate(found.items()):
        bars = [scale[k] * (pair[k].halfwidth or 0.0) for k in (0, 1)]
        axes.errorbar(x[place], y[place], xerr=bars[0], yerr=bars[1], fmt="o", capsize=2, label=name)
        axes.annotate(name, (x[place], y[place]), xytext=(6, 5), textcoords="offset points", fontsize=9)
    axes.set_xlabel(picture.x_label or picture.x)
    axes.set_ylabel(picture.y_label or picture.y)
    axes.set_title("means over seeds; bars: 95 % t intervals", fontsize=8, color="0.4", loc="right")
    axes.grid(alpha=0.3)


def axis_unit(entries: Sequence[Entry], axis: str) -> str:
    """The unit of a score by TASK:METRIC."""
    column = next(column for column in build(entries, metric=axis)[0].columns if column.kind == "task")
    return column.unit
