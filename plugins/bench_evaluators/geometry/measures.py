"""Measures of a matrix of features: spread over the sphere, over directions and over classes.

Papers: Wang and Isola, ICML 2020, https://arxiv.org/abs/2005.10242 (alignment, uniformity)
        Roy and Vetterli, "The effective rank", EUSIPCO 2007
        Kornblith, Chen, Lee, Norouzi, NeurIPS 2021, https://arxiv.org/abs/2010.16402 (class separation)
Note:   all in float64. Where rows are scaled to length 1, a row of zeros stays a row of zeros. RankMe is in
        `bench_core.evaluation.spectrum`.

Shapes: N items, D features, R = min(N, D).
"""

import math

import scipy  # its submodules take a second to load: they do so at their first use
import torch
import torch.nn.functional as F
from torch import Tensor


def alignment(first: Tensor, second: Tensor) -> float:
    """Return the mean squared distance of positive pairs on the unit sphere, 2 - 2 cosine: 0 if equal, 4 if opposite.

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
    """Return log mean_{i<j} exp(-t |z_i - z_j|^2) of rows scaled to length 1: 0 if all are equal, lower is more even.

    Args:
        features: (N, D), N >= 2; all pairs are held at once.
        t: Scale of the kernel; 2 in the paper.
    """
    z = _unit(features)
    length = z.square().sum(1)
    squared = (length[:, None] + length - 2 * z @ z.T).clamp_min(0)
    first, second = torch.triu_indices(len(z), len(z), 1)
    return float((-t * squared[first, second]).logsumexp(0)) - math.log(len(first))


def uniformity_floor(dim: int, t: float = 2.0) -> float:
    """Return the least possible uniformity, that of even spread over the sphere: log 0F1(; D/2; t^2) - 2t."""
    return math.log(float(scipy.special.hyp0f1(dim / 2, t * t))) - 2 * t


def mean_cosine(features: Tensor) -> float:
    """Return the mean cosine of two different items of features (N, D), N >= 2; 1 if all have the same direction."""
    z = _unit(features)
    return float(z.sum(0).square().sum() - z.square().sum()) / (len(z) * (len(z) - 1))


def effective_rank(values: Tensor) -> float:
    """Return the perplexity of values / sum, which is exp of its entropy, from 1 to R; 0 if all values are 0.

    Args:
        values: (R,) singular values; those of centred features leave out the direction of the mean.
    """
    total = float(values.sum())
    return math.exp(float(torch.special.entr(values / total).sum())) if total > 0 else 0.0


def participation_ratio(values: Tensor) -> float:
    """Return (sum v)^2 / sum v^2 of variances v = values^2, from 1 to R; 0 if all are 0.

    It is at most the effective rank.

    Args:
        values: (R,) singular values of centred features.
    """
    variance = values.double().square()
    total = float(variance.sum())
    return total**2 / float(variance.square().sum()) if total > 0 else 0.0


def variance_fraction(raw: Tensor, centred: Tensor) -> float:
    """Return the part of the mean squared length that is variance; 0 if all features are equal.

    Args:
        raw: (R,) singular values of the features as they are.
        centred: (R,) singular values of the centred features.
    """
    length = float(raw.square().sum())
    return min(1.0, float(centred.square().sum()) / length) if length > 0 else 0.0


def class_separation(features: Tensor, labels: Tensor) -> float:
    """Return R^2 = 1 - d_within / d_total, of mean cosine distances within classes and over all; classes weigh equally.

    With mean unit vectors m_c of the C classes, d_within = 1 - mean_c |m_c|^2 and d_total = 1 - |mean_c m_c|^2.

    Args:
        features: (N, D).
        labels: (N,) int64 classes.

    Returns:
        1 if each class is one point, about (C - 1) / N for random labels, 0 if all items are equal.
    """
    z, counts = _unit(features), torch.bincount(labels)
    sums = torch.zeros(len(counts), z.shape[1], dtype=z.dtype).index_add_(0, labels, z)
    means = (sums / counts[:, None])[counts > 0]
    within, total = (1 - float(value) for value in (means.square().sum(1).mean(), means.mean(0).square().sum()))
    return min(1.0, max(0.0, 1 - within / total)) if total > 1e-12 else 0.0


def _unit(features: Tensor) -> Tensor:
    """Scale rows to length 1, in float64."""
    return F.normalize(features.double(), dim=1)
