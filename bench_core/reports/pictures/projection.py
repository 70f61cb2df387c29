"""Pictures of kind `projection`: a panel for each row, a point for each item, coloured by class.

A class has a marker as well as a colour, and its number stands at the median of its points.
"""

from statistics import median
from typing import TYPE_CHECKING, Any

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import Columns, PictureData
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.style import DARK, add_caption, legend_below, make_panels, point_style, readable_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_NAMED_CLASSES = 20  # with more classes, no numbers in the panels and no legend
_METHOD_NAMES = {"projection_pca": "PCA", "projection_umap": "UMAP"}


class Projection(SeriesKind):
    """The embedding in two dimensions, from curves `projection*` with x, y, and label where there are classes."""

    name = "projection"
    noun = "a projection"
    hint = "`bench run --tasks projection` makes one"
    prefix = "projection"
    needs = frozenset({"x", "y"})
    mean_if = "never"

    def paint(self, figure: "Figure", data: PictureData, picture: Picture) -> None:
        """Draw a panel for each row and curve, and a legend of the classes below all of them."""
        classes = sorted({int(label) for series in data.series for label in series.columns.get("label", ())})
        rows, columns = len(data.methods), len(data.names)
        panels = make_panels(figure, rows, columns, (2.3, 2.4))
        handles: dict[int, Any] = {}
        for series in data.series:
            axes = panels[data.methods.index(series.method)][data.names.index(series.name)]
            handles |= _draw_points(axes, series.columns, classes)
            axes.set_title(series.method if columns == 1 else f"{series.method}, {readable_name(series.name)}")
        for axes in figure.axes:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal", adjustable="datalim")
            axes.margins(0.06)
        if handles and len(classes) <= _MAX_NAMED_CLASSES:
            legend_below(figure, {str(label): handles[label] for label in classes}, "class")
        plane = ", ".join(_METHOD_NAMES.get(name, readable_name(name)) for name in data.names)
        title = picture.title or f"{data.title}: {plane}, test items"
        add_caption(figure, title, data.seeds_text)


def _draw_points(axes: "Axes", columns: Columns, classes: list[int]) -> dict[int, Any]:
    """Draw the points of one panel; return class -> artist for the legend."""
    from matplotlib.patheffects import withStroke

    x, y, labels = columns["x"], columns["y"], columns.get("label")
    if labels is None:
        axes.plot(x, y, linestyle="none", markersize=2.5, markeredgewidth=0, **point_style(0))
        return {}
    handles = {}
    for index, label in enumerate(classes):
        items = [item for item, label_of_item in enumerate(labels) if label_of_item == label]
        if not items:
            continue
        xs, ys = [x[item] for item in items], [y[item] for item in items]
        style = point_style(index)
        (handles[label],) = axes.plot(xs, ys, linestyle="none", markersize=3, markeredgewidth=0, **style)
        if len(classes) <= _MAX_NAMED_CLASSES:
            halo = [withStroke(linewidth=2.5, foreground="white")]
            axes.annotate(str(label), (median(xs), median(ys)), ha="center", va="center", fontsize=9, weight="bold",
                          color=DARK, path_effects=halo)  # fmt: skip
    return handles
