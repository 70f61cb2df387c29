"""Debiased linear CKA: the similarity of two embeddings of the same items.

Paper: Kornblith, Norouzi, Lee, Hinton, ICML 2019, https://arxiv.org/abs/1905.00414 (linear CKA)
       Song et al., JMLR 2012, https://jmlr.org/papers/v13/song12a.html, eq. 5 (the unbiased estimate of HSIC)

Shapes: N items; D and E features of the two embeddings.
"""

import math

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear centred kernel alignment of two embeddings, by unbiased estimates of HSIC.

    It is 1 if one embedding is a rotation and scaling of the other. For independent embeddings it is 0 on average and
    may be slightly negative; the plain ratio would be about D / (N + D). It is 0 if an embedding is constant.

    Args:
        x: First embedding (N, D).
        y: Second embedding (N, E) of the same items.

    Raises:
        ValueError: There are fewer than 4 items, or different numbers of items.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"CKA needs the same items, 4 or more, got {len(x)} and {len(y)}")
    kernels = [_kernel(values) for values in (x, y)]
    xy, xx, yy = (_hsic(kernels[a], kernels[b]) for a, b in ((0, 1), (0, 0), (1, 1)))
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else 0.0


def _kernel(values: Tensor) -> Tensor:
    """Return the Gram matrix (N, N) of centred rows, with zeros on its diagonal."""
    centred = values.double() - values.double().mean(0)
    gram = centred @ centred.T
    return gram.fill_diagonal_(0.0)


def _hsic(k: Tensor, m: Tensor) -> float:
    """Return the unbiased estimate of HSIC (Song et al., eq. 5) from two Gram matrices with zero diagonals."""
    n = len(k)
    inner = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    rows = torch.dot(k.sum(0), m.sum(0)) * 2 / (n - 2)
    return float(inner + sums - rows) / (n * (n - 3))
