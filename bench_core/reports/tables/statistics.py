"""Comparisons of rows over seeds: paired differences, tests, the rows that cannot be told from the best, ranks."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import scipy  # its parts load where they are used: `stats` costs a second, `special` little

from bench_core.evaluation.intervals import LEVEL, t_halfwidth


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
    if half is None or max(differences) - min(differences) <= 1e-12 * largest:  # rounding is no variation
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
    """Return the least difference of mean ranks that counts (Nemenyi; Demsar, JMLR 2006): 1.25 for 4 rows, 14 tasks."""
    q = float(scipy.stats.studentized_range.ppf(level, rows, math.inf)) / math.sqrt(2)
    return q * math.sqrt(rows * (rows + 1) / (6 * tasks))


def friedman(ranks: Sequence[Sequence[float]]) -> float:
    """Return the p-value of no difference among three rows or more, each with a rank on every task."""
    if all(len(set(by_task)) == 1 for by_task in zip(*ranks, strict=True)):
        return 1.0  # all are tied everywhere
    return float(scipy.stats.friedmanchisquare(*ranks).pvalue)


def indistinguishable(best: Mapping[int, float], other: Mapping[int, float], level: float = LEVEL) -> bool:
    """Return whether the t interval of the difference, paired by seed, contains 0.

    Args:
        best: Seed -> value.
        other: Seed -> value; only seeds that both have count.
        level: Confidence of the interval.

    Returns:
        True also for fewer than two common seeds, for these tell nothing.
    """
    differences = [best[seed] - other[seed] for seed in sorted(best.keys() & other.keys())]
    half = t_halfwidth(differences, level)
    return half is None or abs(fmean(differences)) <= half


def best_group(values: Mapping[str, Mapping[int, float]], higher_is_better: bool) -> set[str]:
    """Return the label of the best mean over seeds, and of all rows that cannot be told from it.

    Args:
        values: Label -> seed -> value. Rows with fewer than two seeds are left out: one seed tells nothing.
        higher_is_better: The direction.

    Returns:
        Labels; empty where no row has two seeds.
    """
    candidates = {label: by_seed for label, by_seed in values.items() if len(by_seed) >= 2}
    if not candidates:
        return set()
    sign = 1 if higher_is_better else -1
    best = max(candidates, key=lambda label: sign * fmean(candidates[label].values()))
    return {label for label, by_seed in candidates.items() if indistinguishable(candidates[best], by_seed)}


def average_ranks(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Rank values from 1 (the best); equal values share the mean of their ranks: (.9, .8, .9) gives 1.5, 3, 1.5."""
    sign = -1 if higher_is_better else 1
    signed = [sign * value for value in values]
    ordered = sorted(signed)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in signed]
