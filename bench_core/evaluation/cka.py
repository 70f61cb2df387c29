"""Similarity of two embeddings of the same items: linear CKA, debiased.

Paper: Kornblith, Norouzi, Lee, Hinton, ICML 2019, https://arxiv.org/abs/1905.00414 (linear CKA)
       Song et al., JMLR 2012, https://jmlr.org/papers/v13/song12a.html, eq. 5 (the unbiased estimate of HSIC)

Shapes: N items, D and E features.
"""

import math

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of x (N, D) and y (N, E), by unbiased estimates of HSIC.

    1 where one is a rotation and a scaling of the other, 0 in the mean where they are independent (the plain ratio is
    about D / (N + D) there); may fall a little below 0. 0 where one of them is constant.

    Raises:
        ValueError: Fewer than 4 items, or not the same number.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"CKA needs the same items, 4 or more, got {len(x)} and {len(y)}")
    kernels = [_kernel(values) for values in (x, y)]
    cross, own_x, own_y = (_hsic(kernels[a], kernels[b]) for a, b in ((0, 1), (0, 0), (1, 1)))
    return cross / math.sqrt(own_x * own_y) if own_x > 0 and own_y > 0 else 0.0


def _kernel(values: Tensor) -> Tensor:
    """Gram matrix (N, N) of centred rows, its diagonal taken out."""
    centred = values.double() - values.double().mean(0)
    gram = centred @ centred.T
    return gram.fill_diagonal_(0.0)


def _hsic(k: Tensor, m: Tensor) -> float:
    """The unbiased estimate (Song et al., eq. 5) from two Gram matrices without their diagonals."""
    n = len(k)
    inner = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    rows = torch.dot(k.sum(0), m.sum(0)) * 2 / (n - 2)
    return float(inner + sums - rows) / (n * (n - 3))
