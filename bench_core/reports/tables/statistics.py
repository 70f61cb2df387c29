"""Comparisons of rows over seeds: paired differences, tests, the rows that cannot be told from the best, ranks."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import scipy  # its parts load where they are used: `stats` costs a second, `special` little
from numpy.typing import NDArray

from bench_core.evaluation.intervals import LEVEL, t_halfwidth

FEWEST_SEEDS = 3  # for a row to be bold
BOLD_PROMISE = (
    "Bold (* in plain text): the best, and all that cannot be told from it by their differences at the same seeds. A "
    "row that is truly best is bold in at least 95 % of such columns (comparisons with the best, variances moderated "
    "over rows)."
)
_ROUNDING = 1e-12  # of the largest value: what varies by less does not vary


@dataclass(frozen=True)
class Paired:
    """Difference of two rows at the seeds that both have.

    Attributes:
        seeds: Number of these seeds.
        mean: Mean of first minus second; None without a seed.
        low: Lower end of the t interval of the mean; None for one seed, or differences that do not vary.
        high: Upper end; None like `low`.
        p: p-value of the two-sided t test of no difference; None like `low`.
    """

    seeds: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired(first: Mapping[int, float], second: Mapping[int, float], level: float = LEVEL) -> Paired:
    """Compare rows, paired by seed: (3, 5, 7) and (2, 3, 4) have mean difference 2 in [-0.484, 4.484], p = 0.0742."""
    differences = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
    if not differences:
        return Paired(0)
    mean, half = fmean(differences), t_halfwidth(differences, level)
    largest = max(map(abs, [*first.values(), *second.values()]))
    if half is None or max(differences) - min(differences) <= _ROUNDING * largest:
        return Paired(len(differences), mean)
    t = abs(mean) / stdev(differences) * math.sqrt(len(differences))
    p = 2 * float(scipy.special.stdtr(len(differences) - 1, -t))
    return Paired(len(differences), mean, mean - half, mean + half, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for many tests (Holm, 1979): the chance of any false one below a level is at most that level.

    (0.01, 0.04, 0.03) gives 0.03, 0.06, 0.06.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = highest
    return adjusted


def critical_difference(rows: int, tasks: int, level: float = LEVEL) -> float:
    """Return the least difference of mean ranks that counts (Nemenyi; Demsar, JMLR 2006): 1.25 for 4 rows, 14 tasks.

    Families may stand for tasks, by the mean of their tasks' ranks: it is cautious then, as means vary less than ranks.

    Args:
        rows: Number of rows that are ranked.
        tasks: Number of independent rankings, one for each task or family.
        level: Share of comparisons of rows that are all alike in which no difference counts.
    """
    q = float(scipy.stats.studentized_range.ppf(level, rows, math.inf)) / math.sqrt(2)
    return q * math.sqrt(rows * (rows + 1) / (6 * tasks))


def friedman(ranks: Sequence[Sequence[float]]) -> float:
    """Return the p-value of no difference among three rows or more, each with a rank on every task."""
    if all(len(set(by_task)) == 1 for by_task in zip(*ranks, strict=True)):
        return 1.0  # all are tied everywhere
    return float(scipy.stats.friedmanchisquare(*ranks).pvalue)


def best_group(values: Mapping[str, Mapping[int, float]], higher_is_better: bool) -> set[str]:
    """Return the rows that cannot be told from the best: one that is truly best is among them in 95 % of tables.

    Comparisons with the best (Hsu, 1984): a row is left out where it is behind the best mean by more than
    t x sqrt(s^2 / n), with the variance s^2 of its differences from the best at n common seeds. Each of k - 1 rows may
    be ahead of a true best by chance, so they share the 5 %: t is the one-sided quantile at 1 - 0.05 / (k - 1). At
    three seeds s^2 alone says little, so `_moderated` draws it towards that of the other pairs of rows. With two rows
    this is the one-sided paired t test. `benchmarks/bold.md` shows how the promise is kept, and what is seen.

    Args:
        values: Label -> seed -> value. Rows without a value are left out; only seeds that all others have count.
        higher_is_better: The direction.

    Returns:
        Labels; empty below `FEWEST_SEEDS` common seeds.
    """
    rows = {label: by_seed for label, by_seed in values.items() if by_seed}
    seeds = sorted(set.intersection(*map(set, rows.values()))) if rows else []
    if len(seeds) < FEWEST_SEEDS:
        return set()
    scores = np.array([[by_seed[seed] for seed in seeds] for by_seed in rows.values()], float)  # (k, n)
    scores /= max(np.abs(scores).max(), np.finfo(float).tiny)  # so that squares do not overflow
    differences = scores[:, None] - scores  # (k, k, n)
    ahead = differences.mean(2) * (1 if higher_is_better else -1)
    variances, freedom = _moderated(differences.var(2, ddof=1), len(seeds))
    t = float(scipy.special.stdtrit(freedom, 1 - (1 - LEVEL) / max(1, len(rows) - 1)))
    told = ahead > t * np.sqrt(variances / len(seeds)) + _ROUNDING
    best = ahead.min(1) >= -_ROUNDING  # several where means tie: a row is told from the best if from each of them
    return {label for label, from_best in zip(rows, told[best].all(0), strict=True) if not from_best}


def _moderated(variances: NDArray[np.float64], seeds: int) -> tuple[NDArray[np.float64], float]:
    """Draw the variances of the rows' differences towards their common size, the more the more alike they are.

    Empirical Bayes (Smyth, SAGMB 2004, section 6.2), with d = seeds - 1: the logarithm of a variance s^2 varies by
    trigamma(d / 2) by chance alone. What the logarithms vary beyond that tells how many degrees of freedom d0 the
    common size s0^2 is worth: (d0 s0^2 + d s^2) / (d0 + d). Three things differ from Smyth:

    - Pairs that share a row vary together: their variances correlate by 1/4. So the k (k - 1) / 2 logarithms vary too
      little, by the factor k / (k + 1), which is taken out.
    - d0 is at most (k - 2) d, for there are (k - 1) d degrees of freedom in all. None are left for two rows.
    - s0^2 is the geometric mean. His is lower, and would break the promise of `best_group` at three seeds.

    Args:
        variances: (k, k), of the differences of each pair of rows.
        seeds: Number of differences of a pair.

    Returns:
        The moderated variances (k, k), and their degrees of freedom d0 + d.
    """
    rows, d = len(variances), seeds - 1
    pairs = variances[np.triu_indices(rows, 1)]
    varying = pairs[pairs > _ROUNDING**2]
    if rows < 3 or len(varying) < 2:
        return variances, d
    logs = np.log(varying) - scipy.special.digamma(d / 2) + math.log(d / 2)
    excess = logs.var(ddof=1) * (rows + 1) / rows - scipy.special.polygamma(1, d / 2)
    d0 = 2 * _inverse_trigamma(max(excess, scipy.special.polygamma(1, (rows - 2) * d / 2)))
    return (d0 * math.exp(logs.mean()) + d * variances) / (d0 + d), d0 + d


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 with trigamma(x) = value > 0, by Newton's method on 1 / trigamma (Smyth, 2004, appendix)."""
    x = 0.5 + 1 / value
    for _ in range(8):
        trigamma = scipy.special.polygamma(1, x)
        x += trigamma * (1 - trigamma / value) / scipy.special.polygamma(2, x)
    return float(x)


def average_ranks(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Rank values from 1 (the best); equal values share the mean of their ranks: (.9, .8, .9) gives 1.5, 3, 1.5."""
    sign = -1 if higher_is_better else 1
    signed = [sign * value for value in values]
    ordered = sorted(signed)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in signed]
