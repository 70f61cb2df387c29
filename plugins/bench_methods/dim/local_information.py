"""How well summaries and local features of the same images tell each other from those of other images.

Each estimate reads a critic's scores T (B, B, L), T[a, b, i] of the summary y of image a with location i of image b.
Positives have a = b. Negatives have a != b: two places of one image never stand against each other. L = 1 is the
global case.

Paper: Hjelm et al., ICLR 2019, Sec. 3.1 and 3.2, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/functions/dim_losses.py
Note:  The code hides an image's own scores by setting them to -10, which counts as soon as others are below; here they
       are left out.

Shapes: B images, L locations.
"""

import math

import torch
from torch import Tensor

from bench_core.nn.mutual_information import donsker_varadhan, jensen_shannon


def local_jsd(scores: Tensor) -> Tensor:
    """E_joint[-softplus(-T)] - E_product[softplus(T)] + 2 log 2, averaged over locations; no mutual information.

    Args:
        scores: (B, B, L).

    Returns:
        () at most 2 log 2, at its best twice the Jensen-Shannon divergence; 0 where all scores are 0.
    """
    return jensen_shannon(*_joint_and_product(scores))


def local_dv(scores: Tensor) -> Tensor:
    """E_joint[T] - log E_product[exp T], one logarithm for all locations, as in the code.

    Args:
        scores: (B, B, L).

    Returns:
        () in nats, of any size; 0 where all scores are equal.
    """
    return donsker_varadhan(*_joint_and_product(scores))


def local_nce(scores: Tensor) -> Tensor:
    """Each location of an image against all locations of all others, seen from the image's summary.

    Mean over a, i of T[a,a,i] - log(exp T[a,a,i] + sum_{b != a, j} exp T[a,b,j]), plus the log of the K = 1 + (B - 1) L
    candidates. The other locations of image a are no candidates.

    Args:
        scores: (B, B, L).

    Returns:
        () in nats, at most log K; 0 where all scores are equal.
    """
    _check(scores)
    B, _, L = scores.shape
    with torch.autocast(scores.device.type, enabled=False):
        T = scores.to(torch.promote_types(scores.dtype, torch.float32))
        positive = T.diagonal().T  # (B, L)
        itself = torch.eye(B, dtype=torch.bool, device=T.device)[:, :, None]
        negative = T.masked_fill(itself, -torch.inf).flatten(1).logsumexp(1)  # (B,)
        return (positive - torch.logaddexp(positive, negative[:, None])).mean() + math.log(1 + (B - 1) * L)


def estimate(name: str, scores: Tensor) -> tuple[Tensor, float]:
    """An estimate () of scores (B, B, L), "jsd", "dv" or "nce", and what it cannot exceed; inf for "dv"."""
    B, _, L = scores.shape
    if name == "jsd":
        return local_jsd(scores), 2 * math.log(2)
    return (local_nce(scores), math.log(1 + (B - 1) * L)) if name == "nce" else (local_dv(scores), math.inf)


@torch.no_grad()
def told_apart(scores: Tensor) -> Tensor:
    """How often an image's summary fits a location of its own better than that of another image at the same index.

    Where locations are drawn for each image, the two lie anywhere.

    Args:
        scores: (B, B, L).

    Returns:
        () in [0, 1], ties count one half: exactly 1/2 where all images have the same y or the same locations.
    """
    _check(scores)
    B = len(scores)
    own = scores.diagonal().T[:, None]  # (B, 1, L)
    wins = (own > scores).float() + 0.5 * (own == scores).float()
    return (wins.mean() * B - 0.5) / (B - 1)  # without each with itself, a tie


def _joint_and_product(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(L, B) of the same image, (B - 1, B, L) of two; by strides, for a boolean index would wait for the device."""
    _check(scores)
    B, _, L = scores.shape
    # Without its first entry the flat matrix has every later diagonal entry at the end of a row of B + 1.
    product = scores.reshape(B * B, L)[1:].view(B - 1, B + 1, L)[:, :-1]
    return scores.diagonal(), product


def _check(scores: Tensor) -> None:
    if scores.ndim != 3 or scores.shape[0] != scores.shape[1] or len(scores) < 2 or scores.shape[2] < 1:
        raise ValueError(f"scores must be (B, B, L) with B >= 2 and L >= 1, got {tuple(scores.shape)}")
