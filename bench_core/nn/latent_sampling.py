"""Draw new latents that resemble those of given items: from a Gaussian, or along principal directions.

Shapes: M given rows, P latents, n drawn rows, R directions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_NEAREST = 40  # rows for each direction, as in i-CTRL's find_support


@torch.no_grad()
def fit_gaussian(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a Gaussian to rows: mean (P,) and a square root (P, P) of the covariance, computed in float64.

    Fewer rows than latents give a Gaussian on the subspace that the rows span; nothing is shrunk or added.

    Args:
        latents: (M, P); a single row has covariance 0.

    Returns:
        Mean, and `root` with root.T @ root = covariance (divided by M - 1), in the rows' dtype.

    Raises:
        ValueError: There are no rows.
    """
    if latents.ndim != 2 or len(latents) == 0:
        raise ValueError(f"latents must be one or more rows (M, P), got shape {tuple(latents.shape)}")
    rows = latents.double()
    mean = rows.mean(0)
    root = torch.linalg.qr((rows - mean) / max(1, len(rows) - 1) ** 0.5, mode="r").R  # (min(M, P), P)
    root = F.pad(root, (0, 0, 0, root.shape[1] - root.shape[0]))
    return mean.to(latents.dtype), root.to(latents.dtype)


def draw_gaussian(mean: Tensor, root: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw rows (n, P) from the Gaussian that `fit_gaussian` returned; rng is on its device."""
    noise = torch.randn(n, len(mean), generator=rng, device=mean.device, dtype=torch.float64)
    return (mean + noise @ root.double()).to(mean.dtype)


def gaussian_like(latents: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """Draw rows (n, P) from a Gaussian with mean and full covariance of the rows (M, P); rng is on their device."""
    return draw_gaussian(*fit_gaussian(latents), n, rng)


@torch.no_grad()
def principal_like(latents: Tensor, n: int, rng: torch.Generator, rank: int) -> Tensor:
    """Draw rows (n, P) along the principal directions of one cluster.

    As in https://github.com/tsb0601/i-CTRL (3c93dd1, `find_support`): the directions are the right singular vectors of
    the rows, which are not centred. For each direction a Gaussian is fitted to the 40 rows with the longest projections
    on it, of either sign. The drawn rows are not on the sphere; normalise them where that is needed.

    Args:
        latents: (M, P) latents of one cluster.
        n: Number of rows to draw.
        rng: Generator on the latents' device.
        rank: Number of directions R; there are at most min(M, P). Row i is drawn along direction i modulo R.

    Raises:
        ValueError: There are no rows, or the rank is below 1.
    """
    if rank < 1:
        raise ValueError(f"rank must be >= 1, got {rank}")
    if latents.ndim != 2 or len(latents) == 0:
        raise ValueError(f"latents must be one or more rows (M, P), got shape {tuple(latents.shape)}")
    directions = torch.linalg.svd(latents.double(), full_matrices=False).Vh[:rank]  # (R, P)
    lengths = (latents.double() @ directions.T).abs()  # (M, R)
    nearest = lengths.topk(min(_NEAREST, len(latents)), dim=0).indices  # (40, R)
    per_direction = -(-n // len(directions))  # rounded up
    drawn = [gaussian_like(latents[rows], per_direction, rng) for rows in nearest.unbind(1)]
    return torch.stack(drawn, 1).flatten(0, 1)[:n]
