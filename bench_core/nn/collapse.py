"""Measures of collapse: how far features spread, and over how many directions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def spread(projections: Tensor) -> Tensor:
    """How far rows differ in direction: 1 where they point everywhere, 0 where all have collapsed onto one.

    Args:
        projections: (N, P), of any length.

    Returns:
        () the standard deviation of each coordinate of the unit rows, averaged, times sqrt(P): SimSiam's monitor
        (Chen and He, CVPR 2021, Sec. 4.1).
    """
    unit = F.normalize(projections.float(), dim=1)
    return unit.std(0, correction=0).mean() * math.sqrt(projections.shape[1])


@torch.no_grad()
def directions(projections: Tensor) -> Tensor:
    """Over how many directions rows spread: the participation ratio of the covariance of the unit rows.

    Batch norm on the output keeps `spread` near 1 even where all rows lie along one line; this falls to 1 there
    ("dimensional collapse").

    Args:
        projections: (N, P), of any length.

    Returns:
        () (sum of the eigenvalues)^2 / sum of their squares: 1 for a line, P where all directions are alike, at most
        N - 1; 0 where all rows are one.
    """
    with torch.autocast(projections.device.type, enabled=False):
        unit = F.normalize(projections.float(), dim=1)
        centred = unit - unit.mean(0)
        products = centred @ centred.T  # (N, N), the same eigenvalues as the covariance but for those that are 0
    return products.trace().square() / products.square().sum().clamp_min(1e-12)
