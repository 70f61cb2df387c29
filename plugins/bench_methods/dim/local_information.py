"""Estimates of the mutual information of summaries and local features, from a critic's scores.

The scores are T (B, B, L): T[a, b, i] scores the summary y of image a with location i of image b. Pairs with a = b are
positives, pairs with a != b are negatives. Two locations of one image are never compared. L = 1 is the global case.

Paper: Hjelm et al., ICLR 2019, Sec. 3.1 and 3.2, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/functions/dim_losses.py
Note:  The code masks an image's own scores among the negatives by setting them to -10, which still counts if other
       scores are lower. Here they are left out.

Shapes: B images, L locations.
"""

import math

import torch
from torch import Tensor

from bench_core.nn.mutual_information import donsker_varadhan, jensen_shannon, location_nce, location_nce_ceiling


def local_jsd(scores: Tensor) -> Tensor:
    """Return E_joint[-softplus(-T)] - E_product[softplus(T)] + 2 log 2, averaged over locations.

    This is a bound on the Jensen-Shannon divergence, not an estimate of mutual information in nats.

    Args:
        scores: (B, B, L).

    Returns:
        () at most 2 log 2; for the best critic twice the Jensen-Shannon divergence; 0 if all scores are 0.
    """
    return jensen_shannon(*_joint_and_product(scores))


def local_dv(scores: Tensor) -> Tensor:
    """Return E_joint[T] - log E_product[exp T], with one logarithm for all locations, as in the code.

    Args:
        scores: (B, B, L).

    Returns:
        () in nats, without a bound; 0 if all scores are equal.
    """
    return donsker_varadhan(*_joint_and_product(scores))


def estimate(name: str, scores: Tensor) -> tuple[Tensor, float]:
    """Return an estimate () by name and its upper bound.

    Args:
        name: "jsd", "dv" or "nce".
        scores: (B, B, L).

    Returns:
        The estimate, and the value that it cannot exceed, inf for "dv".
    """
    B, _, L = scores.shape
    if name == "jsd":
        return local_jsd(scores), 2 * math.log(2)
    if name == "nce":
        return location_nce(scores), location_nce_ceiling(B, L)
    return local_dv(scores), math.inf


@torch.no_grad()
def told_apart(scores: Tensor) -> Tensor:
    """Return the frequency with which a summary scores its own image's location above that of another image.

    The two locations have the same index i. Where locations are drawn for each image, they lie at different positions.

    Args:
        scores: (B, B, L).

    Returns:
        () in [0, 1], where ties count one half: exactly 1/2 if all images have the same y or the same locations.
    """
    _check(scores)
    B = len(scores)
    positive = scores.diagonal().T[:, None]  # (B, 1, L)
    wins = (positive > scores).float() + 0.5 * (positive == scores).float()
    return (wins.mean() * B - 0.5) / (B - 1)  # leaves out the ties of each image with itself


def _joint_and_product(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Split scores into those of positives (L, B) and of negatives (B - 1, B, L).

    A boolean index would make the host wait for the device; views by strides do not.
    """
    _check(scores)
    B, _, L = scores.shape
    # Without its first entry, the flattened matrix has every other diagonal entry at the end of a row of B + 1.
    product = scores.reshape(B * B, L)[1:].view(B - 1, B + 1, L)[:, :-1]
    return scores.diagonal(), product


def _check(scores: Tensor) -> None:
    """Raise ValueError unless scores are (B, B, L) of at least two images and one location."""
    if scores.ndim != 3 or scores.shape[0] != scores.shape[1] or len(scores) < 2 or scores.shape[2] < 1:
        raise ValueError(f"scores must be (B, B, L) with B >= 2 and L >= 1, got {tuple(scores.shape)}")
