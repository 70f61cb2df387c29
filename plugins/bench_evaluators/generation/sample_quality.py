"""Measures of two sets of images in the features of a fixed network: distances, neighbourhoods, inception score.

Papers: Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500 (Frechet distance, FID)
        Binkowski et al., ICLR 2018, https://arxiv.org/abs/1801.01401 (kernel distance, KID)
        Kynkaanniemi et al., NeurIPS 2019, https://arxiv.org/abs/1904.06991 (precision, recall)
        Naeem et al., ICML 2020, https://arxiv.org/abs/2002.09797 (density, coverage)
        Salimans et al., NeurIPS 2016, https://arxiv.org/abs/1606.03498 (inception score)

Shapes: N real and M generated items, D features, K classes.
"""

from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor

from bench_core.nn.latent_sampling import fit_gaussian

BLOCK = 1000  # items of one unbiased estimate of the kernel distance: KID's subsets
NEIGHBOURS = 3  # neighbours k of precision and recall, from the paper
SPLITS = 10  # parts whose inception scores are averaged, as in the paper's code
_ROWS = 1000  # rows of a matrix of distances that are held at once


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Return the squared Wasserstein distance of the Gaussians with the sets' means and covariances.

        |m - n|^2 + tr S + tr T - 2 tr (S T)^(1/2)

    With S = A^T A and T = B^T B the last trace is the nuclear norm of A B^T, so nothing is squared and no root of a
    matrix is taken. Two samples of one distribution get about D^2 / 2N, not 0: compare at equal N only.

    Args:
        x: (N, D).
        y: (M, D).

    Returns:
        >= 0, in squared units of the features.
    """
    (m, a), (n, b) = fit_gaussian(x.double()), fit_gaussian(y.double())
    first_terms = (m - n).square().sum() + a.square().sum() + b.square().sum()
    return max(0.0, float(first_terms - 2 * torch.linalg.svdvals(a @ b.T).sum()))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy of the kernel (x.y / D + 1)^3.

    It is the mean over disjoint blocks of 1,000 items; an incomplete last block is not used. For samples of one
    distribution its mean is 0, whatever their number; a single value may be negative.

    Args:
        x: (N, D), rows in random order.
        y: (N, D), rows in random order.

    Raises:
        ValueError: The numbers of items differ, or are less than 2.
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"the kernel distance needs equal numbers of items, 2 or more, got {len(x)} and {len(y)}")
    size = min(BLOCK, len(x))
    blocks = len(x) // size * size
    parts = zip(*(torch.split(rows[:blocks].double(), size) for rows in (x, y)), strict=True)
    return sum(_discrepancy(a, b) for a, b in parts) * size / blocks


def _discrepancy(x: Tensor, y: Tensor) -> float:
    """Return the kernel distance of one block."""
    n = len(x)
    within = 0.0  # mean kernel of two different items of the same set, summed over both sets
    for rows in (x, y):
        kernel = _kernel(rows, rows)
        within += float(kernel.sum() - kernel.trace()) / (n * (n - 1))
    return within - 2 * float(_kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return the kernel (x.y / D + 1)^3 of all pairs of rows."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def neighbourhoods(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage, from a ball around each item.

    The radius of a ball is the distance to the k-th nearest neighbour in the same set. For precision and recall its
    edge belongs to it, as in the equations of Kynkaanniemi et al.; for density and coverage it does not, as in the code
    of Naeem et al., https://github.com/clovaai/generative-evaluation-prdc (82db9ac), so that copies of one image, whose
    balls have radius 0, hold nothing.

    Args:
        real: (N, D).
        generated: (M, D).
        k: Less than N and M.

    Returns:
        `precision`, the part of generated items inside a real item's ball; `recall`, the part of real items inside a
        generated item's ball; `density`, the mean number of real balls around a generated item, over k (its mean is 1
        for one distribution, and it may exceed 1); `coverage`, the part of real balls with a generated item in them
        (1 - 2^-k for one distribution and M = N).

    Raises:
        ValueError: k is not in [1, number of items).
    """
    if not 1 <= k < min(len(real), len(generated)):
        raise ValueError(f"k must be in [1, {min(len(real), len(generated))}), got {k}")
    real, generated = real.float(), generated.float()
    centre = real.mean(0)
    real, generated = real - centre, generated - centre  # distances of float32 are sums of squares
    real_radius, generated_radius = _radii(real, k), _radii(generated, k)
    precise = torch.zeros(len(generated), dtype=torch.bool)  # is a generated item in some real ball?
    held, recalled, covered = 0, 0, 0
    for rows, radius in zip(torch.split(real, _ROWS), torch.split(real_radius, _ROWS), strict=True):
        distance = torch.cdist(rows, generated)
        precise |= (distance <= radius[:, None]).any(0)
        inside = distance < radius[:, None]
        held += int(inside.sum())
        covered += int(inside.any(1).sum())
        recalled += int((distance <= generated_radius).any(1).sum())
    return {
        "precision": float(precise.double().mean()),
        "recall": recalled / len(real),
        "density": held / len(generated) / k,
        "coverage": covered / len(real),
    }


def _radii(rows: Tensor, k: int) -> Tensor:
    """Return the distance (N,) of each item to its k-th nearest other item."""
    radii = []
    for start in range(0, len(rows), _ROWS):
        distance = torch.cdist(rows[start : start + _ROWS], rows)
        distance[:, start : start + _ROWS].fill_diagonal_(torch.inf)  # not its own neighbour
        radii.append(distance.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(radii)


def inception_score(log_probabilities: Tensor) -> float:
    """Return the mean over ten splits of the exponential of the mean divergence of p(class | item) from p(class).

    Each split has its own p(class), as in the paper's code, https://github.com/openai/improved-gan (inception_score).
    In a small split classes are never equally frequent, so sure and balanced classes score less than K: 9.6 for ten of
    100 items and K = 10. Compare at equal N only.

    Args:
        log_probabilities: (N, K), log p(class | item) of a classifier, up to a constant for each item; rows in random
            order. Fewer than ten items are as many splits.

    Returns:
        A number in [1, K]: K if in each split each item has one sure class and all classes are equally frequent, 1 if
        all items look alike.
    """
    n, splits = len(log_probabilities), min(SPLITS, len(log_probabilities))
    ends = [n * part // splits for part in range(splits + 1)]
    return fmean(_inception_score(log_probabilities[start:end]) for start, end in pairwise(ends))


def _inception_score(log_probabilities: Tensor) -> float:
    """Return the inception score of one split."""
    logp = log_probabilities.double().log_softmax(1)
    divergence = (logp.exp() * (logp - logp.exp().mean(0).log())).nansum(1)  # a class of probability 0 adds nothing
    return float(divergence.mean().exp().clamp(1, logp.shape[1]))
