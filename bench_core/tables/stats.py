"""Statistics over seeds: intervals, who can be told from the best, ranks."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy import stats

LEVEL = 0.95


def t_halfwidth(values: Sequence[float], level: float = LEVEL) -> float | None:
    """Half the width of Student's t interval of the mean.

    Args:
        values: One per seed.
        level: Confidence, in (0, 1).

    Returns:
        t quantile with n - 1 degrees of freedom times s / sqrt(n), s with n - 1 below the line; in the unit of
        the values. None for fewer than two. (1, 2, 3) gives 2.4841.
    """
    n = len(values)
    if n < 2:
        return None
    quantile = float(stats.t.ppf((1 + level) / 2, n - 1))
    return quantile * stdev(values) / math.sqrt(n)


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
    return [float(rank) for rank in stats.rankdata([sign * value for value in values], method="average")]
