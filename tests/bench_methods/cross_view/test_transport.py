import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_methods.cross_view.transport import random_directions, sliced_distance


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def directions(rng: torch.Generator) -> Tensor:
    return random_directions(4, 6, rng)


def test_directions_have_length_1_and_follow_the_generator(rng: torch.Generator, directions: Tensor) -> None:
    assert directions.shape == (4, 6)
    assert torch.allclose(directions.norm(dim=0), torch.ones(6), atol=1e-6)
    assert not torch.equal(directions, random_directions(4, 6, rng))


def test_distance_is_the_best_pairing_along_each_direction(directions: Tensor) -> None:
    first, second = draw(4, 4), draw(4, 4, seed=1)
    total = 0.0
    for theta in directions.T:
        pairings = []
        for order in torch.cartesian_prod(*[torch.arange(4)] * 4):
            if len(set(order.tolist())) == 4:
                pairings.append((first @ theta - (second @ theta)[order]).square().sum())
        total += float(torch.stack(pairings).min())
    assert sliced_distance(first, second, directions).item() == pytest.approx(math.sqrt(total), rel=1e-5)


def test_distance_of_a_permuted_batch_is_0(directions: Tensor) -> None:
    first = draw(9, 4)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    assert sliced_distance(first, first[order], directions).item() == pytest.approx(1e-4, rel=1e-3)


def test_distance_of_a_shift_along_one_direction(directions: Tensor) -> None:
    first, shift, theta = draw(9, 4), torch.tensor([1.0, -2.0, 0.5, 3.0]), directions[:, :1]
    expected = abs(float(shift @ theta[:, 0])) * math.sqrt(9)
    assert sliced_distance(first, first + shift, theta).item() == pytest.approx(expected, rel=1e-5)


def test_distance_is_symmetric(directions: Tensor) -> None:
    first, second = draw(9, 4), draw(9, 4, seed=1)
    assert sliced_distance(first, second, directions) == sliced_distance(second, first, directions)


def test_distance_agrees_with_an_independent_implementation(directions: Tensor) -> None:
    ot = pytest.importorskip("ot", reason="POT is not installed")
    first, second = draw(20, 4), draw(20, 4, seed=1) + 0.5
    arrays = (np.asarray(t.double()) for t in (first, second))
    expected = ot.sliced_wasserstein_distance(*arrays, projections=np.asarray(directions.double()))
    assert sliced_distance(first, second, directions).item() == pytest.approx(math.sqrt(20 * 6) * expected, rel=1e-5)


def test_both_batches_get_a_finite_gradient_also_where_they_are_equal(directions: Tensor) -> None:
    first, second = draw(9, 4).requires_grad_(), draw(9, 4, seed=1).requires_grad_()
    torch.autograd.backward(sliced_distance(first, second, directions))
    for batch in (first, second):
        assert batch.grad is not None
        assert batch.grad.abs().sum() > 0
    same = draw(9, 4).requires_grad_()
    torch.autograd.backward(sliced_distance(same, same.detach(), directions))
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_a_step_against_the_gradient_brings_batches_together(directions: Tensor) -> None:
    first, second = draw(9, 4).requires_grad_(), draw(9, 4, seed=1) + 2.0
    before = sliced_distance(first, second, directions)
    torch.autograd.backward(before)
    assert first.grad is not None
    assert sliced_distance(first - 0.1 * first.grad, second, directions) < before
