"""Pictures of kind `histogram`: the values of an embedding against the prior that they should follow."""

from typing import TYPE_CHECKING

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import PictureData
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.style import COLOURS, DARK, add_caption, legend_beside, make_panels, readable_name

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure


class Histogram(SeriesKind):
    """Densities of an embedding's values, from curves `histogram*` with centre, density and prior."""

    name = "histogram"
    noun = "a histogram"
    hint = "`bench run --tasks distribution` makes one"
    prefix = "histogram"
    needs = frozenset({"centre", "density", "prior"})
    mean_if = "same_x"

    def paint(self, figure: "Figure", data: PictureData, picture: Picture) -> None:
        """Draw a panel for each row and curve: the density as an area, the prior as a line."""
        rows, columns = len(data.methods), len(data.names)
        panels = make_panels(figure, rows, columns, (2.4, 1.9), sharex="col", sharey=True)
        handles: dict[str, Artist] = {}
        for series in data.series:
            axes = panels[data.methods.index(series.method)][data.names.index(series.name)]
            centre, density = series.columns["centre"], series.columns["density"]
            area = axes.fill_between(centre, density, step="mid", color=COLOURS[0], alpha=0.6, linewidth=0)
            (prior,) = axes.plot(centre, series.columns["prior"], color=DARK, linewidth=1.2)
            handles = {"embedding": area, "prior": prior}
            axes.set_title(series.method if columns == 1 else f"{series.method}, {readable_name(series.name)}")
            axes.set_ylim(bottom=0)
            axes.tick_params(labelsize=8, labelbottom=True)
        legend_beside(figure, handles)
        figure.supxlabel(picture.x_label or "value", fontsize=9)
        figure.supylabel(picture.y_label or "density", fontsize=9)
        add_caption(figure, picture.title or data.title, data.seeds_text)
