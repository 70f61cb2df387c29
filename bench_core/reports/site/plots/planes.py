"""Embeddings in a plane, from records of the task projection: a panel for each row, a point for each test item."""

from typing import Any

from bench_core.reports.pictures.model import PlotRequest, Series
from bench_core.reports.pictures.projection import Projection
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, axis_name, rounded

MOST_POINTS = 1000  # of one row
_NAMES = {"projection_pca": "PCA", "projection_umap": "UMAP"}
_DIGITS = 4  # of a place in the plane


def projection(source: PlotSource) -> SitePlot | None:
    """Return the points of each row with their classes; where there are more than 1,000, evenly many fewer."""
    kind, views = Projection(), []
    for title, group in source.groups.items():
        for picture in kind.possible_pictures(group, PlotRequest()):
            data = kind.read([entry for entry in group if entry.names["task"] == picture.task], picture)
            for name in data.names:
                panels = [_panel(series) for series in data.series if series.name == name]
                plane = _NAMES.get(name, axis_name(name))
                label = f"Test items in the plane ({plane}), coloured by class, a panel for each of {len(panels)} rows."
                notes = (f"Shown: {data.seeds_text}.", "No pictures of items: no dataset states its licence here.")
                views.append(View((title, f"{data.task}: {plane}"), "clouds", label, {"panels": panels}, notes))
    if not views:
        return None
    return SitePlot(
        "projection",
        "Embeddings in a plane",
        "A point is a test item, colour and shape are its class, numbers stand at the medians of classes: a good "
        "embedding keeps classes apart.",
        ("table", "plane"),
        tuple(views),
    )


def _panel(series: Series) -> dict[str, Any]:
    columns = series.columns
    step = -(-len(columns["x"]) // MOST_POINTS)
    panel: dict[str, Any] = {"name": series.method}
    for key in ("x", "y"):
        panel[key] = [rounded(float(f"{value:.{_DIGITS}g}")) for value in columns[key][::step]]
    if "label" in columns:
        panel["classes"] = [int(label) for label in columns["label"][::step]]
    return panel
