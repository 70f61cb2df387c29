"""Names beside points cover neither bars nor points nor each other."""

from itertools import combinations

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from bench_core.reports.pictures.labels import write_labels

Points = list[tuple[float, float]]


def boxes(points: Points, bars: Points, labels: list[str]) -> tuple[list[Bbox], list[Bbox]]:
    """Return what labels cover, and what points and bars cover, in pixels."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for point, bar in zip(points, bars, strict=True):
        axes.errorbar(*point, xerr=bar[0], yerr=bar[1], fmt="o")
    axes.margins(0.1)
    write_labels(axes, points, bars, labels)
    figure.draw_without_rendering()
    corners = [
        ((x - width, y - height), (x + width, y + height))
        for (x, y), bar in zip(points, bars, strict=True)
        for width, height in ((bar[0], 0.0), (0.0, bar[1]))
    ]
    drawn = [Bbox(axes.transData.transform(pair)).padded(1) for pair in corners]
    texts = [text for text in axes.texts if text.get_text() in labels]
    assert sorted(text.get_text() for text in texts) == sorted(labels)
    return [Text.get_window_extent(text) for text in texts], drawn


@pytest.mark.parametrize(
    ("points", "bars"),
    [
        ([(0.0, 0.0)], [(1.0, 1.0)]),
        ([(0.0, 0.0), (0.4, 0.1), (-0.3, 1.0)], [(4.0, 3.0), (1.0, 2.0), (3.0, 3.0)]),
        ([(float(k), 0.0) for k in range(6)], [(0.2, 1.0)] * 6),
        ([(0.0, 0.0), (10.0, 10.0)], [(0.0, 0.0), (0.0, 0.0)]),
    ],
)
def test_labels_lie_on_no_bar_and_no_other_label(points: Points, bars: Points) -> None:
    labels, drawn = boxes(points, bars, [f"row {k}" for k in range(len(points))])
    assert not any(label.overlaps(bar) for label in labels for bar in drawn)
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))


def test_every_label_is_written_where_there_is_no_room() -> None:
    labels, _ = boxes([(0.0, 0.0)] * 30, [(1.0, 1.0)] * 30, [f"a row with a long name {k}" for k in range(30)])
    assert len(labels) == 30
