import math
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench_core.evaluation.intervals import t_halfwidth
from bench_core.reports.tables.statistics import (
    average_ranks,
    best_group,
    critical_difference,
    friedman,
    holm,
    indistinguishable,
    paired,
)

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


@given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_indistinguishable_agrees_with_scipys_paired_t_test(n: int, seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    best = rng.normal(0.3, 1, n)
    other = rng.normal(0.0, 1, n)
    p = stats.ttest_rel(best, other).pvalue
    told = indistinguishable(dict(enumerate(best.tolist())), dict(enumerate(other.tolist())), level)
    if abs(p - (1 - level)) > 1e-9:
        assert told == (p > 1 - level)


def test_pairing_by_seed_tells_apart_what_the_spread_over_seeds_would_hide() -> None:
    best = {0: 0.5, 1: 0.7, 2: 0.9}
    other = {0: 0.49, 1: 0.689, 2: 0.891}
    assert stats.ttest_ind(list(best.values()), list(other.values())).pvalue > 0.9
    assert not indistinguishable(best, other)


def test_only_common_seeds_count_and_their_order_does_not() -> None:
    best = {2: 0.9, 0: 0.5, 1: 0.7, 7: 0.0}
    other = {1: 0.689, 2: 0.891, 0: 0.49, 9: 1.0}
    assert not indistinguishable(best, other)


def test_constant_difference_is_told_apart_and_no_difference_is_not() -> None:
    assert not indistinguishable({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert indistinguishable({0: 0.5, 1: 0.75}, {0: 0.5, 1: 0.75})


@pytest.mark.parametrize("other", [{}, {0: 0.1}, {5: 0.1, 6: 0.2}])
def test_fewer_than_two_common_seeds_tell_nothing(other: dict[int, float]) -> None:
    assert indistinguishable({0: 0.9, 1: 0.91}, other)


def test_best_group_by_hand() -> None:
    values = {
        "a": {0: 0.80, 1: 0.82, 2: 0.81},
        "b": {0: 0.81, 1: 0.80, 2: 0.80},  # differs from a by -1, 2, 1 points: 0 is inside
        "c": {0: 0.70, 1: 0.72, 2: 0.71},  # 10 points below a at every seed
        "d": {0: 0.99},  # one seed
    }
    assert best_group(values, higher_is_better=True) == {"a", "b"}
    assert best_group(values, higher_is_better=False) == {"c"}


def test_best_group_is_empty_where_no_row_has_two_seeds() -> None:
    assert best_group({"a": {0: 0.9}, "b": {}}, higher_is_better=True) == set()
    assert best_group({}, higher_is_better=True) == set()


@given(st.lists(st.integers(0, 5), max_size=8), st.booleans())
def test_rank_is_one_plus_rows_ahead_plus_half_of_ties(values: list[int], higher: bool) -> None:
    def slow(value: int) -> float:
        ahead = sum(v > value if higher else v < value for v in values)
        return 1 + ahead + (values.count(value) - 1) / 2

    assert average_ranks(values, higher) == [slow(value) for value in values]


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert average_ranks([0.9, 0.8, 0.9], higher_is_better=True) == [1.5, 3.0, 1.5]
    assert average_ranks([0.9, 0.8, 0.9], higher_is_better=False) == [2.5, 1.0, 2.5]


def test_a_paired_difference_by_hand() -> None:
    result = paired({0: 3.0, 1: 5.0, 2: 7.0, 9: 100.0}, {0: 2.0, 1: 3.0, 2: 4.0, 8: -100.0})  # 1, 2, 3: t = 2 sqrt(3)
    assert (result.seeds, result.mean) == (3, 2.0)
    assert result.low == pytest.approx(2 - 2.484138, abs=1e-6)
    assert result.high == pytest.approx(2 + 2.484138, abs=1e-6)
    assert result.p == pytest.approx(1 - math.sqrt(12 / 14))  # of t with 2 degrees of freedom: 1 - t / sqrt(2 + t * t)


def test_pairing_removes_the_effect_of_a_seed_on_both_rows() -> None:
    base = {0: 0.1, 1: 0.5, 2: 0.9}
    better = {0: 0.121, 1: 0.519, 2: 0.92}
    assert (result := paired(better, base)).p is not None
    assert result.p < 0.01
    assert paired(base, better).mean == pytest.approx(-result.mean)  # type: ignore[operator]  # there are seeds


@pytest.mark.parametrize("second", [{}, {0: 0.4}, {0: 0.4, 1: 0.5}, {0: 0.4, 1: 0.5 + 1e-15}])
def test_no_seed_one_seed_and_differences_that_do_not_vary_have_no_interval(second: dict[int, float]) -> None:
    result = paired({0: 0.5, 1: 0.6}, second)
    assert result.seeds == len(second)
    assert (result.low, result.high, result.p) == (None, None, None)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_critical_difference_equals_demsars() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)  # JMLR 2006, section 3.2.3
    assert critical_difference(5, 30) == pytest.approx(2.728 * math.sqrt(1 / 6), abs=1e-3)  # his table 5a


def test_friedman_by_hand() -> None:
    assert friedman([[1.0] * 5, [2.0] * 5, [3.0] * 5]) == pytest.approx(math.exp(-5))  # chi-squared 10, 2 degrees
    assert friedman([[2.0] * 5] * 3) == 1.0
