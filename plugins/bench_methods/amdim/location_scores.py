"""Scores of one source of an image with all locations of another view's map, and how they are kept in bounds.

The scores are T (B, B, L): T[a, b, i] scores the source of image a with location i of image b, as
`bench_core.nn.mutual_information.location_nce` takes them.

Paper: Bachman, Hjelm, Buchwalter, NeurIPS 2019, https://arxiv.org/abs/1906.00910
Code:  https://github.com/Philip-Bachman/amdim-public/blob/8754ae1/costs.py (NCE_MI_MULTI)
Note:  The code sets an image's own scores to -c among the negatives and then leaves them out of the sum. Only the
       second step has an effect, and only that is here.

Shapes: B images, L locations, U units.
"""

import math

import torch
from torch import Tensor


def location_scores(sources: Tensor, locations: Tensor) -> Tensor:
    """Score each source with all locations: their inner product over sqrt(U), in float32 also under autocast.

    Args:
        sources: (B, U), one for each image.
        locations: (B, L, U).

    Returns:
        (B, B, L), first the image of the source.
    """
    B, L, U = locations.shape
    with torch.autocast(sources.device.type, enabled=False):
        scaled = sources.float() / math.sqrt(U)  # before the product, which has far more entries
        return (scaled @ locations.float().reshape(B * L, U).T).view(len(sources), B, L)


def soft_clip(scores: Tensor, limit: float) -> Tensor:
    """Return limit * tanh(scores / limit): about the scores where they are small, never beyond +-limit."""
    return limit * torch.tanh(scores / limit)
