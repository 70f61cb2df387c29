"""Priors: distributions with independent coordinates that an embedding can be trained to follow.

A prior is one of the names in `PRIORS`, or any continuous law of scipy.stats with its arguments: "beta(2, 5)", "t(5)",
"norm(0, 2)".

For every prior the computation is done on normal scores: z = Phi^-1(F(x)) follows N(0, I) where x follows the prior,
and x = F^-1(Phi(z)) is the way back (Rosenblatt, Ann. Math. Statist. 23(3), 1952, for independent coordinates).

Source: ours; CDFs and their inverses are those of torch.distributions and of scipy.stats.
Shapes: any; functions work on each number separately.
"""

import math
import re
from contextlib import suppress
from functools import cache
from typing import Any, get_args

import scipy  # importing its parts takes a second: they load when they are used
import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Exponential, Laplace, Normal, Uniform

from bench_core.contracts import PriorName

_UNIT = {"validate_args": False}  # values outside the support have CDF 0 or 1
PRIORS: dict[str, Distribution] = {
    "gaussian": Normal(0.0, 1.0, **_UNIT),
    "uniform": Uniform(0.0, 1.0, **_UNIT),
    "laplace": Laplace(0.0, 1.0, **_UNIT),
    "exponential": Exponential(1.0, **_UNIT),
    "cauchy": Cauchy(0.0, 1.0, **_UNIT),
}
_TAIL = 1e-12  # probability that is cut off at each end, so that no value is infinite
assert set(PRIORS) == set(get_args(PriorName))


def ndtr(scores: Tensor) -> Tensor:
    """Return Phi, the CDF of N(0, 1)."""
    probabilities: Tensor = torch.special.ndtr(scores)
    return probabilities


@cache
def scipy_law(prior: str) -> Any:
    """Return the law of scipy.stats that a call like "beta(2, 5)" names.

    Raises:
        ValueError: This is no such call.
    """
    call = re.fullmatch(r"(\w+)\(([-+.\deE, ]*)\)", prior)
    law = getattr(scipy.stats, call[1], None) if call else None
    if call and isinstance(law, scipy.stats.rv_continuous):
        with suppress(TypeError, ValueError):  # too few arguments, or no numbers
            frozen = law(*(float(argument) for argument in call[2].split(",") if argument.strip()))
            if math.isfinite(frozen.ppf(0.5)):
                return frozen
    known = ", ".join(PRIORS)
    raise ValueError(f"prior must be {known}, or a continuous law of scipy.stats, as beta(2, 5); got {prior!r}")


def check_prior(prior: str) -> None:
    """Raise ValueError if there is no such prior; for the checks of a Config."""
    if prior not in PRIORS:
        scipy_law(prior)


def quantile(prior: str, probabilities: Tensor) -> Tensor:
    """Return F^-1 of probabilities in (0, 1), in float64."""
    if prior in PRIORS:
        values: Tensor = PRIORS[prior].icdf(probabilities.double())
        return values
    return torch.from_numpy(scipy_law(prior).ppf(probabilities.double().cpu().numpy())).to(probabilities.device)


def from_normal(prior: str, scores: Tensor) -> Tensor:
    """Return values that follow the prior where the scores follow N(0, 1); monotone and finite."""
    if prior == "gaussian":
        return scores
    if prior == "uniform":
        return ndtr(scores)
    probabilities = ndtr(scores.double()).clamp(_TAIL, 1 - _TAIL)  # in float32 Phi is 1 from 5.4 on
    return quantile(prior, probabilities).to(scores.dtype)


def cumulative(prior: str, values: Tensor) -> Tensor:
    """Return the CDF F(x) of the prior in [0, 1], in float64."""
    if prior in PRIORS:
        probabilities: Tensor = PRIORS[prior].cdf(values.double())
        return probabilities.clamp(0, 1)
    return torch.from_numpy(scipy_law(prior).cdf(values.double().cpu().numpy())).to(values.device)


def to_normal(prior: str, values: Tensor, clip: float = 1e-6) -> Tensor:
    """Return normal scores in float64, the inverse of `from_normal`; for a Gaussian prior these are the values.

    Args:
        prior: Name of the prior, or a call as `scipy_law` takes it.
        values: Any numbers; those outside the support of the prior count as its ends.
        clip: F is cut to [clip, 1 - clip].
    """
    if prior == "gaussian":
        return values.double()
    scores: Tensor = torch.special.ndtri(cumulative(prior, values).clamp(clip, 1 - clip))
    return scores
