"""Coding rate and rate reduction: the number of nats that encode a set of features up to a squared error of eps2.

    R(Z) = 1/2 log det(I + d / (n eps2) Z^T Z)

Papers: Yu, Chan, You, Song, Ma, NeurIPS 2020, https://arxiv.org/abs/2006.08558 (rate reduction); Dai et al., Entropy
        2022, https://www.mdpi.com/1099-4300/24/4/456 (of two sets)
Note:   `eps` in the code of CTRL, NMCE and EMP-SSL is this eps2, the square. Determinants are computed by Cholesky:
        the eigenvalues are >= 1, so no jitter is needed. Cholesky fails on values that are not finite; the rate is then
        NaN. All is computed in float32, outside autocast; float64 inputs stay float64. In bf16 the rate of features
        near collapse would be wrong by several per cent.

Shapes: N items, D dimensions, K classes. Every rate is in nats; the bounds hold for rows of length 1.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_EMPTY = 1e-12  # number of items below which a class counts as empty; prevents a division by 0


def coding_rate(z: Tensor, eps2: float) -> Tensor:
    """Return R(Z), computed from the smaller of Z^T Z and Z Z^T, which give the same determinant.

    Args:
        z: (N, D) features.
        eps2: Squared error that is allowed, > 0.

    Returns:
        () >= 0; for rows of length 1 between 1/2 log(1 + D / eps2), when all are equal, and `rate_ceiling`.
    """
    with torch.autocast(z.device.type, enabled=False):
        z = _float32_or_64(z)
        n, d = z.shape
        return _half_log_det((z.T @ z if d <= n else z @ z.T) * (d / (n * eps2)))


def rate_reduction(z: Tensor, memberships: Tensor, eps2: float) -> Tensor:
    """Return Delta R(Z | Pi): the rate of all items minus the mean rate of the classes, weighted by their sizes.

    Args:
        z: (N, D) features.
        memberships: (N,) int64 classes, or (N, K) with rows that sum to 1. On CUDA the first form waits for the
            device, because the number of classes is read from the values.
        eps2: Squared error that is allowed, > 0.

    Returns:
        () >= 0; 0 where all classes have the same second moment. An empty class adds 0.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, weights = _float32_or_64(z), _weights(z, memberships)
        rates = _half_log_det(_second_moments(z, weights) * (z.shape[1] / eps2))
        return coding_rate(z, eps2) - (weights.mean(0) * rates).sum()


def set_distance(z: Tensor, w: Tensor, eps2: float) -> Tensor:
    """Return Delta R(Z, W) = R([Z; W]) - R(Z) / 2 - R(W) / 2 of two sets of the same size.

    Args:
        z: (N, D) features.
        w: (N, D) features; the order of rows does not matter.
        eps2: Squared error that is allowed, > 0.

    Returns:
        () >= 0; 0 where Z^T Z = W^T W: second moments are compared, not items.

    Raises:
        ValueError: The shapes differ.
    """
    _require_same_shape(z, w)
    if z.shape[1] > z.shape[0]:
        return coding_rate(torch.cat([z, w]), eps2) - (coding_rate(z, eps2) + coding_rate(w, eps2)) / 2
    return class_set_distances(z, w, torch.ones_like(z[:, :1]), eps2)[0]


def class_set_distances(z: Tensor, w: Tensor, memberships: Tensor, eps2: float) -> Tensor:
    """Return Delta R(Z_k, W_k) of each class k, where row i of both sets belongs to the same class.

    Args:
        z: (N, D) features.
        w: (N, D) features.
        memberships: (N,) or (N, K), as in `rate_reduction`.
        eps2: Squared error that is allowed, > 0.

    Returns:
        (K,) >= 0; 0 for an empty class.

    Raises:
        ValueError: The shapes differ.
    """
    _require_same_shape(z, w)
    with torch.autocast(z.device.type, enabled=False):
        z, w = _float32_or_64(z), _float32_or_64(w)
        weights = _weights(z, memberships)
        a, b = _second_moments(z, weights), _second_moments(w, weights)
        # The moment of the union is the mean of both moments. Three determinants at once cost little more than one.
        first, second, union = _half_log_det(torch.stack([a, b, (a + b) / 2]) * (z.shape[1] / eps2))
        distances: Tensor = union - (first + second) / 2
        return distances


def pair_distance(z: Tensor, w: Tensor, eps2: float) -> Tensor:
    """Return Delta R(z_i, w_i) of pairs of single rows, in closed form.

    1/2 log((1 + b)^2 - b^2 c^2) - 1/2 log(1 + 2b) with b = D / (2 eps2) and c the cosine.

    Args:
        z: (N, D) rows of length 1.
        w: (N, D) rows of length 1.
        eps2: Squared error that is allowed, > 0.

    Returns:
        (N,); 0 where w_i = z_i or w_i = -z_i; largest at right angles, where its gradient is 0.
    """
    _require_same_shape(z, w)
    with torch.autocast(z.device.type, enabled=False):
        cosine = (_float32_or_64(z) * _float32_or_64(w)).sum(1)
        b = z.shape[1] / (2 * eps2)
        return 0.5 * torch.log1p(b**2 / (1 + 2 * b) * (1 - cosine) * (1 + cosine))


def rate_ceiling(n: int, d: int, eps2: float) -> float:
    """Return the largest R of n rows of length 1 in d dimensions: all r = min(n, d) directions have the same energy."""
    r = min(n, d)
    return r / 2 * math.log1p(d / (r * eps2))


def rate_floor(n: int, d: int, eps2: float) -> float:
    """Return the rate of n rows of length 1 in d dimensions below which we call them collapsed.

    It lies a fifth of the way (ours) from the rate of equal rows, which is not 0, to the ceiling. With d = 128 and
    eps2 = .2 this is the rate of rows that fill a tenth of the directions.
    """
    least = math.log1p(d / eps2) / 2
    return least + 0.2 * (rate_ceiling(n, d, eps2) - least)


def _half_log_det(gram: Tensor) -> Tensor:
    """Return 1/2 log det(I + G) of positive semi-definite G (..., M, M); NaN where G is not finite."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(eye + gram)  # unlike `cholesky`, does not wait for the device
    half = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.where(failed == 0, half, torch.nan)


def _second_moments(z: Tensor, weights: Tensor) -> Tensor:
    """Return sum_i w_ik z_i z_i^T / sum_i w_ik of each class, (K, D, D); 0 for an empty class.

    The matrices are D x D even where a class has fewer than D items.
    """
    count = weights.sum(0).clamp_min(_EMPTY)[:, None, None]
    return torch.einsum("nk,nd,ne->kde", weights, z, z) / count


def _weights(z: Tensor, memberships: Tensor) -> Tensor:
    if len(memberships) != len(z):
        raise ValueError(f"memberships must have a row for each of {len(z)} items, got {tuple(memberships.shape)}")
    return (F.one_hot(memberships) if memberships.ndim == 1 else memberships).to(z.dtype)


def _float32_or_64(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _require_same_shape(z: Tensor, w: Tensor) -> None:
    if z.shape != w.shape:
        raise ValueError(f"both sets must have the same shape (N, D), got {tuple(z.shape)} and {tuple(w.shape)}")
