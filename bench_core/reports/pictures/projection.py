"""Projections: a panel for each row, a point for each item, coloured by class.

A class has a marker as well as a colour, and its number stands at the median of its points.
"""

from statistics import median
from typing import TYPE_CHECKING, Any

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.style import DARK, caption, dot, panels, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench_core.reports.pictures.model import Found

_NAMED = 20  # classes at most whose numbers stand in the panels and in a legend


def paint(figure: "Figure", found: "Found", picture: Picture) -> None:
    """Draw it."""
    classes = sorted({int(label) for part in found.parts for label in part.values.get("label", ())})
    rows, columns = len(found.methods), len(found.names)
    grid = panels(figure, rows, columns, (2.3, 2.4))
    handles: dict[int, Any] = {}
    for part in found.parts:
        axes = grid[found.methods.index(part.method)][found.names.index(part.name)]
        handles |= _points(axes, part.values, classes)
        axes.set_title(part.method if columns == 1 else f"{part.method}, {words(part.name)}")
    for axes in figure.axes:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.06)
    if handles and len(classes) <= _NAMED:
        order = [handles[label] for label in classes]
        columns = min(len(classes), 5 * min(4, len(figure.axes)))
        figure.legend(order, list(map(str, classes)), title="class", loc="outside lower center", ncols=columns,
                      columnspacing=1.0, handletextpad=0.2)  # fmt: skip
    how = {"projection_pca": "PCA", "projection_umap": "UMAP"}
    plane = ", ".join(how.get(name, words(name)) for name in found.names)
    title = picture.title or f"{found.task} on {found.dataset}, {found.encoder}: {plane}, test items"
    caption(figure, title, found.seeds())


def _points(axes: "Axes", values: Any, classes: list[int]) -> dict[int, Any]:
    """One panel; class -> what the legend shows."""
    from matplotlib.patheffects import withStroke

    x, y, labels = values["x"], values["y"], values.get("label")
    if labels is None:
        axes.plot(x, y, linestyle="none", markersize=2.5, markeredgewidth=0, **dot(0))
        return {}
    handles = {}
    for place, label in enumerate(classes):
        own = [k for k, other in enumerate(labels) if other == label]
        if not own:
            continue
        xs, ys = [x[k] for k in own], [y[k] for k in own]
        style = dot(place)
        (handles[label],) = axes.plot(xs, ys, linestyle="none", markersize=3, markeredgewidth=0, **style)
        if len(classes) <= _NAMED:
            halo = [withStroke(linewidth=2.5, foreground="white")]
            axes.annotate(str(label), (median(xs), median(ys)), ha="center", va="center", fontsize=9, weight="bold",
                          color=DARK, path_effects=halo)  # fmt: skip
    return handles
