import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from bench_core.reports.tables.statistics import (
    _moderated,
    average_ranks,
    best_group,
    critical_difference,
    friedman,
    holm,
    paired,
)


def by_seed(scores: Iterable[Sequence[float] | NDArray[np.float64]]) -> dict[str, dict[int, float]]:
    """Name rows of scores a, b, c, ... and seeds 0, 1, 2, ..."""
    return {label: dict(enumerate(row)) for label, row in zip("abcdefghijklmnopqrst", scores, strict=False)}


def test_a_row_is_bold_unless_its_one_sided_paired_t_test_against_the_only_other_row_finds_it_worse() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(30):
        first, second = rng.normal(0, 1, 4), rng.normal(1, 1, 4)
        worse = bool(stats.ttest_rel(first, second, alternative="less").pvalue < 0.05)
        assert ("a" in best_group(by_seed([first, second]), higher_is_better=True)) != worse
        found += worse
    assert 3 < found < 20


def slow_group(rows: Sequence[Sequence[float]]) -> set[str]:
    """The formulas for four seeds written out with loops; d0 by bisection."""
    k, n, d, variance = len(rows), 4, 3, dict[tuple[int, int], float]()
    for i in range(k):
        for j in range(k):
            variance[i, j] = float(np.var([x - y for x, y in zip(rows[i], rows[j], strict=True)], ddof=1))
    digamma, trigamma = 2 - np.euler_gamma - 2 * math.log(2), math.pi**2 / 2 - 4  # of 3 / 2
    logs = [math.log(variance[i, j] * 3 / 2) - digamma for i in range(k) for j in range(i)]
    excess = stdev(logs) ** 2 * (k + 1) / k - trigamma
    low, high = 1e-6, float(3 * (k - 2))  # of d0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if special.polygamma(1, middle / 2) > excess else (low, middle)
    t, common = stats.t.ppf(1 - 0.05 / (k - 1), low + d), math.exp(fmean(logs))
    best = max(range(k), key=lambda i: fmean(rows[i]))
    bold = set()
    for i in range(k):
        error = math.sqrt((low * common + d * variance[best, i]) / (low + d) / n)
        if fmean(rows[best]) - fmean(rows[i]) <= t * error:
            bold.add("abcdefghijklmnopqrst"[i])
    return bold


@pytest.mark.parametrize("spread", [0.0, 1.2])
def test_best_group_equals_its_formulas_written_slowly(spread: float) -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(12):
        deviations = np.exp(spread * rng.standard_normal((8, 1)))
        rows = rng.normal(0, 1, (8, 1)) + deviations * rng.standard_normal((8, 4)) + rng.standard_normal(4)
        group = best_group(by_seed(rows), higher_is_better=True)
        assert group == slow_group(rows.tolist())
        seen.add(len(group))
    assert len(seen) > 3


@pytest.mark.parametrize(("shift", "bold"), [(0.0, {"a", "b"}), (2.22, {"a", "b"}), (2.23, {"a"})])
def test_best_group_by_hand(shift: float, bold: set[str]) -> None:
    """A row of three may be 2.887 points behind.

    In points, the variances of a - b and b - c are 7/3, and that of a - c is 0. The two that vary are alike, so d0 is
    at most, 2, like d. Their common size is 7/3 exp(0.5772), as digamma(1) = -0.5772. So the moderated variance of
    a - b is 7/6 (1 + exp(0.5772)) = 3.245, with 4 degrees of freedom, whose t at 0.975 is 2.776.
    """
    assert stats.t.ppf(0.975, 4) * math.sqrt(7 / 6 * (1 + math.exp(np.euler_gamma)) / 3) == pytest.approx(
        2 / 3 + 2.2207, abs=1e-4
    )
    points = {"a": (80, 82, 81), "b": (81 - shift, 80 - shift, 80 - shift), "c": (60, 62, 61)}
    assert best_group(by_seed(points.values()), higher_is_better=True) == bold


@pytest.fixture
def board() -> NDArray[np.float64]:
    """Ten rows of five seeds, of which some but not all are told from the best."""
    rng = np.random.default_rng(4)
    return np.linspace(0.8, 0.7, 10)[:, None] + 0.03 * rng.standard_normal((10, 5))


@pytest.mark.parametrize("change", ["a seed", "the unit", "the direction", "the order of rows", "the order of seeds"])
def test_bold_does_not_change_with(change: str, board: NDArray[np.float64]) -> None:
    bold = best_group(by_seed(board), higher_is_better=True)
    assert 1 < len(bold) < 10
    values, higher = by_seed(board), True
    if change == "a seed":
        values = by_seed(board + np.array([0.5, 0.1, -3, 0, 0]))
    if change == "the unit":
        values = by_seed(1e200 * board)
    if change == "the direction":
        values, higher = by_seed(1 - board), False
    if change == "the order of rows":
        values = dict(reversed(values.items()))
    if change == "the order of seeds":
        values = {label: dict(reversed(row.items())) for label, row in values.items()}
    assert best_group(values, higher) == bold


