"""Debiased linear CKA against a slow computation, and its limits."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from bench_core.evaluation.cka import linear_cka


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_hsic(x: Tensor, y: Tensor) -> float:
    """Compute the U-statistic over all ordered quadruples of different items (Song et al., 2012, eq. 4)."""
    k, m = x @ x.T, y @ y.T
    total, count = 0.0, 0
    for i, j, q, r in itertools.permutations(range(len(x)), 4):
        total += float(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]))
        count += 1
    return total / count


def test_cka_is_the_ratio_of_u_statistics() -> None:
    x, y = normal(8, 3, 0), normal(8, 2, 1) + 3
    expected = slow_hsic(x, y) / math.sqrt(slow_hsic(x, x) * slow_hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, abs=1e-10)


def test_rotation_scale_and_shift_do_not_change_cka() -> None:
    x = normal(100, 6, 0)
    turn = torch.linalg.qr(normal(6, 6, 1)).Q
    assert linear_cka(x, 3 * x @ turn + 5) == pytest.approx(1.0, abs=1e-12)


def test_cka_of_independent_embeddings_is_0_on_average() -> None:
    values = [linear_cka(normal(200, 64, 2 * s), normal(200, 64, 2 * s + 1)) for s in range(20)]
    assert abs(sum(values) / len(values)) < 0.01  # the plain ratio would be 0.24
    assert 0.004 < max(abs(value) for value in values) < 0.05


def test_cka_with_a_constant_embedding_is_0() -> None:
    assert linear_cka(torch.ones(10, 3), normal(10, 3, 0)) == 0.0
    assert linear_cka(normal(10, 3, 0), torch.ones(10, 3)) == 0.0


def test_too_few_items_or_different_numbers_of_items_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or more"):
        linear_cka(normal(3, 2, 0), normal(3, 2, 1))
    with pytest.raises(ValueError, match="same items"):
        linear_cka(normal(5, 2, 0), normal(6, 2, 1))


def test_a_large_offset_costs_no_digits() -> None:
    x, y = normal(50, 3, 0), normal(50, 3, 1)
    assert linear_cka(x + 1e6, y - 1e6) == pytest.approx(linear_cka(x, y), abs=1e-6)
