"""Distributions that an embedding may be asked to follow: independent coordinates, each by its CDF.

Whatever the prior, the work is done on normal scores: z = Phi^-1(F(x)) follows N(0, I) where x follows the prior, and
x = F^-1(Phi(z)) brings it back (Rosenblatt, Ann. Math. Statist. 23(3), 1952, for independent coordinates).

A prior is one of the names below, or any continuous law of scipy.stats with its arguments: "beta(2, 5)", "t(5)",
"norm(0, 2)".

Source: ours; CDFs and their inverses are those of torch.distributions and of scipy.stats.
Shapes: any; each number by itself.
"""

import math
import re
from contextlib import suppress
from functools import cache
from typing import Any, get_args

import scipy  # its parts cost a second: they load where they are used
import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Exponential, Laplace, Normal, Uniform

from bench_core.contracts import PriorName

_UNIT = {"validate_args": False}  # values beyond the support have CDF 0 or 1
PRIORS: dict[str, Distribution] = {
    "gaussian": Normal(0.0, 1.0, **_UNIT),
    "uniform": Uniform(0.0, 1.0, **_UNIT),
    "laplace": Laplace(0.0, 1.0, **_UNIT),
    "exponential": Exponential(1.0, **_UNIT),
    "cauchy": Cauchy(0.0, 1.0, **_UNIT),
}
_TAIL = 1e-12  # probability that stays beyond each end, so that no value is infinite
assert set(PRIORS) == set(get_args(PriorName))


def ndtr(scores: Tensor) -> Tensor:
    """Phi, the CDF of N(0, 1)."""
    below: Tensor = torch.special.ndtr(scores)
    return below


@cache
def scipy_law(prior: str) -> Any:
    """A law of scipy.stats by its call, "beta(2, 5)".

    Raises:
        ValueError: Not one of the names above, and not such a call.
    """
    found = re.fullmatch(r"(\w+)\(([-+.\deE, ]*)\)", prior)
    law = getattr(scipy.stats, found[1], None) if found else None
    if found and isinstance(law, scipy.stats.rv_continuous):
        with suppress(TypeError, ValueError):  # too few arguments, no numbers
            frozen = law(*(float(part) for part in found[2].split(",") if part.strip()))
            if math.isfinite(frozen.ppf(0.5)):
                return frozen
    known = ", ".join(PRIORS)
    raise ValueError(f"prior must be {known}, or a continuous law of scipy.stats, as beta(2, 5); got {prior!r}")


def check_prior(prior: str) -> None:
    """ValueError where there is no such prior; for a Config's own checks."""
    if prior not in PRIORS:
        scipy_law(prior)


def quantile(prior: str, below: Tensor) -> Tensor:
    """F^-1 of probabilities in (0, 1), float64."""
    if prior in PRIORS:
        values: Tensor = PRIORS[prior].icdf(below.double())
        return values
    return torch.from_numpy(scipy_law(prior).ppf(below.double().cpu().numpy())).to(below.device)


def from_normal(prior: str, scores: Tensor) -> Tensor:
    """Values that follow the prior where the scores follow N(0, 1); monotone and finite."""
    if prior == "gaussian":
        return scores
    if prior == "uniform":
        return ndtr(scores)
    below = ndtr(scores.double()).clamp(_TAIL, 1 - _TAIL)  # float32 is 1 from 5.4 on
    return quantile(prior, below).to(scores.dtype)


def cumulative(prior: str, values: Tensor) -> Tensor:
    """F(x) in [0, 1] of the prior, float64."""
    if prior in PRIORS:
        below: Tensor = PRIORS[prior].cdf(values.double())
        return below.clamp(0, 1)
    return torch.from_numpy(scipy_law(prior).cdf(values.double().cpu().numpy())).to(values.device)


def to_normal(prior: str, values: Tensor, clip: float = 1e-6) -> Tensor:
    """Normal scores in float64, the inverse of `from_normal`; those of a Gaussian are the values themselves.

    Args:
        prior: Its name.
        values: Any; beyond the prior's support they count as its ends.
        clip: F is cut to [clip, 1 - clip].
    """
    if prior == "gaussian":
        return values.double()
    found: Tensor = torch.special.ndtri(cumulative(prior, values).clamp(clip, 1 - clip))
    return found
