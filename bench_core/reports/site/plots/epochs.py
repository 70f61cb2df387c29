"""Quality against epochs: the score of each row after several epochs of its training."""

from statistics import fmean

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import NothingToDrawError
from bench_core.reports.pictures.over_epochs import OverEpochs, Point
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, all_rounded, axis_name

_LENGTHS = ("epochs", "seconds of training")


def quality_epochs(source: PlotSource) -> SitePlot | None:
    """Return the first score of each task over epochs and seconds, from cells on weights along the way."""
    views = []
    for title, group in source.groups.items():
        try:
            data = OverEpochs().read(group, Picture(name="epochs", kind="epochs"))
        except NothingToDrawError:
            continue
        for task, metric in data.tasks:
            of_task = [point for point in data.points if (point.task, point.metric) == (task, metric)]
            views += [view for length in _LENGTHS if (view := _view(title, of_task, length)) is not None]
    if not views:
        return None
    return SitePlot(
        "quality_epochs",
        "Quality against epochs",
        "A line that still rises at its end would gain from a longer training; bands reach from the least seed to the "
        "largest.",
        ("table", "score", "length"),
        tuple(views),
    )


def _view(title: str, points: list[Point], length: str) -> View | None:
    name = axis_name(f"{points[0].task} {points[0].metric}{points[0].unit}")
    series = []
    for method in dict.fromkeys(point.method for point in points):
        known = [(_place(point, length), point.values) for point in points if point.method == method]
        line = [(place, values) for place, values in known if place is not None]
        if len(line) > 1:
            series.append(
                {
                    "name": method,
                    "x": all_rounded(place for place, _ in line),
                    "y": all_rounded(fmean(values) for _, values in line),
                    "low": all_rounded(min(values) for _, values in line),
                    "high": all_rounded(max(values) for _, values in line),
                }
            )
    if not series:
        return None
    label = f"{name} of {len(series)} rows over {length}."
    return View((title, name, length), "lines", label, {"x": length, "y": name, "series": series})


def _place(point: Point, length: str) -> float | None:
    return point.epoch if length == "epochs" else point.seconds
