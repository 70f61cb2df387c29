"""Trade-offs that a board names: one score against another, a point for each row."""

from typing import Any

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.stale import choose_cells
from bench_core.reports.pictures.tradeoff import Tradeoff, TradeoffData
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, score_name, shown


def tradeoff(source: PlotSource) -> SitePlot | None:
    """Return a view for each picture of kind tradeoff in the board's file that its records can fill."""
    board, kind, views = source.board.board, Tradeoff(), []
    for picture in board.pictures.values() if board else ():
        if picture.kind == kind.name:
            try:
                cells, note = choose_cells(source.entries, picture)
                data = kind.read(cells, picture)
            except RequestError:  # the records lack a score, or are of several tables
                continue
            views.append(_view(picture, data, note))
    if not views:
        return None
    return SitePlot(
        "tradeoff",
        "Trade-off",
        "One score against another, a point for each row with its 95 % intervals over seeds; a line joins rows in the "
        "board's order.",
        ("picture",),
        tuple(views),
    )


def _view(picture: Picture, data: TradeoffData, note: str) -> View:
    x, y = (text or score_name(column) for text, column in _labels(picture, data))
    points: list[dict[str, Any]] = []
    for name, (of_x, of_y) in data.points.items():
        of_columns = list(zip(("x", "y"), (of_x, of_y), data.columns, strict=True))
        point: dict[str, Any] = {"name": data.label(name), "kind": "method"}
        point |= {key: shown(cell.mean, column) for key, cell, column in of_columns}
        point |= {f"d{key}": shown(cell.halfwidth, column) for key, cell, column in of_columns}
        points.append(point)
    label = f"{y} over {x}, {len(points)} rows: {', '.join(data.points)}."
    values = {"x": x, "y": y, "points": points, "connect": picture.connect}
    return View((picture.title or picture.name,), "scatter", label, values, tuple(filter(None, (*data.caveats, note))))


def _labels(picture: Picture, data: TradeoffData) -> Any:
    return zip((picture.x_label, picture.y_label), data.columns, strict=True)
