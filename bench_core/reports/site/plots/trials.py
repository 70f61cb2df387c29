"""Tuning curves: what each row would be expected to reach with fewer trials, from the board's tuned.toml."""

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.tuning import Tuning, TuningPanel
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, all_rounded


def tuning(source: PlotSource) -> SitePlot | None:
    """Return the expected best of n trials of each row, a view for each metric that chose rows."""
    board = source.board.board
    if board is None or board.tuned is None:
        return None
    try:
        data = Tuning(board).read((), Picture(name="tuning", kind="tuning"))
    except RequestError:  # no row of the board is tuned
        return None
    views = tuple(_view(panel, data.budget) for panel in data.panels)
    return SitePlot(
        "tuning",
        "Tuning",
        "The expected best of n trials: a line that still rises at its end would gain from more trials; a hollow point "
        "is the row as the board has it.",
        ("metric",),
        views,
    )


def _view(panel: TuningPanel, budget: str) -> View:
    series = [
        {
            "name": curve.row,
            "x": list(range(1, len(curve.best) + 1)),
            "y": all_rounded(curve.best),
            "first": None if curve.first is None else all_rounded([curve.first])[0],
        }
        for curve in panel.curves
    ]
    best = panel.curves[0]
    label = (
        f"Expected best {panel.title} of n trials of {len(series)} rows; the best is {best.row}, {best.best[-1]:.4g}."
    )
    values = {"x": "trials", "y": panel.title, "series": series, "apart": True}
    return View((panel.title,), "lines", label, values, (f"Each row: {budget}.",))
