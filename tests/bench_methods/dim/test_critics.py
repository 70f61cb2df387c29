"""Critics compared with the score of one pair at a time."""

import math

import pytest
import torch
from torch import Tensor, nn

from bench_methods.dim.critics import ConcatCritic, DotCritic, Embedding, make_critic


@pytest.fixture
def pairs() -> tuple[Tensor, Tensor]:
    """Summaries (5, 6), and 7 locations of 9 channels for each of 5 images."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, generator=rng), torch.randn(5, 7, 9, generator=rng)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_the_dot_critic_scores_pair_by_pair(pairs: tuple[Tensor, Tensor]) -> None:
    critic = DotCritic(6, 9, 32, divisor=4.0).eval()
    scores = critic(*pairs)
    assert scores.shape == (5, 5, 7)
    for a, b, i in ((0, 0, 0), (1, 4, 6), (4, 1, 2)):
        y, c = critic.summary(pairs[0][a : a + 1]), critic.local(pairs[1][b, i : i + 1])
        assert scores[a, b, i].item() == pytest.approx((y * c).sum().item() / 4, abs=1e-4)


def test_the_concat_critic_equals_a_network_on_concatenated_pairs(pairs: tuple[Tensor, Tensor]) -> None:
    critic = ConcatCritic(6, 9, hidden=16)
    y = pairs[0][:, None, None].expand(5, 5, 7, 6)
    c = pairs[1][None].expand(5, 5, 7, 9)
    network = nn.Sequential(critic.first, critic.rest)
    torch.testing.assert_close(critic(*pairs), network(torch.cat((y, c), 3))[..., 0])


def test_the_concat_critic_has_layers_of_512_512_and_1() -> None:
    widths = [m.out_features for m in ConcatCritic(64, 128).modules() if isinstance(m, nn.Linear)]
    assert widths == [512, 512, 1]


def test_layer_norm_bounds_the_inner_product_with_deviation_near_the_root_of_the_units(
    pairs: tuple[Tensor, Tensor],
) -> None:
    scores = DotCritic(6, 9, 256)(pairs[0], 1e4 * pairs[1])
    assert scores.abs().max() <= 256
    assert 0.2 < scores.std().item() / math.sqrt(256) < 5


def test_the_shortcut_starts_near_the_identity_if_there_are_enough_units() -> None:
    shortcut = Embedding(9, 12).shortcut.weight
    assert bool((shortcut.diagonal() == 1).all())
    assert (shortcut - torch.eye(12, 9)).abs().max() <= 0.01
    assert shortcut.min() < 0
    assert bool((Embedding(9, 9).shortcut.weight.diagonal() == 1).all())
    assert Embedding(12, 9).shortcut.weight.abs().max() < 0.5


def test_batch_norm_sees_every_location_of_every_image(pairs: tuple[Tensor, Tensor]) -> None:
    critic = DotCritic(6, 9, 32)
    norm = critic.local.block[1]
    assert isinstance(norm, nn.BatchNorm1d)
    critic(*pairs)
    hidden = critic.local.block[0](pairs[1].flatten(0, 1))
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, 0.1 * hidden.mean(0))


def test_dot_scores_are_float32_under_autocast(pairs: tuple[Tensor, Tensor]) -> None:
    critic = DotCritic(6, 9, 32).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = critic(*pairs)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, critic(*pairs), atol=0.5, rtol=0.05)


@pytest.mark.parametrize("name", ["dot", "concat"])
def test_gradients_reach_both_sides_and_every_weight(name: str, pairs: tuple[Tensor, Tensor]) -> None:
    critic = make_critic(name, 6, 9, 32, 1.0)
    sides = [side.clone().requires_grad_() for side in pairs]
    critic(*sides).square().sum().backward()
    assert all(side.grad is not None and side.grad.abs().sum() > 0 for side in sides)
    assert all(p.grad is not None for p in critic.parameters())
