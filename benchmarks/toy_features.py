"""Toy data: features in clusters, with a spectrum like that of an encoder's features."""

import torch
import torch.nn.functional as F
from torch import Tensor


def features(
    items: int, dims: int, classes: int, seed: int, decay: float = 1.0, spread: float = 4.0
) -> tuple[Tensor, Tensor]:
    """Return the ReLU of a random map of Gaussian clusters, whose j-th direction has the deviation j^-decay.

    Args:
        items: Number of items N.
        dims: Number of dimensions D.
        classes: Number of classes K.
        seed: Seed of all draws. A call with more items does not begin with the items of a call with fewer.
        decay: 0 gives all directions the same weight; with 1 the covariance decays about as that of encoders' features.
        spread: Standard deviation within a class over that between classes.

    Returns:
        Features (N, D) float32 and labels (N,) int64.
    """
    rng = torch.Generator().manual_seed(seed)
    centres, labels = torch.randn(classes, dims, generator=rng), torch.randint(classes, (items,), generator=rng)
    deviations = torch.arange(1, dims + 1) ** -decay
    latents = (centres[labels] + spread * torch.randn(items, dims, generator=rng)) * deviations
    return F.relu(latents @ torch.randn(dims, dims, generator=rng)), labels
