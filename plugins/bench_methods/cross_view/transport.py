"""Sliced Wasserstein distance: how far apart two distributions are, seen along a few directions.

Along one direction the best transport of a batch to another pairs the smallest value with the smallest, and so on.

Sources: Rabin, Peyre, Delon, Bernot, SSVM 2011 (slices); Kolouri et al., NeurIPS 2019,
         https://arxiv.org/abs/1902.00434 (generalised slices, which are not here)
Code:    https://github.com/jiangmengli/CoCoNet/blob/a9b14ee/gswnn.py
Shapes:  N rows of P coordinates, S slices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-8  # added under the root, whose slope is infinite at 0


def random_directions(coordinates: int, slices: int, rng: torch.Generator) -> Tensor:
    """Draw S directions (P, S): columns of length 1, uniform on the sphere."""
    return F.normalize(torch.randn(coordinates, slices, generator=rng, device=rng.device), dim=0)


def sliced_distance(first: Tensor, second: Tensor, directions: Tensor) -> Tensor:
    """Return the root of the summed squared differences between sorted slices of two batches.

    It is sqrt(N S) times the sliced Wasserstein distance of order 2. Both batches get a gradient.

    Args:
        first: (N, P); the order of rows does not matter.
        second: (N, P).
        directions: (P, S); columns of length 1.

    Returns:
        () >= 1e-4, which stands for 0. For two batches that differ by a shift c, and one direction, |c . direction|
        times sqrt(N).
    """
    with torch.autocast(first.device.type, enabled=False):  # bf16 products would round the slices
        slices = [(rows.float() @ directions).sort(0).values for rows in (first, second)]
        return ((slices[0] - slices[1]).square().sum() + _LEAST).sqrt()
