"""The shape of a cloud of features: how it is spread over directions, over the sphere, and over classes.

Papers: Wang and Isola, ICML 2020, https://arxiv.org/abs/2005.10242 (alignment, uniformity)
        Garrido, Balestriero, Najman, LeCun, ICML 2023, https://arxiv.org/abs/2210.02885, eq. 1 (RankMe)
        Roy and Vetterli, "The effective rank", EUSIPCO 2007
        Kornblith, Chen, Lee, Norouzi, NeurIPS 2021, https://arxiv.org/abs/2010.16402 (class separation)
Note:   all in float64. Where rows are made as long as 1, a row of zeros stays one.

Shapes: N items, D features, R = min(N, D).
"""

import math

import scipy  # its parts cost a second: they load where they are used
import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-7  # of RankMe, as in the paper
_ROUNDING = 1e-7  # part of the features' size below which a singular value is float32's rounding


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance of positive pairs on the unit sphere, 2 - 2 cosine: 0 if alike, 4 if opposite.

    Args:
        first: (N, D).
        second: (N, D), the other view of each item.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"pairs must have one shape (N, D), got {tuple(first.shape)} and {tuple(second.shape)}")
    return float((_unit(first) - _unit(second)).square().sum(1).mean())


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """The value log mean_{i<j} exp(-t |z_i - z_j|^2) of rows made as long as 1: 0 if all are equal, lower is more even.

    Args:
        features: (N, D), N >= 2; all pairs are held at once.
        t: The paper's 2.
    """
    z = _unit(features)
    length = z.square().sum(1)
    squared = (length[:, None] + length - 2 * z @ z.T).clamp_min(0)
    first, second = torch.triu_indices(len(z), len(z), 1)
    return float((-t * squared[first, second]).logsumexp(0)) - math.log(len(first))


def uniformity_floor(dim: int, t: float = 2.0) -> float:
    """Uniformity of the uniform law on the sphere in D dimensions, log 0F1(; D/2; t^2) - 2t: no law has less."""
    return math.log(float(scipy.special.hyp0f1(dim / 2, t * t))) - 2 * t


def mean_cosine(features: Tensor) -> float:
    """Mean cosine of two different items of features (N, D), N >= 2; 1 if all point one way."""
    z = _unit(features)
    return float(z.sum(0).square().sum() - z.square().sum()) / (len(z) * (len(z) - 1))


def singular_values(features: Tensor, *, centred: bool) -> Tensor:
    """(R,) float64, descending, of features (N, D), with or without their mean; by the smaller Gram matrix.

    Those below 1e-7 of the norm of the features as they are count as 0: float32 holds no more.
    """
    x = features.double()
    least = _ROUNDING * x.norm()
    x = x - x.mean(0) if centred else x
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
    return torch.where(values > least, values, 0.0)


def rankme(values: Tensor) -> float:
    """RankMe: exp of the entropy of p = values / sum + 1e-7, from 1 to about R; 0 where all values are 0.

    Args:
        values: (R,) singular values of the features as they are, not centred.
    """
    total = float(values.sum())
    if total == 0:
        return 0.0
    p = values / total + _EPS
    return math.exp(-float((p * p.log()).sum()))


def effective_rank(values: Tensor) -> float:
    """Perplexity of values / sum, exp of its entropy, from 1 to R; 0 where all values are 0.

    Args:
        values: (R,) singular values. Those of centred features leave the direction of the mean out.
    """
    total = float(values.sum())
    return math.exp(float(torch.special.entr(values / total).sum())) if total > 0 else 0.0


def participation_ratio(values: Tensor) -> float:
    """(sum v)^2 / sum v^2 of variances v = values^2, from 1 to R, no more than the effective rank; 0 where all are 0.

    Args:
        values: (R,) singular values of centred features.
    """
    variance = values.double().square()
    total = float(variance.sum())
    return total**2 / float(variance.square().sum()) if total > 0 else 0.0


def spread(raw: Tensor, centred: Tensor) -> float:
    """Part of the mean squared length that is variance, from singular values (R,), raw and centred; 0 if collapsed."""
    length = float(raw.square().sum())
    return min(1.0, float(centred.square().sum()) / length) if length > 0 else 0.0


def class_separation(features: Tensor, labels: Tensor) -> float:
    """R^2 = 1 - d_within / d_total, mean cosine distances within classes and over all, each class with one weight.

    With mean unit vectors m_c of the C classes, d_within = 1 - mean_c |m_c|^2 and d_total = 1 - |mean_c m_c|^2.

    Args:
        features: (N, D).
        labels: (N,) int64 classes.

    Returns:
        1 where classes are points apart, about (C - 1) / N where labels are random; 0 where all items are equal.
    """
    z, counts = _unit(features), torch.bincount(labels)
    sums = torch.zeros(len(counts), z.shape[1], dtype=z.dtype).index_add_(0, labels, z)
    means = (sums / counts[:, None])[counts > 0]
    within, total = (1 - float(value) for value in (means.square().sum(1).mean(), means.mean(0).square().sum()))
    return min(1.0, max(0.0, 1 - within / total)) if total > 1e-12 else 0.0


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.double(), dim=1)
