"""Statistics over seeds: intervals, who can be told from the best, ranks."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import scipy  # its parts load where they are used: `stats` costs a second, `special` little

from bench_core.evaluation.statistics import LEVEL, t_halfwidth


@dataclass(frozen=True)
class Paired:
    """Two rows at the seeds that both have.

    Attributes:
        seeds: Number of them.
        mean: Of first minus second; None without a seed.
        low: End of the t interval of that mean; None where there is none: one seed, or differences that do not vary.
        high: Likewise.
        p: Of the two-sided t test of no difference; None likewise.
    """

    seeds: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired(first: Mapping[int, float], second: Mapping[int, float], level: float = LEVEL) -> Paired:
    """The mean difference, paired by seed: (3, 5, 7) against (2, 3, 4) gives 2 in [-0.484, 4.484], p = 0.0742."""
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
    """Adjusted p-values (Holm, 1979): below a level, they err at most so often among all of them together.

    (0.01, 0.04, 0.03) gives 0.03, 0.06, 0.06.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def critical_difference(rows: int, tasks: int, level: float = LEVEL) -> float:
    """By how much mean ranks must differ at least (Nemenyi; Demsar, JMLR 2006): 1.25 for 4 rows on 14 tasks."""
    q = float(scipy.stats.studentized_range.ppf(level, rows, math.inf)) / math.sqrt(2)
    return q * math.sqrt(rows * (rows + 1) / (6 * tasks))


def friedman(ranks: Sequence[Sequence[float]]) -> float:
    """The p-value of no difference among three rows or more, each with a rank on every task."""
    if all(len(set(by_task)) == 1 for by_task in zip(*ranks, strict=True)):
        return 1.0  # all are tied everywhere
    return float(scipy.stats.friedmanchisquare(*ranks).pvalue)


def indistinguishable(best: Mapping[int, float], other: Mapping[int, float], level: float = LEVEL) -> bool:
    """Whether the t interval of the difference, paired by seed, contains 0.

    Args:
        best: Seed -> value.
        other: Seed -> value; only seeds that both have count.
        level: Confidence of the interval.

    Returns:
        True also for fewer than two common seeds: those tell nothing.
    """
    differences = [best[seed] - other[seed] for seed in sorted(best.keys() & other.keys())]
    half = t_halfwidth(differences, level)
    return half is None or abs(fmean(differences)) <= half


def best_group(values: Mapping[str, Mapping[int, float]], higher_is_better: bool) -> set[str]:
    """The best by mean over seeds, and all that cannot be told from it.

    Args:
        values: Label -> seed -> value. Those with fewer than two seeds take no part: one seed tells nothing.
        higher_is_better: The direction.

    Returns:
        Labels; empty where nobody has two seeds.
    """
    able = {label: by_seed for label, by_seed in values.items() if len(by_seed) >= 2}
    if not able:
        return set()
    sign = 1 if higher_is_better else -1
    best = max(able, key=lambda label: sign * fmean(able[label].values()))
    return {label for label, by_seed in able.items() if indistinguishable(able[best], by_seed)}


def average_ranks(values: Sequence[float], higher_is_better: bool) -> list[float]:
    """Ranks from 1 (the best); equal values share the mean of their ranks. (.9, .8, .9) gives 1.5, 3, 1.5."""
    sign = -1 if higher_is_better else 1
    signed = [sign * value for value in values]
    ordered = sorted(signed)
    return [(bisect_left(ordered, own) + bisect_right(ordered, own) + 1) / 2 for own in signed]
