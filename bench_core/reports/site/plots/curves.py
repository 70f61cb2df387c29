"""Curves that tasks leave in records: precision over recall, layers, regions, histograms, and all others."""

from collections.abc import Iterator, Sequence

from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.pictures.model import PictureData, PlotRequest, Series
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, all_rounded, axis_name

_REGIONS = "linear_regions"  # the task whose curves have a plot of their own
_MOST_POINTS = 200  # of one curve; a longer one is thinned


def precision_recall(source: PlotSource) -> SitePlot | None:
    """Return precision over recall of each row, for each length of code."""
    views = [view for found in _found(source, "pr") for view in _line_views(*found)]
    return _plot(
        "precision_recall",
        "Precision over recall",
        "Search with codes: a curve that lies further up finds fewer wrong items; a point for each radius.",
        views,
    )


def layers(source: PlotSource) -> SitePlot | None:
    """Return a score over the layers of the encoder."""
    views = [view for found in _found(source, "layers") for view in _line_views(*found)]
    return _plot(
        "layers", "Layers", "The score of each layer, from the first to the last: where it falls, layers forget.", views
    )


def linear_regions(source: PlotSource) -> SitePlot | None:
    """Return the curves of the task linear_regions: where a segment between two items crosses linear regions."""
    views = [view for found in _found(source, "lines", of_regions=True) for view in _line_views(*found)]
    return _plot(
        _REGIONS,
        "Linear regions along a segment",
        "Units that switch on the way from one item to another, by layer: more switches are more linear regions.",
        views,
    )


def other_curves(source: PlotSource) -> SitePlot | None:
    """Return all curves that no other plot shows."""
    views = [view for found in _found(source, "lines", of_regions=False) for view in _line_views(*found)]
    return _plot(
        "curves",
        "Further curves",
        "Curves that tasks keep beside their scores; choose one, a line for each row.",
        views,
    )


def histogram(source: PlotSource) -> SitePlot | None:
    """Return the distribution of the embedding's values against the prior that they should follow."""
    views = []
    for title, data in _found(source, "histogram"):
        for name in data.names:
            of_name = [series for series in data.series if series.name == name]
            panels = [
                {"name": series.method, "x": all_rounded(series.columns["centre"])}
                | {key: all_rounded(series.columns[key]) for key in ("density", "prior")}
                for series in of_name
            ]
            label = f"Distribution of the values of the embedding of {len(panels)} rows, and the prior."
            values = {"x": "value", "y": "density", "panels": panels}
            views.append(View((title, f"{data.task}: {axis_name(name)}"), "areas", label, values, _notes(data)))
    return _plot(
        "histogram",
        "Distribution of the embedding",
        "The area is the embedding's values, the line the prior: the closer they are, the better the embedding "
        "follows it.",
        views,
        ("table", "curve"),
    )


def _plot(
    kind: str, title: str, read: str, views: Sequence[View], choices: tuple[str, ...] = ("table", "curve", "score")
) -> SitePlot | None:
    return SitePlot(kind, title, read, choices, tuple(views)) if views else None


def _found(source: PlotSource, kind_name: str, *, of_regions: bool | None = None) -> Iterator[tuple[str, PictureData]]:
    """Yield title of the table and curves, for each task of each table that has curves of a kind.

    Args:
        source: The board.
        kind_name: Name of a kind of pictures.
        of_regions: True for curves of the task linear_regions alone, False for all others.
    """
    kind = KINDS[kind_name]
    assert isinstance(kind, SeriesKind)  # the table of kinds has no other of these names
    for title, group in source.groups.items():
        for picture in kind.possible_pictures(group, PlotRequest()):
            of_task = [entry for entry in group if entry.names["task"] == picture.task]
            is_regions = picture.task.startswith(_REGIONS)
            if of_regions is None or of_regions == is_regions:
                yield title, kind.read(of_task, picture)


def _line_views(title: str, data: PictureData) -> Iterator[View]:
    """Yield a view for each curve and each of its columns after x; curves of one point are no lines."""
    for name in data.names:
        of_name = [series for series in data.series if series.name == name]
        for key in dict.fromkeys(key for series in of_name for key in series.y_keys):
            lines = [series for series in of_name if key in series.y_keys and _length(series) > 1]
            if lines:
                yield _line_view(title, data, name, key, lines)


def _line_view(title: str, data: PictureData, name: str, key: str, lines: Sequence[Series]) -> View:
    x, y = (_with_unit(lines[0], of) for of in (lines[0].x_key, key))
    by_name = all(series.points for series in lines)
    series = []
    for line in lines:
        step = -(-_length(line) // _MOST_POINTS)
        of_x = list(line.points) if by_name else all_rounded(line.shown_values(line.x_key))
        series.append({"name": line.method, "x": of_x[::step], "y": all_rounded(line.shown_values(key))[::step]})
    values = {"x": "layer" if by_name else x, "y": y, "series": series}
    label = f"{y} over {values['x']} of {len(lines)} rows, {data.task}."
    curve = axis_name(name.removeprefix("pr_") if name.startswith("pr_") else name)
    picked = (title, data.task if curve == data.task else f"{data.task}: {curve}", y)
    return View(picked, "lines", label, values, _notes(data))


def _notes(data: PictureData) -> tuple[str, ...]:
    return (f"Shown: {data.seeds_text}.",)


def _length(series: Series) -> int:
    return len(series.columns[series.x_key])


def _with_unit(series: Series, key: str) -> str:
    return f"{axis_name(key)}, %" if key in series.fractions else axis_name(key)
