"""Momentum copies of networks."""

import pytest
import torch
from torch import nn

from bench_core.nn.momentum import cosine_momentum, momentum_copy, update_copy


def test_copy_moves_towards_its_source_by_one_minus_the_momentum() -> None:
    source = nn.Linear(3, 2)
    target = momentum_copy(source)
    before = target.weight.clone()
    with torch.no_grad():
        source.weight.add_(1.0)
    update_copy(target, source, 0.9)
    assert torch.allclose(target.weight, 0.9 * before + 0.1 * source.weight)
    assert not any(p.requires_grad for p in target.parameters())


def test_momentum_of_one_moves_nothing_and_buffers_stay() -> None:
    source = nn.BatchNorm1d(4)
    target = momentum_copy(source)
    source(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) + 5)
    with torch.no_grad():
        source.weight.mul_(2)
    update_copy(target, source, 1.0)
    assert torch.equal(target.weight, torch.ones(4))
    assert target.running_mean is not None
    assert torch.equal(target.running_mean, torch.zeros(4))


def test_momentum_rises_from_its_start_to_one() -> None:
    assert cosine_momentum(0.99, 0, 100) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 50, 100) == pytest.approx(0.995)
    assert cosine_momentum(0.99, 100, 100) == 1.0


def test_momentum_may_end_below_one() -> None:
    assert cosine_momentum(0.99, 0, 100, 0.999) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 50, 100, 0.999) == pytest.approx(0.9945)
    assert cosine_momentum(0.99, 100, 100, 0.999) == pytest.approx(0.999)
    assert cosine_momentum(0.9, 37, 100, 0.9) == 0.9
