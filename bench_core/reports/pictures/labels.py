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
    drawn = [box for point, bar in zip(points, bars, strict=True) for box in _boxes(axes, point, bar)]
    places = [_boxes_at_places(axes, point, label) for point, label in zip(points, labels, strict=True)]
    written: list[Bbox] = []  # labels, and their lines
    # Labels that are free beside their point come first, so that no line of another crosses them.
    for number in sorted(range(len(points)), key=lambda number: _least_near(axes, places[number], drawn)):
        covered = {
            place: sum(_cost(axes, part, [*(drawn if part is parts[0] else []), *written]) for part in parts)
            for place, parts in places[number].items()
        }
        place = min(covered, key=covered.__getitem__)  # the first of the best
        _write(axes, points[number], labels[number], place)
        written += places[number][place]


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


def _boxes_at_places(axes: "Axes", point: Point, label: str) -> "dict[Point, list[Bbox]]":
    """Return for each place what a label covers there, and then what its line covers, in pixels."""
    from matplotlib.transforms import Bbox

    size = _box(axes, point, label)
    scale = axes.figure.dpi / 72  # pixels of a point
    start_x, start_y = axes.transData.transform(point)
    found = {}
    for place in _places():
        x, y = start_x + place[0] * scale, start_y + place[1] * scale
        left, bottom = x if place[0] > 0 else x - size.width, y if place[1] > 0 else y - size.height
        found[place] = [Bbox.from_bounds(left, bottom, size.width, size.height)]
        if max(map(abs, place)) > _NEAR:
            middles = [
                (start_x + part * (x - start_x), start_y + part * (y - start_y)) for part in (0.3, 0.5, 0.7, 0.9)
            ]
            found[place] += [Bbox([middle, middle]).padded(2) for middle in middles]
    return found


def _least_near(axes: "Axes", places: "dict[Point, list[Bbox]]", drawn: "Sequence[Bbox]") -> int:
    """Return the number of things that a label covers at the best place beside its point."""
    return min(_cost(axes, parts[0], drawn) for parts in places.values() if len(parts) == 1)


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
