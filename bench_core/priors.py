"""Distributions that an embedding may be asked to follow: independent coordinates, each by its CDF.

Whatever the prior, the work is done on normal scores: z = Phi^-1(F(x)) follows N(0, I) where x follows the prior, and
x = F^-1(Phi(z)) brings it back (Rosenblatt, Ann. Math. Statist. 23(3), 1952, for independent coordinates).

Source: ours; CDFs and their inverses are those of torch.distributions.
Shapes: any; each number by itself.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Exponential, Laplace, Normal, Uniform

PriorName = Literal["gaussian", "uniform", "laplace", "exponential", "cauchy"]

_UNIT = {"validate_args": False}  # values beyond the support have CDF 0 or 1
PRIORS: dict[PriorName, Distribution] = {
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


def from_normal(prior: PriorName, scores: Tensor) -> Tensor:
    """Values that follow the prior where the scores follow N(0, 1); monotone and finite."""
    if prior == "gaussian":
        return scores
    if prior == "uniform":
        return ndtr(scores)
    below = ndtr(scores.double()).clamp(_TAIL, 1 - _TAIL)  # float32 is 1 from 5.4 on
    values: Tensor = PRIORS[prior].icdf(below)
    return values.to(scores.dtype)


def cumulative(prior: PriorName, values: Tensor) -> Tensor:
    """F(x) in [0, 1] of the prior, float64."""
    below: Tensor = PRIORS[prior].cdf(values.double())
    return below.clamp(0, 1)


def to_normal(prior: PriorName, values: Tensor, clip: float = 1e-6) -> Tensor:
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
