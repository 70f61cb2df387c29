"""Ranges are checked wherever a Config is made, are shown as they are checked, and fit their default."""

from dataclasses import dataclass
from typing import Any

import pytest

from bench_core import Config, choice, log, param, uniform
from bench_core.config import build, parameters
from bench_core.errors import ConfigError
from bench_core.ranges import Choices, Range, SearchSpace, around, zero_or


@dataclass(frozen=True, kw_only=True)
class Toy(Config):
    rate: float = param(0.5, "a rate", "ours: toy", gt=0, lt=1, tune=log(1e-4, 0.9))
    sizes: tuple[int, ...] = param((1, 2), "sizes", "ours: toy", ge=1)
    limit: int | None = param(None, "a limit", "ours: toy", ge=2, le=9)
    kind: str = param("a", "a kind", "ours: toy", choices=("a", "b"))


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "text"),
    [
        ({"gt": 0}, [1e-9, 7], [0, -1, float("nan")], "> 0"),
        ({"ge": 1}, [1, 2], [0, float("nan")], ">= 1"),
        ({"lt": 1}, [0.9, -5], [1, float("nan")], "< 1"),
        ({"le": 0.5}, [0.5, 0], [0.51], "<= 0.5"),
        ({"ge": 1, "le": 50_000}, [1, 50_000], [0, 50_001], "in [1, 50000]"),
        ({"ge": 0, "lt": 1}, [0, 0.99], [1, -0.1], "in [0, 1)"),
        ({"gt": 0, "le": 1}, [1, 0.1], [0, 1.1], "in (0, 1]"),
        ({"choices": ("a", "b")}, ["a"], ["c", ""], "one of 'a', 'b'"),
        ({}, [0, "x"], [], ""),
    ],
)
def test_a_range_holds_what_its_text_says(
    bounds: dict[str, Any], inside: list[Any], outside: list[Any], text: str
) -> None:
    span = Range(**bounds)
    assert str(span) == text
    assert all(map(span.holds, [*inside, None, tuple(inside)]))
    assert not any(map(span.holds, outside))
    assert not any(span.holds((*inside, value)) for value in outside)


def test_choices_are_several_values_and_not_one_text_whose_parts_would_all_hold() -> None:
    with pytest.raises(ValueError, match=r"choices must be a tuple, like \('gelu',\), got 'gelu'"):
        param("gelu", "a function", "ours: toy", choices="gelu")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.0}, r"rate must be in \(0, 1\), got 1\.0"),
        ({"sizes": (3, 0)}, r"sizes must each be >= 1, got \(3, 0\)"),
        ({"limit": 1}, r"limit must be in \[2, 9\], got 1"),
        ({"kind": "c"}, r"kind must be one of 'a', 'b', got 'c'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_class_and_at_the_border(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Toy(**values)
    with pytest.raises(ConfigError, match=message):
        build(Toy, {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}, "toy")


def test_a_dataclass_without_the_base_is_checked_at_the_border() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare:
        rate: float = param(0.5, "a rate", "ours: toy", gt=0)

    with pytest.raises(ConfigError, match="rate must be > 0"):
        build(Bare, {"rate": 0.0}, "bare")


def test_the_range_is_listed_with_the_parameter() -> None:
    assert [p.range for p in parameters(Toy)] == ["in (0, 1)", ">= 1", "in [2, 9]", "one of 'a', 'b'"]


def test_a_default_out_of_range_and_a_contradiction_are_refused_where_they_are_written() -> None:
    with pytest.raises(ValueError, match="the default 0 must be > 0"):
        param(0, "a rate", "ours: toy", gt=0)
    for wrong in ({"gt": 0, "ge": 1}, {"lt": 0, "le": 1}, {"ge": 0, "choices": (1,)}):
        with pytest.raises(ValueError, match="not both"):
            Range(**wrong)


def test_a_search_space_is_kept_and_changes_nothing() -> None:
    assert Toy.__dataclass_fields__["rate"].metadata["tune"] == SearchSpace("log", (1e-4, 0.9))
    assert (uniform(0, 1).values, choice(1, 2).values) == ((0, 1), (1, 2))
    with pytest.raises(ValueError, match="0 < low < high"):
        log(0, 1)
    with pytest.raises(ValueError, match="low < high"):
        uniform(1, 1)
    with pytest.raises(ValueError, match="two values or more"):
        choice(1)


def test_choices_may_be_written_in_more_ways_than_are_listed() -> None:
    def why_not(value: object) -> str | None:
        if not str(value).endswith("-"):
            return ""
        return None if value == "a-" else "only 'a' may end in -"

    span = Range(choices=Choices(("a", "b"), why_not))
    assert str(span) == "one of 'a', 'b'"
    assert [span.holds(value) for value in ("a", "b", "a-", "b-", "c", ("a", "a-"))] == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]
    assert [span.why_not(value) for value in ("b-", "c")] == [": only 'a' may end in -", ""]
    assert Range(choices=("a", "b")).why_not("c") == ""


