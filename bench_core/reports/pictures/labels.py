"""Writes names beside points, where they cover neither bars nor points nor each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_NEAR, _FAR = 5, (16, 28, 40)  # distances from the point, in points of 1/72 inch
_LEADER = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
Point = tuple[float, float]


def write_labels(axes: "Axes", points: Sequence[Point], bars: Sequence[Point], labels: Sequence[str]) -> None:
    """Write a label beside each point, at the first free place of some around it; far ones get a thin line.

    Where no place is free, the one that covers least is taken.

    Args:
        axes: The panel, in which points and bars are drawn.
        points: The points, in the units of the axes.
        bars: Half of the width and height of each point's bars, 0 where there is none.
        labels: The text for each point.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]  # places everything
    taken = [box for point, bar in zip(points, bars, strict=True) for box in _boxes(axes, point, bar)]
    for point, label in zip(points, labels, strict=True):
        size = _box(axes, point, label)
        boxes = {place: _moved(axes, point, size, place) for place in _places()}
        covered = {place: _cost(axes, box, taken) for place, box in boxes.items()}
        place = min(covered, key=covered.__getitem__)  # the first of the best
        _write(axes, point, label, place)
        taken.append(boxes[place])


def _places() -> list[Point]:
    """Return offsets around a point, in the order in which they are tried."""
    near = [(x * _NEAR, y * _NEAR) for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1))]
    far = [
        (x * d, y * d)
        for d in _FAR
        for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1), (0.4, 1), (-0.4, 1), (0.4, -1), (-0.4, -1))
    ]
    return [*near, *far]


def _write(axes: "Axes", point: Point, label: str, place: Point) -> "Annotation":
    return axes.annotate(
        label, point, xytext=place, textcoords="offset points", fontsize=9, ha="left" if place[0] > 0 else "right",
        va="bottom" if place[1] > 0 else "top", arrowprops=None if max(map(abs, place)) <= _NEAR else dict(_LEADER),
    )  # fmt: skip


def _box(axes: "Axes", point: Point, label: str) -> "Bbox":
    """Return what a label covers at the place that is tried first, in pixels."""
    note = _write(axes, point, label, (_NEAR, _NEAR))
    box = note.get_window_extent()
    note.remove()
    return box


def _moved(axes: "Axes", point: Point, size: "Bbox", place: Point) -> "Bbox":
    """Return what a label of some size covers at a place, in pixels."""
    from matplotlib.transforms import Bbox

    scale = axes.figure.dpi / 72  # pixels of a point
    x, y = (at + offset * scale for at, offset in zip(axes.transData.transform(point), place, strict=True))
    left, bottom = x if place[0] > 0 else x - size.width, y if place[1] > 0 else y - size.height
    return Bbox.from_bounds(left, bottom, size.width, size.height)


def _cost(axes: "Axes", box: "Bbox", taken: "Sequence[Bbox]") -> int:
    """Return how many things a label would cover; to leave the panel counts as many."""
    panel = axes.bbox
    inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
    return box.count_overlaps(taken) + (0 if inside else 10)


def _boxes(axes: "Axes", point: Point, bar: Point) -> "list[Bbox]":
    """Return what a point, its horizontal and its vertical bar cover, in pixels."""
    from matplotlib.transforms import Bbox

    boxes = []
    for width, height in ((0.0, 0.0), (bar[0], 0.0), (0.0, bar[1])):
        low = axes.transData.transform((point[0] - width, point[1] - height))
        high = axes.transData.transform((point[0] + width, point[1] + height))
        boxes.append(Bbox([low, high]).padded(2 if width or height else 4))
    return boxes
