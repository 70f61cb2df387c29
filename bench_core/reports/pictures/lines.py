"""Lines over a common axis: precision over recall, scores over layers, and whatever else a task leaves as a curve."""

from typing import TYPE_CHECKING

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.style import DASHES, shade, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.reports.pictures.model import Found

_FEW = 40  # points that get a marker each
_COLUMN = 18  # names in a column of the legend


def paint(figure: "Figure", found: "Found", picture: Picture) -> None:
    """A colour for each row; dashes where a row has several lines."""
    axes = figure.add_subplot()
    lines = [(part, key) for part in found.parts for key, _ in part.axes[1:]]
    kinds = list(dict.fromkeys((part.name, key) for part, key in lines))
    keys = list(dict.fromkeys(key for _, key in kinds))
    for part, key in lines:
        (x_key, x), kind = part.axes[0], (part.name, key)
        style = shade(found.methods.index(part.method))
        if len(kinds) > 1:
            style["linestyle"] = DASHES[kinds.index(kind) % len(DASHES)]
        which = [words(k) for k, several in zip(kind, (len(found.names) > 1, len(keys) > 1), strict=True) if several]
        label = ", ".join([part.method, *which])
        axes.plot(x, part.values[key], marker="o" if len(x) <= _FEW else "", markersize=3, linewidth=1.4,
                  label=label, **style)  # fmt: skip
        axes.set_xlabel(picture.x_label or words(x_key))
    axes.set_ylabel(picture.y_label or ", ".join(map(words, keys)))
    if all(x.is_integer() for part in found.parts for x in map(float, part.axes[0][1])):
        axes.locator_params(axis="x", integer=True)  # layers are counted
    axes.grid(alpha=0.3)
    columns = 1 + (len(lines) - 1) // _COLUMN
    figure.set_size_inches(5.6 + 1.7 * columns, 4.2)
    figure.legend(loc="outside right center", ncols=columns)
    named = f", {words(found.names[0])}" if len(found.names) == 1 else ""
    title = picture.title or f"{found.task} on {found.dataset}, {found.encoder}{named}"
    axes.set_title(f"{title}\n({found.seeds()})")  # not over the legend, which may be high
