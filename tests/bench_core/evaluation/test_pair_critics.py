import math

import pytest
import torch

from bench_core.evaluation.pair_critics import (
    PairCritic,
    Pairs,
    fit_critic,
    held_out_donsker_varadhan,
    held_out_info_nce,
)


def gaussians(rho: float, items: int, dims: int = 1, seed: int = 0) -> Pairs:
    rng = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(items, dims, generator=rng) for _ in range(2))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def critic(dim: int, other_dim: int | None = None) -> PairCritic:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return PairCritic(dim, 32, other_dim)


def measured(train: Pairs, test: Pairs, other_dim: int | None = None, steps: int = 150) -> tuple[float, float]:
    fitted = critic(train[0].shape[1], other_dim)
    fit_critic(fitted, train, torch.Generator().manual_seed(1), batch_size=128, steps=steps)
    return held_out_info_nce(fitted, test, 128), held_out_donsker_varadhan(fitted, test)


@pytest.mark.parametrize("other_dim", [None, 1])
@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_correlated_gaussians_have_the_information_of_the_formula(rho: float, other_dim: int | None) -> None:
    truth = -0.5 * math.log(1 - rho**2)
    for value in measured(gaussians(rho, 3000), gaussians(rho, 2000, seed=1), other_dim):
        assert value == pytest.approx(truth, abs=0.07)


def test_independent_pairs_score_about_zero_although_the_critic_could_memorise_them() -> None:
    train, test = gaussians(0.0, 60, dims=8), gaussians(0.0, 400, dims=8, seed=1)
    for value in measured(train, test):
        assert -0.3 < value < 0.05


def test_no_estimate_exceeds_its_ceiling() -> None:
    train, test = gaussians(0.999, 1000, dims=6), gaussians(0.999, 500, dims=6, seed=1)
    infonce, dv = measured(train, test)
    assert 3 < infonce <= math.log(128)
    assert dv < -3 * math.log(1 - 0.999**2)


def test_all_scores_are_zero_if_training_never_helps() -> None:
    first = critic(3)
    step = fit_critic(
        first,
        gaussians(0.0, 40, dims=3),
        torch.Generator().manual_seed(0),
        batch_size=32,
        steps=20,
        learning_rate=100.0,
    )
    assert step == 0
    assert not first(*gaussians(0.0, 40, dims=3)).any()


def test_an_exchangeable_critic_is_symmetric_and_has_half_the_weights() -> None:
    x, y = gaussians(0.5, 20, dims=3)
    shared, separate = critic(3), critic(3, 3)
    assert torch.allclose(shared(x, y), shared(y, x).T, atol=1e-5)
    assert not torch.allclose(separate(x, y), separate(y, x).T, atol=1e-2)
    sizes = [sum(p.numel() for p in each.parameters()) for each in (shared, separate)]
    assert sizes[1] == 2 * sizes[0]


@torch.no_grad()
def test_a_score_is_a_squared_distance_and_a_term_for_each_side() -> None:
    x, y = gaussians(0.5, 5, dims=3)
    fitted = critic(3, 3)
    f, b = fitted.left(x)
    g, c = fitted.right(y)
    slow = [
        [float(b[i] + c[j] - (f[i] - g[j]).square().sum() / (2 * math.sqrt(32))) for j in range(5)] for i in range(5)
    ]
    assert torch.allclose(fitted(x, y), torch.tensor(slow), atol=1e-5)


def test_fits_draw_from_their_own_generator_only() -> None:
    before = torch.random.get_rng_state()
    pairs, test = gaussians(0.8, 200), gaussians(0.8, 200, seed=1)
    assert measured(pairs, test, steps=20) == measured(pairs, test, steps=20)
    assert torch.equal(before, torch.random.get_rng_state())


def test_batches_of_info_nce_are_whole_and_a_short_split_is_one() -> None:
    fitted, (x, y) = critic(1), gaussians(0.5, 30)
    halves = [held_out_info_nce(fitted, (x[i : i + 10], y[i : i + 10]), 10) for i in (0, 10)]
    assert held_out_info_nce(fitted, (x[:25], y[:25]), 10) == pytest.approx(sum(halves) / 2)
    assert held_out_info_nce(fitted, (x, y), 99) <= math.log(30)
