"""Lower bounds of mutual information from a critic's scores, in nats; each is to be maximised.

A critic T gives each pair (u, y) a score. `joint` are scores of pairs drawn together, `product` of pairs drawn apart.
The bounds hold for any critic in the mean over batches, and are tight for T = log p(y | u) / p(y) (plus a constant for
`donsker_varadhan`, plus a function of u for `info_nce`, plus 1 for `nwj`); measured on pairs that the critic was
trained on they may exceed the truth.

Papers: van den Oord, Li, Vinyals, 2018, https://arxiv.org/abs/1807.03748 (InfoNCE); Belghazi et al., ICML 2018,
        https://arxiv.org/abs/1801.04062 (MINE, on Donsker and Varadhan's form); Nguyen, Wainwright, Jordan, 2010,
        https://arxiv.org/abs/0809.0853 (NWJ); Hjelm et al., ICLR 2019, https://arxiv.org/abs/1808.06670 (DIM: JSD)
Shapes: K pairs, J joint and M product scores in tensors of any shape.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def joint_and_product(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (K, K) of all pairs -> the diagonal (K,), and all the others (K (K - 1),)."""
    _check_square(scores)
    K = len(scores)
    apart = scores.flatten()[1:].view(K - 1, K + 1)[:, :-1]  # each row ends in a diagonal entry; no mask, no host sync
    return scores.diagonal(), apart.flatten()


def info_nce(scores: Tensor) -> Tensor:
    """Mean_i [T_ii - log sum_j exp T_ij] + log K: each row is to tell its own partner from all K.

    Args:
        scores: (K, K); row i's partner stands in column i. A constant added to a row changes nothing.

    Returns:
        () at most log K; 0 where scores say nothing.
    """
    _check_square(scores)
    with torch.autocast(scores.device.type, enabled=False):
        T = _precise(scores)
        return math.log(len(T)) + (T.diagonal() - T.logsumexp(1)).mean()


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """E_joint[T] - log E_product[exp T]; a constant added to all scores changes nothing.

    Args:
        joint: J scores.
        product: M scores.

    Returns:
        () of any size. The log of a batch's mean is too small on average, so the value is too large, and its
        gradient is biased; see `mine`.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return _precise(joint).mean() - _log_mean_exp(_precise(product))


def mine(joint: Tensor, product: Tensor, log_average: Tensor, rate: float = 0.01) -> tuple[Tensor, Tensor]:
    """`donsker_varadhan`, but its gradient divides by a moving average of E_product[exp T], not by the batch's.

    d/dw = E_joint[dT/dw] - E_product[exp(T) dT/dw] / average (Belghazi et al., Sec. 3.2), with the average taken after
    this batch went into it: no batch then counts more than 1 / rate times. It is kept as its logarithm, so nothing
    overflows.

    Args:
        joint: J scores.
        product: M scores.
        log_average: () the logarithm of the average so far, -inf before the first batch: a buffer of the caller.
        rate: In (0, 1], weight of this batch in the average, which starts at the first batch's mean.

    Returns:
        The value (), and the new `log_average` ().
    """
    with torch.autocast(joint.device.type, enabled=False):
        here = _log_mean_exp(_precise(product))
        now = here.detach()
        old = torch.where(log_average.isneginf(), now, log_average.to(now))
        log_new = torch.logaddexp(old + math.log1p(-rate), now + math.log(rate)) if rate < 1 else now
        here = now + (now - log_new).exp() * (here - now)  # the value of one, the gradient of the other
        return _precise(joint).mean() - here, log_new.to(log_average)


def nwj(joint: Tensor, product: Tensor) -> Tensor:
    """E_joint[T] - E_product[exp(T - 1)]: never above `donsker_varadhan`, and without bias in a batch.

    Args:
        joint: J scores.
        product: M scores; one far above the others makes the value very low, in float32 above 89 -inf.

    Returns:
        () of any size; 0 where all scores are 1.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return _precise(joint).mean() - (_precise(product) - 1).exp().mean()


def lower_bound(
    estimator: Literal["infonce", "dv", "nwj"], scores: Tensor, log_average: Tensor
) -> tuple[Tensor, Tensor]:
    """One of the bounds above, from the scores of all pairs of a batch; "dv" is `mine`.

    Args:
        estimator: Its name.
        scores: (K, K); row i's partner stands in column i. Best are those of the log-ratio log p(y | u) / p(y).
        log_average: () as in `mine`; the others leave it as it is.

    Returns:
        The value () and the new `log_average` ().
    """
    if estimator == "infonce":
        return info_nce(scores), log_average
    joint, product = joint_and_product(scores)
    if estimator == "nwj":
        return nwj(joint + 1, product + 1), log_average
    return mine(joint, product, log_average)


def jensen_shannon(joint: Tensor, product: Tensor) -> Tensor:
    """E_joint[-softplus(-T)] - E_product[softplus(T)] + 2 log 2: it grows with the information but is no bound of it.

    It bounds twice the Jensen-Shannon divergence of joint and product from below.

    Args:
        joint: J scores.
        product: M scores.

    Returns:
        () at most 2 log 2; 0 where all scores are 0.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return F.logsigmoid(_precise(joint)).mean() - F.softplus(_precise(product)).mean() + 2 * math.log(2)


def _log_mean_exp(scores: Tensor) -> Tensor:
    return scores.flatten().logsumexp(0) - math.log(scores.numel())


def _precise(scores: Tensor) -> Tensor:
    """In float32 at least."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _check_square(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"scores must be (K, K) with K >= 2, got {tuple(scores.shape)}")