@pytest.mark.parametrize(
    ("space", "default", "values", "text"),
    [
        (log(0.01, 1.0), 0.5, [0.01, 0.1, 0.999], "0.01 to 1 (log)"),
        (uniform(0.0, 4.0), 1.0, [0.0, 2.0, 4.0], "0 to 4"),
        (uniform(1, 9), 3, [1, 5, 9], "1 to 9"),
        (choice("a", "b"), "a", ["a", "b", "b"], "one of 'a', 'b'"),
        (choice((0.1,), (0.2,)), (0.3,), [(0.1,), (0.2,), (0.2,)], "one of [0.1], [0.2]"),
        (around(10), 0.5, [0.05, 0.5, 4.99], "0.05 to 5 (log)"),
        (around(10), 0.0, [0.0, 0.0, 0.0], "0"),
        (zero_or(uniform(3.0, 6.0)), 0.0, [0.0, 4.0, 6.0], "0, or 3 to 6"),
    ],
)
def test_a_point_of_a_space_is_a_value_by_hand(space: SearchSpace, default: Any, values: list[Any], text: str) -> None:
    at = [space.at(u, default) for u in (0, 0.5, 0.9995)]
    assert at == pytest.approx(values, rel=1e-2) if isinstance(default, float) else at == values
    assert [type(value) for value in at] == [type(default)] * 3
    assert space.text(default) == text


@pytest.mark.parametrize(
    ("space", "inside", "outside"),
    [
        (log(0.01, 1.0), [0.01, 0.5, 1.0], [0.0, 0.009, 1.1, None]),
        (uniform(0.0, 4.0), [0.0, 4.0], [-0.1, 4.1]),
        (choice("a", None), ["a", None], ["b", 0.5]),
        (around(10), [0.05, 0.5, 5.0], [0.04, 5.1]),
        (zero_or(uniform(3.0, 6.0)), [0.0, 3.0, 6.0], [1.0, 7.0]),
    ],
)
def test_a_space_holds_what_a_tuner_may_come_upon(space: SearchSpace, inside: list[Any], outside: list[Any]) -> None:
    assert [space.holds(value, 0.5) for value in inside] == [True] * len(inside)
    assert [space.holds(value, 0.5) for value in outside] == [False] * len(outside)


def test_values_have_three_significant_digits_and_lie_between_the_ends() -> None:
    points = [index / 100 for index in range(100)]
    for space, low, high in ((log(1e-4, 0.9), 1e-4, 0.9), (around(30), 1e-3 / 30, 3e-2), (uniform(0.1, 0.3), 0.1, 0.3)):
        values = [space.at(u, 1e-3) for u in points]
        assert values == sorted(values)
        assert low == values[0] < values[-1] <= high
        assert values[1:] == [float(f"{value:.3g}") for value in values[1:]]


def test_the_logarithm_is_drawn_evenly() -> None:
    values = [log(1e-6, 1e-2).at(u, 1.0) for u in (0.0, 0.25, 0.5, 0.75)]
    assert values == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3])


def test_a_quarter_of_the_points_of_zero_or_is_zero() -> None:
    values = [zero_or(log(1e-6, 1e-2)).at(index / 1000, 0.0) for index in range(1000)]
    assert sum(value == 0 for value in values) == 250
    assert min(value for value in values if value) == pytest.approx(1e-6)


def test_spaces_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="a factor above 1, got 1"):
        around(1)
    with pytest.raises(ValueError, match=r"got choice\(\.\.\.\)"):
        zero_or(choice(1, 2))
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1"):
        uniform(0, 1).at(1, 0.5)
