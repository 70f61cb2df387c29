"""Intervals of a mean: Student's t, Wilson's, the bootstrap."""

import math
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench_core.evaluation.intervals import bootstrap_mean, item_interval, t_halfwidth, wilson

SAMPLES = [[0.1, 0.4], [1.0, 2.0, 3.0], [0.81, 0.82, 0.79, 0.815, 0.8]]


@pytest.mark.parametrize("values", SAMPLES)
def test_half_width_equals_scipys_t_interval(values: list[float]) -> None:
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    half = t_halfwidth(values)
    assert half is not None
    assert (fmean(values) - half, fmean(values) + half) == pytest.approx((low, high), rel=1e-12)


def test_half_width_of_1_2_3_is_4_3027_over_the_root_of_3() -> None:
    quantile = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # in closed form for two degrees of freedom
    assert quantile == pytest.approx(4.3027, abs=5e-5)
    assert t_halfwidth([1, 2, 3]) == pytest.approx(quantile / math.sqrt(3), rel=1e-9)


@pytest.mark.parametrize(("n", "half"), [(3, 0.75), (5, 0.37), (10, 0.21)])
def test_half_width_at_a_standard_deviation_of_0_3_equals_the_textbook_table(n: int, half: float) -> None:
    values = np.arange(n, dtype=float)
    values *= 0.3 / np.std(values, ddof=1)
    assert t_halfwidth(values.tolist()) == pytest.approx(half, abs=0.005)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_half_width(values: list[float]) -> None:
    assert t_halfwidth(values) is None


def test_half_width_does_not_change_with_the_mean_and_scales_with_the_unit() -> None:
    half = t_halfwidth([1.0, 2.0, 4.0])
    assert t_halfwidth([11.0, 12.0, 14.0]) == pytest.approx(half)
    assert half is not None
    assert t_halfwidth([100.0, 200.0, 400.0]) == pytest.approx(100 * half)


def test_bootstrap_of_two_items_has_three_means() -> None:
    """The means 0, 1/2 and 1 have probabilities 1/4, 1/2 and 1/4."""
    assert bootstrap_mean(np.array([0.0, 1.0])) == (0.0, 1.0)
    assert bootstrap_mean(np.array([0.0, 1.0]), level=0.4) == (0.5, 0.5)


def test_bootstrap_equals_scipys_of_paired_items() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(200), 0.8 * rng.random(200)

    def mean(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], axis: int) -> Any:
        return (a - b).mean(axis)

    theirs = stats.bootstrap(
        (first, second), mean, paired=True, vectorized=True, method="percentile", n_resamples=10_000, random_state=rng
    ).confidence_interval
    assert bootstrap_mean(first - second, 10_000) == pytest.approx((theirs.low, theirs.high), abs=0.003)  # 0.1 wide


@pytest.mark.parametrize(
    ("hits", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (98, 100), (499, 500), (5000, 10000)]
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_equals_scipys(hits: int, n: int, level: float) -> None:
    theirs = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    assert wilson(hits, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    """Without a hit the upper end is z^2 / (n + z^2)."""
    assert wilson(98, 100) == pytest.approx((0.9300, 0.9945), abs=5e-5)
    assert wilson(0, 10) == pytest.approx((0, 1.959964**2 / (10 + 1.959964**2)), rel=1e-6)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1


def test_wilson_holds_a_share_of_99_percent_as_often_as_it_says() -> None:
    """Over all numbers of hits, weighed by their probability; the normal interval holds it in 87 %."""
    chance = stats.binom.pmf(np.arange(201), 200, 0.99)
    holds = [low <= 0.99 <= high for low, high in (wilson(hits, 200) for hits in range(201))]
    assert 0.93 < float(chance[holds].sum()) < 0.98


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_hits_that_are_no_share_of_the_items(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {hits} of {n}"):
        wilson(hits, n)


def test_items_that_are_hits_have_wilsons_interval_and_others_that_of_the_bootstrap() -> None:
    hits = np.arange(200) < 190
    assert item_interval(hits) == item_interval(hits.astype(float)) == wilson(190, 200)
    precisions = np.random.default_rng(0).random(200)
    low, high = item_interval(precisions)
    assert (low, high) == bootstrap_mean(precisions)
    normal = 1.96 * precisions.std() / math.sqrt(200)
    assert (high - low) / 2 == pytest.approx(normal, rel=0.1)
    assert (high + low) / 2 == pytest.approx(precisions.mean(), abs=0.1 * normal)


def test_the_formula_for_many_items_is_nearer_to_the_bootstrap_than_few_draws_are() -> None:
    precisions = np.random.default_rng(0).random(500) ** 6  # most near 0: skewness 2
    exact = bootstrap_mean(precisions, 50_000)
    error = precisions.std() / math.sqrt(500)
    assert item_interval(precisions) == pytest.approx(exact, abs=0.02 * error)
    normal = [precisions.mean() + sign * 1.959964 * error for sign in (-1, 1)]
    assert max(abs(np.subtract(exact, normal))) > 0.03 * error  # the skewness shows


def test_many_items_that_are_all_alike_have_an_interval_of_one_point() -> None:
    assert item_interval(np.full(600, 0.25)) == (0.25, 0.25)


def test_the_formula_for_many_items_by_hand() -> None:
    """A mean of n items: z -> z + (z^2 - 1) / 6 x skewness / sqrt(n), in units of the mean's deviation."""
    values, n, z = np.random.default_rng(0).random(500) ** 6, 500, stats.norm.ppf(0.975)
    skewness = stats.skew(values)
    ends = [
        values.mean() + (sign * z + (z * z - 1) / 6 * skewness / math.sqrt(n)) * values.std() / math.sqrt(n)
        for sign in (-1, 1)
    ]
    assert item_interval(values) == pytest.approx(ends, rel=1e-12)
