"""Losses of the adversarial game, with hand-computed values for a discriminator of one linear layer."""

import math

import pytest
import torch
from torch import Tensor, nn

from bench_core.nn.adversarial import discriminator_loss, fooling_loss
from bench_core.nn.heads import mlp


def linear(weight: list[float], bias: float = 0.0) -> nn.Linear:
    layer = nn.Linear(len(weight), 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([weight]))
        layer.bias.fill_(bias)
    return layer


@pytest.fixture
def rows() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(6, 2, generator=rng), torch.rand(6, 2, generator=rng)


def test_a_constant_discriminator_has_a_loss_of_2_log_2_and_no_penalty(rows: tuple[Tensor, Tensor]) -> None:
    cross_entropy, penalty = discriminator_loss(linear([0.0, 0.0]), *rows)
    assert cross_entropy.item() == pytest.approx(2 * math.log(2))
    assert penalty.item() == 0
    assert fooling_loss(linear([0.0, 0.0]), rows[1]).item() == pytest.approx(math.log(2))


def test_the_losses_equal_the_cross_entropies_written_as_formulas(rows: tuple[Tensor, Tensor]) -> None:
    network = linear([3.0, -4.0], 0.5)
    chance = [[1 / (1 + math.exp(-(3 * x - 4 * y + 0.5))) for x, y in side.tolist()] for side in rows]
    real, fake = (-sum(map(math.log, chance[0])) / 6, -sum(math.log(1 - p) for p in chance[1]) / 6)
    cross_entropy, penalty = discriminator_loss(network, *rows)
    assert cross_entropy.item() == pytest.approx(real + fake, rel=1e-5)
    assert penalty.item() == pytest.approx(25)  # the squared length of its weight, everywhere
    assert fooling_loss(network, rows[1]).item() == pytest.approx(-sum(map(math.log, chance[1])) / 6, rel=1e-5)


def test_the_penalty_averages_over_real_and_fake_rows(rows: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    network = mlp(2, 8, 1, norm=False)
    both = [discriminator_loss(network, side, side)[1] for side in rows]
    assert discriminator_loss(network, *rows)[1].item() == pytest.approx(sum(p.item() for p in both) / 2, rel=1e-5)


def test_the_penalty_moves_the_discriminator(rows: tuple[Tensor, Tensor]) -> None:
    network = linear([3.0, -4.0])
    _, penalty = discriminator_loss(network, *rows)
    (slope,) = torch.autograd.grad(penalty, network.weight)
    torch.testing.assert_close(slope, 2 * network.weight)


def test_only_the_fooling_loss_sends_a_gradient_to_fake_rows(rows: tuple[Tensor, Tensor]) -> None:
    network, fake = linear([3.0, -4.0]), rows[1].clone().requires_grad_()
    cross_entropy, penalty = discriminator_loss(network, rows[0], fake)
    torch.autograd.backward(cross_entropy + penalty)
    assert fake.grad is None
    (slope,) = torch.autograd.grad(fooling_loss(network, fake), fake)
    assert bool((slope[:, 0] < 0).all())  # downhill is where the discriminator takes it for real
    assert bool((slope[:, 1] > 0).all())


def test_fake_rows_get_a_gradient_where_the_discriminator_is_sure() -> None:
    fake = torch.zeros(4, 1, requires_grad=True)
    (slope,) = torch.autograd.grad(fooling_loss(linear([1.0], -50.0), fake), fake)
    torch.testing.assert_close(slope, torch.full((4, 1), -0.25))
