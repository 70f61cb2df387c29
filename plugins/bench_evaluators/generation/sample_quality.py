"""How close two sets of images are in the features of a fixed network, and how sure and varied their classes are.

Papers: Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500 (Frechet distance, FID)
        Binkowski et al., ICLR 2018, https://arxiv.org/abs/1801.01401 (kernel distance, KID)
        Kynkaanniemi et al., NeurIPS 2019, https://arxiv.org/abs/1904.06991 (precision, recall)
        Naeem et al., ICML 2020, https://arxiv.org/abs/2002.09797 (density, coverage)
        Salimans et al., NeurIPS 2016, https://arxiv.org/abs/1606.03498 (inception score)

Shapes: N real and M generated items, D features, K classes.
"""

import torch
from torch import Tensor

from bench_core.nn.latent_sampling import fit_gaussian

BLOCK = 1000  # items of which one unbiased estimate of the kernel distance is made: KID's subsets
NEIGHBOURS = 3  # of precision and recall: the paper's
_ROWS = 1000  # of a matrix of distances that are held at once


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Squared Wasserstein distance of the Gaussians with the sets' means and covariances.

        |m - n|^2 + tr S + tr T - 2 tr (S T)^(1/2)

    With S = A^T A and T = B^T B the last trace is the nuclear norm of A B^T, so nothing is squared and no root of a
    matrix is taken. Two samples of one law get about D^2 / 2N, not 0: compare at equal N only.

    Args:
        x: (N, D).
        y: (M, D).

    Returns:
        >= 0, in squared units of the features.
    """
    (m, a), (n, b) = fit_gaussian(x.double()), fit_gaussian(y.double())
    apart = (m - n).square().sum() + a.square().sum() + b.square().sum()
    return max(0.0, float(apart - 2 * torch.linalg.svdvals(a @ b.T).sum()))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of the kernel (x.y / D + 1)^3.

    The mean over disjoint blocks of 1,000 items, what is left over unused; rows must be in random order. 0 in the mean
    for samples of one law, whatever their number; may be negative.

    Args:
        x: (N, D).
        y: (N, D).

    Raises:
        ValueError: Not the same number of items, or fewer than 2.
    """
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"the kernel distance needs equal numbers of items, 2 or more, got {len(x)} and {len(y)}")
    size = min(BLOCK, len(x))
    blocks = len(x) // size * size
    parts = zip(*(torch.split(rows[:blocks].double(), size) for rows in (x, y)), strict=True)
    return sum(_discrepancy(a, b) for a, b in parts) * size / blocks


def _discrepancy(x: Tensor, y: Tensor) -> float:
    n = len(x)
    within, across = ((_kernel(a, a) for a in (x, y)), _kernel(x, y))
    own = sum(float(k.sum() - k.trace()) / (n * (n - 1)) for k in within)
    return own - 2 * float(across.mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def neighbourhoods(real: Tensor, made: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall, density and coverage; an item's ball ends at its k-th nearest neighbour of its own set.

    Args:
        real: (N, D).
        made: (M, D).
        k: Less than N and M.

    Returns:
        `precision`, part of the made items inside a real one's ball; `recall`, part of the real items inside a made
        one's; `density`, real balls that a made item lies in, over k (1 in the mean for one law, may exceed it);
        `coverage`, part of the real balls that hold a made item (1 - 2^-k for one law and M = N).

    Raises:
        ValueError: k is not in [1, number of items).
    """
    if not 1 <= k < min(len(real), len(made)):
        raise ValueError(f"k must be in [1, {min(len(real), len(made))}), got {k}")
    real, made = real.float(), made.float()
    centre = real.mean(0)
    real, made = real - centre, made - centre  # distances of float32 are sums of squares
    real_radius, made_radius = _radii(real, k), _radii(made, k)
    held = torch.zeros(len(made), dtype=torch.int64)  # real balls that each made item lies in
    recalled, covered = 0, 0
    for rows, radius in zip(torch.split(real, _ROWS), torch.split(real_radius, _ROWS), strict=True):
        distance = torch.cdist(rows, made)
        inside = distance <= radius[:, None]
        held += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distance <= made_radius).any(1).sum())
    return {
        "precision": float((held > 0).double().mean()),
        "recall": recalled / len(real),
        "density": float(held.double().mean()) / k,
        "coverage": covered / len(real),
    }


def _radii(rows: Tensor, k: int) -> Tensor:
    """Distance (N,) of each item to its k-th nearest other."""
    found = []
    for start in range(0, len(rows), _ROWS):
        distance = torch.cdist(rows[start : start + _ROWS], rows)
        distance[:, start : start + _ROWS].fill_diagonal_(torch.inf)  # not its own neighbour
        found.append(distance.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(found)


def inception_score(log_chances: Tensor) -> float:
    """The exponential of the mean divergence of each item's classes from the mean of all, in one split.

    Args:
        log_chances: (N, K), log p(class | item) of a classifier.

    Returns:
        In [1, K]: K for items of which each has one class and all classes are as frequent, 1 for items that look alike.
    """
    logp = log_chances.double().log_softmax(1)
    divergence = (logp.exp() * (logp - logp.exp().mean(0).log())).nansum(1)  # a class of chance 0 adds nothing
    return float(divergence.mean().exp().clamp(1, logp.shape[1]))
