"""Measures of collapse: `spread` of features, and the number of `directions` that they spread over."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def spread(projections: Tensor) -> Tensor:
    """Return how much rows differ in direction: 1 where they are spread over the sphere, 0 where all are the same.

    Args:
        projections: (N, P) rows of any length.

    Returns:
        () the standard deviation of each coordinate of the unit rows, averaged, times sqrt(P): SimSiam's monitor
        (Chen and He, CVPR 2021, Sec. 4.1).
    """
    unit = F.normalize(projections.float(), dim=1)
    return unit.std(0, correction=0).mean() * math.sqrt(projections.shape[1])


@torch.no_grad()
def directions(projections: Tensor) -> Tensor:
    """Return the number of directions that rows spread over: the participation ratio of their covariance.

    With batch norm on the output `spread` stays near 1 even where all rows lie on one line ("dimensional collapse");
    the number of directions is then 1. Rows count by their direction, with length 1.

    Args:
        projections: (N, P) rows of any length.

    Returns:
        () (sum of the eigenvalues)^2 / sum of their squares: 1 for a line, P where all directions have the same
        variance, at most N - 1; 0 where all rows are the same.
    """
    with torch.autocast(projections.device.type, enabled=False):
        unit = F.normalize(projections.float(), dim=1)
        centred = unit - unit.mean(0)
        products = centred @ centred.T  # (N, N), with the covariance's eigenvalues but for those that are 0
    return products.trace().square() / products.square().sum().clamp_min(1e-12)
