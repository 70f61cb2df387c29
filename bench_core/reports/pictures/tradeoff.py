"""Pictures of kind `tradeoff`: one score against another, a point for each row, bars for 95 % intervals over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import PictureKind, PlotRequest
from bench_core.reports.pictures.select import select_rows
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import TableCell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.store import Store


@dataclass(frozen=True)
class TradeoffData:
    """The two scores of each row.

    Attributes:
        points: Row -> its table cells of x and y, in the order of the entries.
        units: The units of x and y; "fraction" is drawn as per cent.
    """

    points: Mapping[str, tuple[TableCell, TableCell]]
    units: tuple[str, str]


class Tradeoff(PictureKind[TradeoffData]):
    """One score against another, as the table has them."""

    name = "tradeoff"
    noun = "the two scores of a trade-off"
    hint = "a trade-off needs --x TASK:METRIC and --y TASK:METRIC, or a board that has one (--board)"

    def check(self, picture: Picture) -> None:
        """Check that the picture names both scores."""
        if not (picture.x and picture.y):
            raise RequestError(f"picture {picture.name!r}: a trade-off needs x and y, each TASK:METRIC.")

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield the picture of the two scores that the request names, if it does."""
        if request.x:
            name = f"tradeoff_{request.x}_{request.y}"
            yield Picture(name=name, x=request.x, y=request.y, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None" = None) -> TradeoffData:
        """Read the means and intervals of both scores, for the rows that have both.

        Raises:
            RequestError: No record has one of the two scores, or there is more than one dataset or encoder.
        """
        entries = select_rows(entries, picture.methods)
        x_cells, x_unit = _read_axis(entries, picture, picture.x)
        y_cells, y_unit = _read_axis(entries, picture, picture.y)
        methods = dict.fromkeys(entry.names["method"] for entry in entries)
        points = {name: (x_cells[name], y_cells[name]) for name in methods if name in x_cells and name in y_cells}
        return TradeoffData(points, (x_unit, y_unit))

    def fingerprint_values(self, data: TradeoffData) -> list[Any]:
        """Return each row's name, means and half-widths, numbers as text with 9 significant digits."""
        return [[name, *(_cell_values(cell) for cell in pair)] for name, pair in data.points.items()]

    def paint(self, figure: "Figure", data: TradeoffData, picture: Picture) -> None:
        """Draw a point with bars and its name for each row."""
        axes = figure.add_subplot()
        scale = [100 if unit == "fraction" else 1 for unit in data.units]
        x, y = ([scale[axis] * (pair[axis].mean or 0.0) for pair in data.points.values()] for axis in (0, 1))
        if picture.connect:
            axes.plot(x, y, color="0.75", linewidth=1, zorder=0)
        for index, (name, pair) in enumerate(data.points.items()):
            bars = [scale[axis] * (pair[axis].halfwidth or 0.0) for axis in (0, 1)]
            axes.errorbar(x[index], y[index], xerr=bars[0], yerr=bars[1], fmt="o", capsize=2, label=name)
            axes.annotate(name, (x[index], y[index]), xytext=(6, 5), textcoords="offset points", fontsize=9)
        axes.set_xlabel(picture.x_label or picture.x)
        axes.set_ylabel(picture.y_label or picture.y)
        axes.set_title("means over seeds; bars: 95 % t intervals", fontsize=8, color="0.4", loc="right")
        axes.grid(alpha=0.3)

    def nothing_to_draw(self, store_path: Path) -> str:
        """Return what the request lacks: it must name two scores, whatever the store holds."""
        return f"{self.hint}."


def _read_axis(entries: Sequence[Entry], picture: Picture, score: str) -> tuple[dict[str, TableCell], str]:
    """Return row -> table cell of a score given as TASK:METRIC, for rows that have it, and the score's unit."""
    tables = build(entries, metric=score)
    if len(tables) > 1:
        raise RequestError(f"picture {picture.name!r}: a picture shows one dataset with one encoder.")
    (table,) = tables
    index = next(index for index, column in enumerate(table.columns) if column.kind == "task")
    cells = {row.name: row.cells[index] for row in table.rows if row.cells[index].mean is not None}
    return cells, table.columns[index].unit


def _cell_values(cell: TableCell) -> list[str]:
    return [f"{value:.9g}" if value is not None else "" for value in (cell.mean, cell.halfwidth)]
