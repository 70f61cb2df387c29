"""Momentum copies of networks."""

import pytest
import torch
from torch import nn

from bench_core.nn.momentum import cosine_momentum, enqueue, momentum_copy, update_copy


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


def test_the_oldest_rows_of_a_queue_are_overwritten() -> None:
    queue, position = torch.zeros(5, 1), torch.tensor(0)
    seen: list[list[float]] = []
    for first in (1, 4, 7):
        enqueue(queue, position, torch.arange(first, first + 3.0)[:, None])
        seen.append(queue.flatten().tolist())
    assert seen == [[1, 2, 3, 0, 0], [6, 2, 3, 4, 5], [6, 7, 8, 9, 5]]
    assert int(position) == 4


def test_of_more_rows_than_a_queue_has_the_last_are_kept() -> None:
    queue, position = torch.zeros(3, 1), torch.tensor(1)
    enqueue(queue, position, torch.arange(1.0, 6)[:, None])
    assert queue.flatten().tolist() == [3, 4, 5]
    assert int(position) == 0  # of the oldest row
