"""Histograms: how the values of an embedding are spread, against the prior that they should follow."""

from typing import TYPE_CHECKING

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.style import COLOURS, DARK, caption, panels, words

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from bench_core.reports.pictures.model import Found


def paint(figure: "Figure", found: "Found", picture: Picture) -> None:
    """Draw it."""
    rows, columns = len(found.methods), len(found.names)
    grid = panels(figure, rows, columns, (2.4, 1.9), sharex="col", sharey=True)
    handles: dict[str, Artist] = {}
    for part in found.parts:
        axes = grid[found.methods.index(part.method)][found.names.index(part.name)]
        centre = part.values["centre"]
        spread = axes.fill_between(centre, part.values["density"], step="mid", color=COLOURS[0], alpha=0.6, linewidth=0)
        (prior,) = axes.plot(centre, part.values["prior"], color=DARK, linewidth=1.2)
        handles = {"embedding": spread, "prior": prior}
        axes.set_title(part.method if columns == 1 else f"{part.method}, {words(part.name)}")
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=8, labelbottom=True)
    figure.legend(handles.values(), handles.keys(), loc="outside right center")
    figure.supxlabel(picture.x_label or "value", fontsize=9)
    figure.supylabel(picture.y_label or "density", fontsize=9)
    title = picture.title or f"{found.task} on {found.dataset}, {found.encoder}"
    caption(figure, title, found.seeds())
