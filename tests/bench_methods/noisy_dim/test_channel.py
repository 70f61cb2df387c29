import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from bench_core.nn.mutual_information import donsker_varadhan, info_nce, joint_and_product, nwj
from bench_methods.noisy_dim.channel import (
    MLPCritic,
    QuadraticCritic,
    Sender,
    gaussian_bound,
    gaussian_log_ratio,
    uniform_bound,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bounds_equal_values_computed_by_hand() -> None:
    assert gaussian_bound(2, 0.1) == pytest.approx(4.615, abs=1e-3)
    assert gaussian_bound(8, 0.3) == pytest.approx(9.976, abs=1e-3)
    assert gaussian_bound(16, 0.5) == pytest.approx(12.876, abs=1e-3)
    assert uniform_bound(1, 0.1) == pytest.approx(1.7918, abs=1e-4)
    assert gaussian_bound(3, 0.0) == uniform_bound(3, 0.0) == math.inf


def test_the_log_ratio_is_that_of_the_densities() -> None:
    y, u, s2 = draw(4, 3), draw(4, 3, seed=1), 0.3
    for i in range(4):
        for j in range(4):
            slow = norm.logpdf(y[i], u[j], math.sqrt(s2)) - norm.logpdf(y[i], 0, math.sqrt(1 + s2))
            ratio = gaussian_log_ratio(y, u, torch.tensor(s2, dtype=torch.float64))[i, j]
            assert ratio.item() == pytest.approx(slow.sum().item())


@pytest.mark.parametrize(("dim", "noise"), [(1, 0.5), (2, 0.3), (2, 1.0)])
def test_normal_rows_reach_the_bound_by_every_estimator(dim: int, noise: float) -> None:
    sent = draw(2000, dim)
    received = sent + noise * draw(2000, dim, seed=1)
    scores = gaussian_log_ratio(received, sent, torch.tensor(noise**2))
    joint, product = joint_and_product(scores)
    for estimate in (info_nce(scores), donsker_varadhan(joint, product), nwj(joint + 1, product + 1)):
        assert estimate.item() == pytest.approx(gaussian_bound(dim, noise), abs=0.06)


def test_rows_of_two_values_stay_below_the_bound() -> None:
    sent = draw(2000, 1).sign()
    received = sent + 0.3 * draw(2000, 1, seed=1)
    best = info_nce(gaussian_log_ratio(received, sent, torch.tensor(0.09)))
    assert best.item() == pytest.approx(0.692, abs=0.02)
    assert gaussian_bound(1, 0.3) - best.item() == pytest.approx(0.555, abs=0.02)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.25])
def test_uniform_rows_send_slightly_less_than_their_bound(noise: float) -> None:
    rng = torch.Generator().manual_seed(0)
    sent = torch.rand(2000, 1, generator=rng, dtype=torch.float64)
    received = sent + noise * (2 * torch.rand(2000, 1, generator=rng, dtype=torch.float64) - 1)
    scores = torch.where((received - sent.T).abs() <= noise, 0.0, -1e4)  # exact: any of those that reach it
    expected = noise - math.log(2 * noise)
    assert info_nce(scores).item() == pytest.approx(expected, abs=0.04)
    assert uniform_bound(1, noise) - expected == pytest.approx(math.log1p(2 * noise) - noise)


def test_strong_noise_leaves_no_information() -> None:
    sent = draw(500, 2)
    assert info_nce(gaussian_log_ratio(sent + 100 * draw(500, 2, seed=1), sent, torch.tensor(1e4))).item() < 0.01


def test_the_sender_has_mean_0_and_deviation_1_and_no_parameter_after_its_last_layer() -> None:
    sender = Sender(12, 16, 3)
    sent = sender(5 + 9 * draw(64, 12).float())
    assert torch.allclose(sent.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(sent.var(0, correction=0), torch.ones(3), atol=1e-3)
    assert not list(sender.norm.parameters())
    assert sender.body[-1].bias is None


def test_the_sender_normalises_in_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Sender(12, 16, 3)(draw(8, 12).float()).dtype == torch.float32


def test_the_quadratic_critic_starts_at_the_noise_but_not_below_a_tenth() -> None:
    assert QuadraticCritic(0.5).log_variance.exp().item() == pytest.approx(0.25)
    assert QuadraticCritic(0.0).log_variance.exp().item() == pytest.approx(0.01)


def test_the_mlp_critic_equals_a_network_on_concatenated_pairs() -> None:
    critic, y, u = MLPCritic(3, 8), draw(5, 3).float(), draw(5, 3, seed=1).float()
    first = torch.nn.Linear(6, 8)
    with torch.no_grad():
        first.weight.copy_(torch.cat([critic.received.weight, critic.sent.weight], 1))
        first.bias.copy_(critic.received.bias)
    pairs = torch.stack([torch.cat([y[i], u[j]]) for i in range(5) for j in range(5)])
    assert torch.allclose(critic(y, u), critic.rest(first(pairs)).view(5, 5), atol=1e-6)