def test_pairing_by_seed_tells_apart_what_the_spread_over_seeds_would_hide() -> None:
    best, other = (0.5, 0.7, 0.9), (0.49, 0.688, 0.891)
    assert stats.ttest_ind(best, other).pvalue > 0.9
    assert best_group(by_seed([best, other]), higher_is_better=True) == {"a"}


def test_other_rows_tell_how_much_a_difference_varies() -> None:
    """Two differences that hardly vary by chance prove little where those of all other rows vary a hundredfold."""
    close = [[0.80, 0.90, 0.70], [0.79, 0.8901, 0.69]]
    assert best_group(by_seed(close), higher_is_better=True) == {"a"}
    others = [[0.75, 0.70, 0.80], [0.70, 0.75, 0.66], [0.65, 0.80, 0.75]]
    assert {"a", "b"} <= best_group(by_seed([*close, *others]), higher_is_better=True)


def test_nothing_is_bold_below_three_common_seeds() -> None:
    rows = by_seed([[0.9, 0.91, 0.92], [0.1, 0.12, 0.11]])
    assert best_group(rows, higher_is_better=True) == {"a"}
    two = {label: {seed: row[seed] for seed in (0, 1)} for label, row in rows.items()}
    assert best_group(two, higher_is_better=True) == set()
    assert best_group({"a": rows["a"], "b": two["b"]}, higher_is_better=True) == set()
    assert best_group({"a": {0: 0.9}, "b": {}}, higher_is_better=True) == set()
    assert best_group({}, higher_is_better=True) == set()


def test_rows_that_never_vary_are_bold_where_their_means_tie() -> None:
    constant = {"a": [0.5, 0.75, 0.1], "b": [0.5, 0.75, 0.1], "c": [0.25, 0.5, -0.15]}
    assert best_group(by_seed(constant.values()), higher_is_better=True) == {"a", "b"}
    assert best_group(by_seed([[0.3] * 3, [0.1 + 0.2] * 3]), higher_is_better=True) == {"a", "b"}  # rounding
    assert best_group(by_seed([[0.0] * 3] * 4), higher_is_better=True) == set("abcd")
    assert best_group(by_seed([[0.3] * 3]), higher_is_better=True) == {"a"}
    with_noise = [[0.5] * 3, [0.1, 0.2, 0.15], [0.4] * 3, [0.12, 0.1, 0.2]]
    assert best_group(by_seed(with_noise), higher_is_better=True) >= {"a"}


def test_rows_without_values_and_further_seeds_do_not_count() -> None:
    rows = by_seed([[0.9, 0.91, 0.92], [0.1, 0.12, 0.11]])
    more = {"a": rows["a"] | {7: 0.0}, "b": rows["b"] | {9: 1.0}, "empty": {}}
    assert best_group(more, higher_is_better=True) == {"a"}


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


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_rows_that_are_alike_seldom_differ_by_more_where_ranks_are_means_over_the_tasks_of_a_family(
    shared: float,
) -> None:
    rng = np.random.default_rng(0)
    boards, rows, families = 400, 10, [6, 2, 3, 1, 1]
    ranks = []
    for tasks in families:
        own, common = rng.standard_normal((boards, rows, tasks)), rng.standard_normal((boards, rows, 1))
        ranks.append(stats.rankdata(math.sqrt(1 - shared) * own + math.sqrt(shared) * common, axis=1).mean(2))
    widest = np.ptp(np.mean(ranks, 0), axis=1)
    assert (widest >= critical_difference(rows, len(families))).mean() <= 0.05


def test_friedman_by_hand() -> None:
    assert friedman([[1.0] * 5, [2.0] * 5, [3.0] * 5]) == pytest.approx(math.exp(-5))  # chi-squared 10, 2 degrees
    assert friedman([[2.0] * 5] * 3) == 1.0


def test_moderated_variances_by_hand_and_in_any_unit() -> None:
    """Six variances of very different sizes at d = 2: the formulas of Smyth, with the two corrections."""
    sizes = np.array([1e-4, 1e-2, 1.0, 1e2, 1e-3, 10.0])
    variances = np.zeros((4, 4))
    variances[np.triu_indices(4, 1)] = sizes
    variances += variances.T
    logs = np.log(sizes) + np.euler_gamma  # digamma(1) = -euler_gamma, log(1) = 0
    excess = logs.var(ddof=1) * 5 / 4 - math.pi**2 / 6  # trigamma(1)
    x = next(x for x in np.geomspace(1e-3, 10, 400_000) if special.polygamma(1, x) <= excess)
    expected = (2 * x * math.exp(logs.mean()) + 2 * variances) / (2 * x + 2)
    moderated, freedom = _moderated(variances, 3)
    assert freedom == pytest.approx(2 * x + 2, rel=1e-4)
    np.testing.assert_allclose(moderated, expected, rtol=1e-4)
    np.testing.assert_allclose(_moderated(variances * 1e-12, 3)[0], moderated * 1e-12, rtol=1e-9)
