"""Names at the ends of lines keep their order and their distance, and move as little as they can."""

import itertools
import random

import pytest
from matplotlib.figure import Figure

from bench_core.reports.pictures.end_labels import label_ends, spread


def test_places_that_are_far_apart_stay() -> None:
    assert spread([0.5, 0.125, 0.875], 0.25) == [0.5, 0.125, 0.875]


def test_places_that_touch_move_equally_far() -> None:
    assert spread([0.5, 0.5], 0.25) == pytest.approx([0.625, 0.375])  # the first is the highest
    assert spread([0.5, 0.625], 0.25) == pytest.approx([0.4375, 0.6875])


def test_places_stay_between_0_and_1() -> None:
    assert spread([1.0, 1.0, 1.0], 0.25) == pytest.approx([1.0, 0.75, 0.5])
    assert spread([0.0, 0.0], 0.25) == pytest.approx([0.25, 0.0])


def test_places_are_the_nearest_of_all_that_are_far_enough_apart() -> None:
    rng, gap = random.Random(0), 0.1
    for _ in range(20):
        places = [rng.random() for _ in range(6)]
        moved = spread(places, gap)
        order = sorted(range(6), key=places.__getitem__)
        steps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
        assert min(steps) >= gap - 1e-12
        assert 0 <= min(moved) <= max(moved) <= 1 + 1e-12
        cost = sum((a - b) ** 2 for a, b in zip(places, moved, strict=True))
        for _ in range(200):  # no other choice is nearer
            start, other = 0.0, [0.0] * 6
            for number in order:
                other[number] = start = max(start, places[number] + rng.gauss(0, 0.05))
                start += gap
            if max(other) <= 1:
                assert sum((a - b) ** 2 for a, b in zip(places, other, strict=True)) >= cost - 1e-12


def test_names_lie_outside_of_the_panel_and_its_limits_stay() -> None:
    axes = Figure().add_subplot()
    axes.set_xlim(0, 4)
    axes.set_ylim(0, 1)
    label_ends(axes, [(4, 0.5), (3, 0.5)], ["a", "b"], [{"color": "red"}, {"color": "blue"}], 0.1)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 4), (0, 1))
    assert [(note.get_text(), note.xy[0] > 4) for note in axes.texts] == [("a", True), ("b", True)]  # type: ignore[attr-defined]
