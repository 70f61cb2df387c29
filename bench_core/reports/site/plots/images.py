"""Grids of images that methods draw, decode or confuse, as records keep them."""

from typing import Any

from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.pictures.samples import Samples
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, axis_name

MOST_BYTES = 1_000_000  # of all grids of a board, as base64


def samples(source: PlotSource) -> SitePlot | None:
    """Return the grids of the first seed of each row; those beyond a megabyte are left out, and the plot says so."""
    kind, views, room = Samples(), [], MOST_BYTES
    for title, group in source.groups.items():
        for picture in kind.possible_pictures(group, PlotRequest()):
            data = kind.read([entry for entry in group if entry.names["task"] == picture.task], picture)
            for name in data.names:
                panels: list[dict[str, Any]] = []
                left_out = []
                for series in data.series:
                    png = series.columns["png"]
                    if series.name != name:
                        continue
                    if len(png) > room:
                        left_out.append(series.method)
                        continue
                    room -= len(png)
                    panels.append({"name": series.method, "png": png})
                notes = [f"Shown: {data.seeds_text}."]
                if left_out:
                    notes.append(f"Left out, as all grids together would be too large: {', '.join(left_out)}.")
                label = f"{axis_name(name)} of {len(panels)} rows, {data.task}"
                picked = (title, f"{data.task}: {axis_name(name)}")
                views.append(View(picked, "images", label, {"panels": panels}, tuple(notes)))
    if not any(view.values["panels"] for view in views):
        return None
    return SitePlot(
        "samples",
        "Images of methods",
        "Grids of images that each row draws, decodes or confuses, with the task that asked for them.",
        ("table", "grid"),
        tuple(views),
    )
