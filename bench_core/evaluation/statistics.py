"""Student's t interval of a mean, over seeds or episodes."""

import math
from collections.abc import Sequence
from statistics import stdev

import scipy  # its parts load where they are used: `stats` costs a second, `special` little

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
    quantile = float(scipy.special.stdtrit(n - 1, (1 + level) / 2))
    return quantile * stdev(values) / math.sqrt(n)
