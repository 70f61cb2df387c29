"""Writes the names of lines beside the end of a panel, none over another, each joined to its line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench_core.reports.pictures.style import DARK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OUT = 0.07  # of the panel's width, from its edge to a name


def label_ends(
    axes: "Axes",
    ends: Sequence[tuple[float, float]],
    names: Sequence[str],
    styles: Sequence[dict[str, Any]],
    gap: float,
) -> None:
    """Write the name of each line to the right of the panel, as near as can be to the height at which it ends.

    Args:
        axes: The panel; its limits are kept as they are.
        ends: The last point of each line.
        names: The name of each line.
        styles: Colour and dashes of each line, in which it is drawn on to its name.
        gap: Least distance of two names, as a part of the panel's height.
    """
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    heights = spread([(y - low) / (high - low) for _, y in ends], gap)
    beside = right + _OUT * (right - left)
    for (x, y), name, style, height in zip(ends, names, styles, heights, strict=True):
        at = low + height * (high - low)
        axes.plot([x, right, beside], [y, y, at], linewidth=0.8, clip_on=False, **style)
        axes.annotate(
            name, (beside, at), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8, color=DARK,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return places from 0 to 1, moved as little as possible (by squares) so that neighbours are `gap` apart or more.

    Their order stays; equal places are taken in the order in which they are given, the first one highest. More places
    than there is room for begin at 0.
    """
    order = sorted(range(len(places)), key=lambda number: (places[number], -number))
    blocks: list[list[int]] = []  # neighbours that touch each other, from below

    def bottom(block: Sequence[int]) -> float:
        """Return the place of a block's lowest: the mean of what its members ask of it."""
        return sum(places[number] - gap * step for step, number in enumerate(block)) / len(block)

    for number in order:
        blocks.append([number])
        while len(blocks) > 1 and bottom(blocks[-2]) + gap * len(blocks[-2]) > bottom(blocks[-1]):
            upper = blocks.pop()
            blocks[-1] += upper
    moved = dict[int, float]()
    for block in blocks:
        lowest = gap * len(moved)  # room for those below
        highest = 1 - gap * (len(places) - 1 - len(moved))  # and for those above
        start = max(lowest, min(bottom(block), highest))
        moved |= {number: start + gap * step for step, number in enumerate(block)}
    return [moved[number] for number in range(len(places))]
