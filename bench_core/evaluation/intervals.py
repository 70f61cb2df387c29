"""Student's t interval of a mean over seeds or episodes."""

import math
from collections.abc import Sequence
from statistics import stdev

import scipy  # its submodules load at their first use: `special` loads fast, `stats` takes a second

LEVEL = 0.95  # confidence


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
