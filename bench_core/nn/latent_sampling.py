"""Drawing new latents like those of given items: a Gaussian, or along principal directions.

Shapes: M rows that are imitated, P latents, n rows that are drawn, R directions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_NEAREST = 40  # rows a direction: i-CTRL's find_support


@torch.no_grad()
def fit_gaussian(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (P,) and a square root (P, P) of the covariance, worked in float64.

    Fewer rows than latents give a Gaussian on what the rows span, nothing is shrunk or added.

    Args:
        latents: (M, P); one row has covariance 0.

    Returns:
        Mean, and `root` with root.T @ root = covariance (by M - 1), in the rows' dtype.

    Raises:
        ValueError: No rows.
    """
    if latents.ndim != 2 or len(latents) == 0:
        raise ValueError(f"latents must be one or more rows (M, P), got shape {tuple(latents.shape)}")
    rows = latents.double()
    mean = rows.mean(0)
    root = torch.linalg.qr((rows - mean) / max(1, len(rows) - 1) ** 0.5, mode="r").R  # (min(M, P), P)
    root = F.pad(root, (0, 0, 0, root.shape[1] - root.shape[0]))
    return mean.to(latents.dtype), root.to(latents.dtype)


def draw_gaussian(mean: Tensor, root: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Rows (n, P) from what `fit_gaussian` returned; rng on its device."""
    noise = torch.randn(n, len(mean), generator=rng, device=mean.device, dtype=torch.float64)
    return (mean + noise @ root.double()).to(mean.dtype)


def gaussian_like(latents: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Rows (n, P) of one Gaussian with the mean and the full covariance of the rows (M, P); rng on their device."""
    return draw_gaussian(*fit_gaussian(latents), n, rng)


@torch.no_grad()
def principal_like(latents: Tensor, n: int, rng: torch.Generator, rank: int) -> Tensor:
    """Rows drawn along the principal directions of one cluster.

    As in https://github.com/tsb0601/i-CTRL (3c93dd1, `find_support`): the directions are those of the rows as they
    are, not centred; each has the Gaussian of the 40 rows with the longest projections on it, of either sign. What is
    drawn is not on the sphere: who needs that normalises it.

    Args:
        latents: (M, P), one cluster's.
        n: How many.
        rng: On the latents' device.
        rank: Directions R, at most the smaller of M and P are there. Row i is drawn along direction i modulo R.

    Raises:
        ValueError: No rows, or a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"rank must be >= 1, got {rank}")
    if latents.ndim != 2 or len(latents) == 0:
        raise ValueError(f"latents must be one or more rows (M, P), got shape {tuple(latents.shape)}")
    directions = torch.linalg.svd(latents.double(), full_matrices=False).Vh[:rank]  # (R, P)
    lengths = (latents.double() @ directions.T).abs()  # (M, R)
    nearest = lengths.topk(min(_NEAREST, len(latents)), dim=0).indices  # (40, R)
    each = -(-n // len(directions))
    drawn = [gaussian_like(latents[rows], each, rng) for rows in nearest.unbind(1)]
    return torch.stack(drawn, 1).flatten(0, 1)[:n]
