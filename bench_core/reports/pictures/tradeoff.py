"""Pictures of kind `tradeoff`: one score against another, a point for each row, bars for 95 % intervals over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.labels import write_labels
from bench_core.reports.pictures.model import NothingToDrawError, PictureKind, PlotRequest, SeveralTablesError
from bench_core.reports.pictures.select import select_rows
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, TableCell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.store import Store


@dataclass(frozen=True)
class TradeoffData:
    """The two scores of each row.

    Attributes:
        points: Row -> its table cells of x and y, in the order of the entries.
        columns: The table's columns of x and y; a unit "fraction" is drawn as per cent.
    """

    points: Mapping[str, tuple[TableCell, TableCell]]
    columns: tuple[Column, Column]

    def label(self, row: str) -> str:
        """Return a row's name with what the table says of its cells: "nac (2 of 5 seeds) †"."""
        pairs = list(zip(self.points[row], self.columns, strict=True))
        fewer = dict.fromkeys(f"({cell.n} of {column.seeds} seeds)" for cell, column in pairs if cell.n < column.seeds)
        dagger = ["†"] if any(cell.caveat for cell, _ in pairs) else []
        return " ".join([row, *fewer, *dagger])

    @property
    def caveats(self) -> list[str]:
        """Explanations of the daggers."""
        cells = [cell for pair in self.points.values() for cell in pair]
        return list(dict.fromkeys(f"† {cell.caveat}" for cell in cells if cell.caveat))


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
            NothingToDrawError: No row has both scores.
            RequestError: No task has such a score, or there is more than one dataset or encoder.
        """
        entries = select_rows(entries, picture.methods)
        x_cells, x_column = _read_axis(entries, picture, picture.x)
        y_cells, y_column = _read_axis(entries, picture, picture.y)
        methods = dict.fromkeys(entry.names["method"] for entry in entries)
        points = {name: (x_cells[name], y_cells[name]) for name in methods if name in x_cells and name in y_cells}
        if not points:
            raise NothingToDrawError(f"picture {picture.name!r}: no row has both {picture.x} and {picture.y}.")
        return TradeoffData(points, (x_column, y_column))

    def shown(self, data: TradeoffData) -> list[tuple[str, str]]:
        """Return each row with the tasks of both scores."""
        return [(row, column.task) for row in data.points for column in data.columns]

    def fingerprint_values(self, data: TradeoffData) -> list[Any]:
        """Return each row's label, means and half-widths, numbers as text with 9 significant digits."""
        return [[data.label(name), *(_cell_values(cell) for cell in pair)] for name, pair in data.points.items()]

    def paint(self, figure: "Figure", data: TradeoffData, picture: Picture) -> None:
        """Draw a point with bars and its name for each row."""
        axes = figure.add_subplot()
        scale = [100 if column.unit == "fraction" else 1 for column in data.columns]
        x, y = ([scale[axis] * (pair[axis].mean or 0.0) for pair in data.points.values()] for axis in (0, 1))
        if picture.connect:
            axes.plot(x, y, color="0.75", linewidth=1, zorder=0)
        half: list[tuple[float, float]] = []
        for index, (name, pair) in enumerate(data.points.items()):
            bars = [scale[axis] * (pair[axis].halfwidth or 0.0) for axis in (0, 1)]
            axes.errorbar(x[index], y[index], xerr=bars[0], yerr=bars[1], fmt="o", capsize=2, label=name)
            half.append((bars[0], bars[1]))
        axes.margins(0.1)
        units = [", %" if column.unit == "fraction" else "" for column in data.columns]
        axes.set_xlabel(picture.x_label or f"{picture.x}{units[0]}")
        axes.set_ylabel(picture.y_label or f"{picture.y}{units[1]}")
        intervals = any(cell.halfwidth is not None for pair in data.points.values() for cell in pair)
        explained = ["means over seeds", *(["bars: 95 % t intervals"] if intervals else []), *data.caveats]
        axes.set_title("; ".join(explained), fontsize=8, color="0.4", loc="right")
        axes.grid(alpha=0.3)
        write_labels(axes, list(zip(x, y, strict=True)), half, [data.label(name) for name in data.points])

    def nothing_to_draw(self, store_path: Path) -> str:
        """Return what the request lacks: it must name two scores, whatever the store holds."""
        return f"{self.hint}."


def _read_axis(entries: Sequence[Entry], picture: Picture, score: str) -> tuple[dict[str, TableCell], Column]:
    """Return row -> table cell of a score given as TASK:METRIC, for rows that have it, and the score's column."""
    task = score.rpartition(":")[0]
    of_task = [entry for entry in entries if task in entry.task_names]
    if of_task and not any(entry.finished_record for entry in of_task):
        raise NothingToDrawError(
            f"picture {picture.name!r}: no record of task {task!r}; `bench run --tasks {task}` makes one."
        )
    tables = build(entries, columns=[score])
    if len(tables) > 1:
        raise SeveralTablesError(picture.name)
    (table,) = tables
    index = next(index for index, column in enumerate(table.columns) if column.kind == "task")
    cells = {row.name: row.cells[index] for row in table.rows if row.cells[index].mean is not None}
    return cells, table.columns[index]


def _cell_values(cell: TableCell) -> list[str]:
    return [f"{value:.9g}" if value is not None else "" for value in (cell.mean, cell.halfwidth)]
