"""Lower bounds of mutual information from a critic's scores, in nats; training maximises them.

A critic T gives each pair (u, y) a score. `joint` are scores of pairs that belong together, drawn from p(u, y);
`product` are scores of pairs drawn independently, from p(u) p(y). The bounds hold for any critic, in the mean over
batches. They are tight for T = log p(y | u) / p(y) (plus a constant for `donsker_varadhan`, plus a function of u for
`info_nce`, plus 1 for `nwj`). On pairs that the critic was trained on they may exceed the true information.

Papers: van den Oord, Li, Vinyals, 2018, https://arxiv.org/abs/1807.03748 (InfoNCE); Belghazi et al., ICML 2018,
        https://arxiv.org/abs/1801.04062 (MINE, on Donsker and Varadhan's form); Nguyen, Wainwright, Jordan, 2010,
        https://arxiv.org/abs/0809.0853 (NWJ); Hjelm et al., ICLR 2019, https://arxiv.org/abs/1808.06670 (DIM: JSD)
Shapes: K pairs, J joint and M product scores in tensors of any shape; B images with L locations.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def joint_and_product(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Split scores (K, K) of all pairs of a batch into the diagonal (K,) and all others (K (K - 1),)."""
    _check_square(scores)
    K = len(scores)
    # In this view each row ends in a diagonal entry, which is cut off. A mask would wait for the device.
    product = scores.flatten()[1:].view(K - 1, K + 1)[:, :-1]
    return scores.diagonal(), product.flatten()


def info_nce(scores: Tensor) -> Tensor:
    """Return mean_i [T_ii - log sum_j exp T_ij] + log K: each row has to find its partner among K.

    Args:
        scores: (K, K); the partner of row i is column i. A constant added to a row changes nothing.

    Returns:
        () at most log K; 0 where all scores of a row are equal.
    """
    _check_square(scores)
    with torch.autocast(scores.device.type, enabled=False):
        T = _float32_or_64(scores)
        return math.log(len(T)) + (T.diagonal() - T.logsumexp(1)).mean()


def location_nce(scores: Tensor) -> Tensor:
    """Return InfoNCE of each location of an image against all locations of all other images.

    This is the mean over a, i of T[a,a,i] - log(exp T[a,a,i] + sum_{b != a, j} exp T[a,b,j]), plus log K for the
    K = 1 + (B - 1) L candidates. The other locations of image a are no candidates.

    Args:
        scores: (B, B, L); T[a, b, i] scores the summary of image a with location i of image b.

    Returns:
        () in nats, at most log K; 0 where all scores are equal.
    """
    if scores.ndim != 3 or scores.shape[0] != scores.shape[1] or len(scores) < 2 or scores.shape[2] < 1:
        raise ValueError(f"scores must be (B, B, L) with B >= 2 and L >= 1, got {tuple(scores.shape)}")
    B, _, L = scores.shape
    with torch.autocast(scores.device.type, enabled=False):
        T = _float32_or_64(scores)
        positive = T.diagonal().T  # (B, L)
        same_image = torch.eye(B, dtype=torch.bool, device=T.device)[:, :, None]
        negative = T.masked_fill(same_image, -torch.inf).flatten(1).logsumexp(1)  # (B,)
        return (positive - torch.logaddexp(positive, negative[:, None])).mean() + location_nce_ceiling(B, L)


def location_nce_ceiling(images: int, locations: int) -> float:
    """Return log(1 + (B - 1) L), the most that `location_nce` can be in nats."""
    return math.log(1 + (images - 1) * locations)


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """Return E_joint[T] - log E_product[exp T]; a constant added to all scores changes nothing.

    Args:
        joint: J scores of pairs drawn together.
        product: M scores of pairs drawn independently.

    Returns:
        () without a bound. The log of a batch's mean is too small on average, so the value is too large, and its
        gradient is biased; see `mine`.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return _float32_or_64(joint).mean() - _log_mean_exp(_float32_or_64(product))


def mine(joint: Tensor, product: Tensor, log_average: Tensor, rate: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return `donsker_varadhan` with a gradient that divides by a moving average of E_product[exp T].

    d/dw = E_joint[dT/dw] - E_product[exp(T) dT/dw] / average (Belghazi et al., Sec. 3.2). The average already holds
    this batch, so that no batch counts more than 1 / rate times. Its logarithm is stored, so that nothing overflows.

    Args:
        joint: J scores of pairs drawn together.
        product: M scores of pairs drawn independently.
        log_average: () logarithm of the average before this batch, -inf before the first: a buffer of the caller.
        rate: Weight of this batch in the average, in (0, 1]. The average starts with the first batch's mean.

    Returns:
        The value (), and the new `log_average` ().
    """
    with torch.autocast(joint.device.type, enabled=False):
        log_mean = _log_mean_exp(_float32_or_64(product))
        value = log_mean.detach()
        old = torch.where(log_average.isneginf(), value, log_average.to(value))
        log_new = torch.logaddexp(old + math.log1p(-rate), value + math.log(rate)) if rate < 1 else value
        # The value of the batch's mean, with the gradient of a division by the average.
        log_mean = value + (value - log_new).exp() * (log_mean - value)
        return _float32_or_64(joint).mean() - log_mean, log_new.to(log_average)


def nwj(joint: Tensor, product: Tensor) -> Tensor:
    """Return E_joint[T] - E_product[exp(T - 1)]: never above `donsker_varadhan`, and without bias in a batch.

    Args:
        joint: J scores of pairs drawn together.
        product: M scores of pairs drawn independently. One far above the others makes the value very low; in float32 a
            score above 89 gives -inf.

    Returns:
        () without a bound; 0 where all scores are 1.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return _float32_or_64(joint).mean() - (_float32_or_64(product) - 1).exp().mean()


def lower_bound(
    estimator: Literal["infonce", "dv", "nwj"], scores: Tensor, log_average: Tensor
) -> tuple[Tensor, Tensor]:
    """Return one of the bounds above, from the scores of all pairs of a batch.

    Args:
        estimator: "infonce", "dv" (`mine`) or "nwj".
        scores: (K, K); the partner of row i is column i. The bound is tight for the log-ratio log p(y | u) / p(y).
        log_average: () as in `mine`; the other bounds return it unchanged.

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
    """Return E_joint[-softplus(-T)] - E_product[softplus(T)] + 2 log 2.

    It grows with the information but is not a bound of it: it is a lower bound of twice the Jensen-Shannon divergence
    between joint and product.

    Args:
        joint: J scores of pairs drawn together.
        product: M scores of pairs drawn independently.

    Returns:
        () at most 2 log 2; 0 where all scores are 0.
    """
    with torch.autocast(joint.device.type, enabled=False):
        return F.logsigmoid(_float32_or_64(joint)).mean() - F.softplus(_float32_or_64(product)).mean() + 2 * math.log(2)


def _log_mean_exp(scores: Tensor) -> Tensor:
    return scores.flatten().logsumexp(0) - math.log(scores.numel())


def _float32_or_64(scores: Tensor) -> Tensor:
    """Return scores in float32, or in float64 if they are."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _check_square(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"scores must be (K, K) with K >= 2, got {tuple(scores.shape)}")
