"""Chance supports few claims, and finds true ones as often as tables of the t distribution say."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.evidence import Evidence, RowValues
from bench_core.reports.claims.verdict import judge
from bench_core.reports.tables.statistics import best_group

COPIES, TRIALS, SEEDS = 10, 12, 3
OF_ONE_METHOD = (("0", "1"), ("0", "2"), ("0", "3"), ("0", "4", "5"), ("0", "6", "7"), ("0", "8", "9"))
WITHOUT_A_COMMON_ROW = (("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9"))


def claim(left: str, *right: str) -> Claim:
    return Claim(
        claim="It is better.", source="abstract", by="paper", paper_scale="ImageNet", scale="cpu", board="mnist",
        left=left, right=right, score="linear:top1", relation="higher", name=f"{left} above {right}",
    )  # fmt: skip


def tuned_copies(rng: np.random.Generator, spread: float) -> NDArray[np.float64]:
    """Return scores (copies, seeds) of copies of one method, each with the best of its own trials.

    A trial is chosen by a score on held-out data, with noise of its own. What is run at the end has new noise of the
    seeds, as final runs have: one part is shared by all copies at a seed (the split), the other is each copy's.

    Args:
        rng: Random numbers.
        spread: Standard deviation of what trials truly differ in, the same for all copies; the noise of a copy at a
            seed has 1.
    """
    effects = spread * rng.normal(size=(COPIES, TRIALS))
    chosen = (effects + rng.normal(size=(COPIES, TRIALS))).argmax(1)
    return effects[np.arange(COPIES), chosen, None] + rng.normal(size=SEEDS) + rng.normal(size=(COPIES, SEEDS))


def rows_of(scores: NDArray[np.float64]) -> dict[str, dict[int, float]]:
    return {str(copy): dict(enumerate(map(float, row))) for copy, row in enumerate(scores)}


def words(rows: Mapping[str, Mapping[int, float]], claims: Sequence[Sequence[str]] = OF_ONE_METHOD) -> set[str]:
    found = Evidence({name: RowValues(row) for name, row in rows.items()})
    return {verdict.word for verdict in judge([(claim(*names), found) for names in claims]).values()}


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_of_ten_copies_of_one_method_no_claim_is_supported_and_a_given_one_is_bold(spread: float) -> None:
    rng, boards = np.random.default_rng(0), 1000
    found, bold = list[set[str]](), 0
    for _ in range(boards):
        rows = rows_of(tuned_copies(rng, spread))
        found.append(words(rows))
        bold += "0" in best_group(rows, higher_is_better=True)
    assert sum("supported" in of_board for of_board in found) <= 0.05 * boards
    assert sum("contradicted" in of_board for of_board in found) <= 0.07 * boards  # 5 %, and three standard errors
    assert bold >= 0.95 * boards


def test_five_claims_without_a_common_row_use_up_the_five_per_cent() -> None:
    rng, boards = np.random.default_rng(0), 2000
    found = [words(rows_of(tuned_copies(rng, 0.0)), WITHOUT_A_COMMON_ROW) for _ in range(boards)]
    expected = 1 - (1 - 0.05 / 5) ** 5  # five independent tests, each at a fifth of 5 %
    for word in ("supported", "contradicted"):
        share = sum(word in of_board for of_board in found) / boards
        assert share == pytest.approx(expected, abs=0.015)  # three standard errors of a share of 2,000


@pytest.mark.parametrize(("seeds", "expected"), [(3, 0.38), (5, 0.50)])
def test_a_difference_of_two_standard_errors_is_found_with_the_power_of_the_t_test(seeds: int, expected: float) -> None:
    rng, boards = np.random.default_rng(0), 4000
    scores = rng.normal(size=(boards, 1, seeds)) + rng.normal(size=(boards, 2, seeds))
    scores[:, 0] += 2 * np.sqrt(2 / seeds)  # the difference of two rows has variance 2
    found = [words(rows_of(of_board), [("0", "1")]) for of_board in scores]
    power, contradicted = found.count({"supported"}) / boards, found.count({"contradicted"}) / boards
    assert power == pytest.approx(expected, abs=0.03)
    t = special.stdtrit(seeds - 1, [0.05, 0.95])
    below, above = special.nctdtr(seeds - 1, 2.0, t[0]), 1 - special.nctdtr(seeds - 1, 2.0, t[1])
    assert power == pytest.approx(above, abs=0.024)  # three standard errors of a share of 4,000
    assert contradicted == pytest.approx(below, abs=0.002)
