"""Estimates of the information between one source of an image and all locations of another view's map.

The scores are T (B, B, L): T[a, b, i] scores the source of image a with location i of image b. Pairs with a = b are
positives, pairs with a != b are negatives. The positives of one image share their negatives and never compete with
each other.

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


def location_nce(scores: Tensor) -> Tensor:
    """Return InfoNCE of each location of an image against all locations of all other images, given the image's source.

    This is the mean over a, i of -T[a,a,i] + log(exp T[a,a,i] + sum_{b != a, j} exp T[a,b,j]).

    Args:
        scores: (B, B, L).

    Returns:
        () >= 0 in nats; log(1 + (B - 1) L) if all scores are equal.
    """
    if scores.ndim != 3 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        raise ValueError(f"amdim needs at least 2 images in a batch, got scores of shape {tuple(scores.shape)}")
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)[:, :, None]
    negative = scores.masked_fill(own, -torch.inf).flatten(1).logsumexp(1)  # (B,)
    positive = scores.diagonal().T  # (B, L)
    return (torch.logaddexp(positive, negative[:, None]) - positive).mean()


def most_information(images: int, locations: int) -> float:
    """Return log(1 + (B - 1) L), in nats: `location_nce` of equal scores, and the most that its estimate can be."""
    return math.log(1 + (images - 1) * locations)
