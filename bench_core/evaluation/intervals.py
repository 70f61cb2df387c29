"""Confidence intervals of a mean: Student's t over seeds or episodes, Wilson's and the bootstrap over test items.

Shapes: n items.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import stdev

import numpy as np
import scipy  # its submodules load at their first use: `special` loads fast, `stats` takes a second
from numpy.typing import NDArray

LEVEL = 0.95  # confidence
_MANY = 500  # items, from which on the formula is nearer to the bootstrap than 2,000 draws of it
_SEED = 0  # of the draws: the same values give the same interval
_CHUNK = 2**21  # numbers of draws in memory at once: 16 MiB; the result does not depend on it


def t_halfwidth(values: Sequence[float], level: float = LEVEL) -> float | None:
    """Return half the width of Student's t interval of the mean: 2.4841 for (1, 2, 3).

    Args:
        values: Independent values, such as one for each seed.
        level: Confidence, in (0, 1).

    Returns:
        The t quantile with n - 1 degrees of freedom, times s / sqrt(n), where s is the sample standard deviation (with
        divisor n - 1); in the unit of the values. None for fewer than two values.
    """
    n = len(values)
    if n < 2:
        return None
    quantile = float(scipy.special.stdtrit(n - 1, (1 + level) / 2))
    return quantile * stdev(values) / math.sqrt(n)


def wilson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's interval of a share of hits: (0.9300, 0.9945) for 98 hits of 100 items.

    It holds near 0 and 1, too, where that of the normal distribution reaches beyond them (Wilson, JASA 1927; Brown,
    Cai, DasGupta, Statistical Science 2001).

    Args:
        hits: Number of items that are right.
        n: Number of items.
        level: Confidence, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: There is no item, or hits are not 0 to n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"hits must be 0 to n, and n at least 1; got {hits} of {n}")
    # As scipy.stats.binomtest(hits, n).proportion_ci(method="wilson"), but that module takes a second to load.
    z, share = float(scipy.special.ndtri((1 + level) / 2)), hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return (max(0.0, centre - half) if hits else 0.0), (min(1.0, centre + half) if hits < n else 1.0)


def bootstrap_mean(values: NDArray[np.float64], draws: int = 2_000, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of a mean, its items drawn again with replacement.

    Efron and Tibshirani (An Introduction to the Bootstrap, 1993, ch. 13). The draws are the same at every call.

    Args:
        values: (n,).
        draws: Number of means to draw.
        level: Confidence, in (0, 1).

    Returns:
        Lower and upper end, in the unit of the values.
    """
    n, rng = len(values), np.random.default_rng(_SEED)
    means = [values[rng.integers(n, size=(rows, n))].mean(1) for rows in chunks(draws, n)]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def drawn_counts(n: int, draws: int = 2_000) -> Iterator[NDArray[np.int64]]:
    """Yield how often each of n items is in each draw of `bootstrap_mean`, (draws of a chunk, n).

    They depend on n alone: times the values of many rows, they give the drawn sums of all of them at once.
    """
    rng = np.random.default_rng(_SEED)
    for rows in chunks(draws, n):
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)


def item_interval(values: NDArray[np.float64] | NDArray[np.bool_]) -> tuple[float, float]:
    """Return the interval over test items of one network's mean: would another test set give the same?

    Args:
        values: (n,), a result for each item. Hits are 0 and 1, or bool.

    Returns:
        Lower and upper end: Wilson's for hits, that of the bootstrap for all else.
    """
    if ((values == 0) | (values == 1)).all():
        return wilson(int(values.sum()), len(values))
    numbers = values.astype(np.float64)
    return bootstrap_mean(numbers) if len(numbers) < _MANY else _expanded_bootstrap(numbers)


def _expanded_bootstrap(values: NDArray[np.float64], level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of `bootstrap_mean` for many items, by a formula: draws of 10,000 items take half a second.

    Cornish and Fisher (1938), to the first order (Hall, The Bootstrap and Edgeworth Expansion, 1992, section 2.5): a
    mean of n drawn items has its quantile at z + (z^2 - 1) / 6 x skewness / sqrt(n) of its standard deviations.

    Args:
        values: (n,).
        level: Confidence, in (0, 1).

    Returns:
        Lower and upper end, in the unit of the values.
    """
    n, mean, deviation = len(values), float(values.mean()), float(values.std())
    if deviation == 0:
        return mean, mean
    z = float(scipy.special.ndtri((1 + level) / 2))
    shift = (z**2 - 1) / 6 * float((((values - mean) / deviation) ** 3).mean()) / math.sqrt(n)
    return mean + (shift - z) * deviation / math.sqrt(n), mean + (shift + z) * deviation / math.sqrt(n)


def chunks(draws: int, n: int) -> Iterator[int]:
    """Yield how many draws of n items to make at once, so that a chunk fits into memory."""
    rows = max(1, _CHUNK // n)
    for done in range(0, draws, rows):
        yield min(rows, draws - done)
