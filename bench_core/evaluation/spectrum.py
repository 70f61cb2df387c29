"""Singular values of features, and RankMe: how many directions they use.

Paper: Garrido, Balestriero, Najman, LeCun, ICML 2023, https://arxiv.org/abs/2210.02885, eq. 1

Shapes: N items, D features, R = min(N, D).
"""

import math

import torch
from torch import Tensor

_EPS = 1e-7  # added to each p in RankMe, as in the paper
_ROUNDING = 1e-7  # singular values below this part of the features' norm are rounding errors of float32


def singular_values(features: Tensor, *, centred: bool) -> Tensor:
    """Return the singular values (R,) float64, descending, of features (N, D), by the smaller Gram matrix.

    Values below 1e-7 of the norm of the uncentred features count as 0, as float32 is not more precise.
    """
    x = features.double()
    least = _ROUNDING * x.norm()
    x = x - x.mean(0) if centred else x
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().flip(0)
    return torch.where(values > least, values, 0.0)


def rankme(values: Tensor) -> float:
    """Return RankMe: exp of the entropy of p = values / sum + 1e-7, from 1 to about R; 0 if all values are 0.

    Args:
        values: (R,) singular values of the features as they are, not centred.
    """
    total = float(values.sum())
    if total == 0:
        return 0.0
    p = values / total + _EPS
    return math.exp(-float((p * p.log()).sum()))
