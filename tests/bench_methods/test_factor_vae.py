"""FactorVAE: its two losses, whose gradients they are, how codes are shuffled, and the estimate of the correlation."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec, Generative, LatentVariable, Objective, PosteriorSampling, Recipe
from bench_core.training.players import make_player_optimizers, train_step
from bench_methods.beta_vae import BetaVAE
from bench_methods.factor_vae import (
    FactorVAE,
    FactorVAEConfig,
    discriminator_loss,
    make_discriminator,
    shuffled,
    total_correlation,
)

SMALL: dict[str, Any] = {"width": 4, "discriminator_units": 16, "discriminator_layers": 2}
FAST = Recipe(optimizer="adam", learning_rate=1e-2, schedule="constant")


def train(method: Objective, images: Tensor, steps: int) -> list[dict[str, Any]]:
    """Train all players on the same images, and return their losses of each step."""
    trainers = [make_player_optimizers(player, FAST) for player in method.players()]
    batch, rng = Batch(images, torch.arange(len(images))), torch.Generator().manual_seed(3)
    autocast = torch.autocast("cpu", enabled=False)
    return [train_step(method, trainers, batch, rng, autocast) for _ in range(steps)]


def correlated(n: int, seed: int, correlation: float = 0.8) -> Tensor:
    """Draw codes (n, 3) of a normal distribution whose first two coordinates are correlated."""
    codes = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    codes[:, 1] = correlation * codes[:, 0] + math.sqrt(1 - correlation**2) * codes[:, 1]
    return codes


def random_order(n: int, latents: int, seed: int) -> Tensor:
    return torch.rand(n, latents, generator=torch.Generator().manual_seed(seed)).argsort(0)


def gaussian_correlation(codes: Tensor) -> float:
    """Return the total correlation of a normal distribution with the correlation matrix of the codes."""
    return -0.5 * float(torch.corrcoef(codes.double().T).logdet())


def test_the_loss_of_the_vae_is_the_negative_elbo_plus_gamma_times_the_log_ratio(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(FactorVAE, data, gamma=7.0, **SMALL).eval()
    torch.nn.init.normal_(method.discriminator[-1].weight)
    views = method.make_views(batch, rng)
    loss = method(views)
    posterior = method.model.posterior(method.encoder(views.latent.images))
    codes = posterior.mean + posterior.deviation * views.latent.noise
    chances = method.discriminator(codes).softmax(1)
    ratio = sum(math.log(first / second) for first, second in chances.tolist()) / len(codes)
    assert loss.parts["total_correlation"].item() == pytest.approx(ratio, rel=1e-4)
    assert loss.total.item() == pytest.approx(-loss.parts["elbo"].item() + 7 * ratio, rel=1e-5)


def test_the_loss_of_the_discriminator_is_the_mean_of_both_log_chances(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(FactorVAE, data, **SMALL).eval()
    torch.nn.init.normal_(method.discriminator[-1].weight)
    views = method.make_views(batch, rng)
    loss = method(views, "discriminator")
    posterior = method.model.posterior(method.encoder(views.latent.images))
    codes = posterior.mean + posterior.deviation * views.latent.noise
    total = 0.0
    for rows, label in ((codes, 0), (shuffled(codes, views.order), 1)):
        total -= sum(math.log(chance) for chance in method.discriminator(rows).softmax(1)[:, label].tolist())
    assert loss.total.item() == pytest.approx(total / (2 * len(codes)), rel=1e-4)


def test_losses_by_hand() -> None:
    logits, other = torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    assert total_correlation(logits).item() == 2
    loss = discriminator_loss(logits, other)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert loss.total.item() == pytest.approx(expected)
    assert loss.parts["told_apart"].item() == 0.5


def test_a_constant_beside_both_logits_changes_nothing() -> None:
    logits, other = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(0)).unbind()
    assert total_correlation(logits + 5).item() == pytest.approx(total_correlation(logits).item(), abs=1e-5)
    moved, plain = discriminator_loss(logits + 5, other - 3), discriminator_loss(logits, other)
    assert moved.total.item() == pytest.approx(plain.total.item(), abs=1e-5)


def test_at_the_start_the_estimate_is_0_and_the_cross_entropy_log_2(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(FactorVAE, data, **SMALL)
    views = method.make_views(batch, rng)
    assert method(views).parts["total_correlation"].item() == 0
    assert method(views, "discriminator").total.item() == pytest.approx(math.log(2))


def test_with_gamma_0_training_equals_that_of_a_vae_bit_for_bit(make: Any, data: DataSpec, digits: Tensor) -> None:
    method, vae = make(FactorVAE, data, gamma=0.0, **SMALL), make(BetaVAE, data, beta=1.0, width=4)
    losses = [train(each, digits[:32], 5) for each in (method, vae)]
    assert [step["vae"].total for step in losses[0]] == [step["main"].total for step in losses[1]]
    first, second = method.state_dict(), vae.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert method.make_views(Batch(digits[:4], torch.arange(4)), torch.Generator()).order is None


def test_neither_player_moves_the_other(make: Any, data: DataSpec, digits: Tensor) -> None:
    for moved in ("vae", "discriminator"):
        method = make(FactorVAE, data, **SMALL)
        torch.nn.init.normal_(method.discriminator[-1].weight)
        batch = Batch(digits[:32], torch.arange(32))
        views = method.make_views(batch, torch.Generator().manual_seed(0))
        before = copy.deepcopy(dict(method.named_parameters()))
        player = next(player for player in method.players() if player.name == moved)
        make_player_optimizers(player, FAST).step(method, views, torch.autocast("cpu", enabled=False))
        for name, parameter in method.named_parameters():
            same = torch.equal(parameter, before[name])
            assert same == (name.startswith("discriminator.") != (moved == "discriminator")), (moved, name)


def test_the_correlation_has_a_gradient_to_the_encoder_and_the_cross_entropy_has_none(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(FactorVAE, data, **SMALL)
    torch.nn.init.normal_(method.discriminator[-1].weight)
    views, encoder = method.make_views(batch, rng), list(method.encoder.parameters())
    gradients = torch.autograd.grad(method(views).parts["total_correlation"], encoder, retain_graph=True)
    assert all(bool(gradient.abs().sum() > 0) for gradient in (gradients[0], gradients[-2]))
    loss = method(views, "discriminator").total
    gradients = torch.autograd.grad(loss, encoder, allow_unused=True)
    assert gradients == (None,) * len(encoder)


def test_each_coordinate_is_shuffled_by_an_order_of_its_own(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    order = make(FactorVAE, data, latent_dim=6, **SMALL).make_views(batch, rng).order
    items = torch.arange(12)
    assert order.shape == (12, 6)
    assert all(torch.equal(column.sort().values, items) for column in order.T)
    assert len({tuple(column.tolist()) for column in order.T}) == 6
    codes = torch.randn(12, 6, generator=rng)
    mixed = shuffled(codes, order)
    for column in range(6):
        assert [mixed[item, column] for item in range(12)] == [codes[order[item, column], column] for item in range(12)]


def test_shuffling_keeps_each_coordinate_and_breaks_their_correlation() -> None:
    codes = correlated(2000, seed=0)
    mixed = shuffled(codes, random_order(2000, 3, seed=1))
    assert torch.equal(mixed.sort(0).values, codes.sort(0).values)
    assert float(torch.corrcoef(codes.T)[0, 1]) > 0.75
    assert abs(float(torch.corrcoef(mixed.T)[0, 1])) < 0.08
    rows = torch.arange(2000).flip(0)[:, None].expand(-1, 3)  # one order for all keeps it
    assert float(torch.corrcoef(shuffled(codes, rows).T)[0, 1]) == pytest.approx(
        float(torch.corrcoef(codes.T)[0, 1]), abs=1e-5
    )


def test_the_estimate_of_a_trained_discriminator_grows_to_the_truth_of_a_gaussian() -> None:
    """-1/2 log det of the correlation matrix: .51 nats at a correlation of .8."""
    truth = -0.5 * math.log(1 - 0.8**2)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        discriminator = make_discriminator(3, units=64, layers=2)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=3e-3)
    fresh, estimates = correlated(5000, seed=99), []
    for step in range(301):
        if step in (0, 20, 300):
            estimates.append(total_correlation(discriminator(fresh)).item())
        codes = correlated(512, seed=step)
        mixed = shuffled(codes, random_order(512, 3, seed=step))
        optimizer.zero_grad()
        torch.autograd.backward(discriminator_loss(discriminator(codes), discriminator(mixed)).total)
        optimizer.step()
    assert estimates == sorted(estimates)
    assert estimates[0] == 0
    assert estimates[-1] == pytest.approx(truth, abs=0.12)
    independent = shuffled(fresh, random_order(5000, 3, seed=1))
    assert total_correlation(discriminator(independent)).item() < 0  # -KL the other way: below 0 unless equal


def test_training_lowers_the_loss_and_a_large_gamma_the_dependence_of_the_codes(
    make: Any, data: DataSpec, digits: Tensor
) -> None:
    dependence = {}
    for gamma in (0.0, 40.0):
        method = make(FactorVAE, data, gamma=gamma, latent_dim=4, width=8, discriminator_units=32,
                      discriminator_layers=2, discriminator_rate=1e-2)  # fmt: skip
        losses = train(method, digits[:256], 100)
        assert losses[-1]["vae"].parts["reconstruction"] < losses[0]["vae"].parts["reconstruction"] - 2
        assert losses[-1]["vae"].parts["active_units"] >= 2
        draws = method.eval().sample_posterior(digits[:256], torch.Generator().manual_seed(0))
        dependence[gamma] = gaussian_correlation(draws)
    assert dependence[40.0] < 0.5 * dependence[0.0]


def test_latents_are_means_and_samples_are_images(
    make: Any, data: DataSpec, images: Tensor, rng: torch.Generator
) -> None:
    method = make(FactorVAE, data, **SMALL).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["latent"], method.model.mean(embedded["features"]))
    assert method.decode(embedded["latent"]).shape == images.shape
    for like in (None, embedded["latent"]):
        sampled = method.sample(5, rng, like)
        assert sampled.shape == (5, 1, 8, 8)
        assert 0 <= sampled.min() <= sampled.max() <= 1
    assert method.log_likelihood(images, 3, rng).shape == method.divergence(images).shape == (96,)
    assert all(issubclass(FactorVAE, kind) for kind in (Generative, LatentVariable, PosteriorSampling))
    draws = method.sample_posterior(images, torch.Generator().manual_seed(0))
    noise = torch.randn(draws.shape, generator=torch.Generator().manual_seed(0))
    mean, deviation = method.model.posterior(embedded["features"])
    assert torch.allclose(draws, mean + deviation * noise)


@pytest.mark.parametrize(("likelihood", "kind"), [("gaussian", "levels"), ("bernoulli", "binary")])
def test_the_likelihood_says_what_it_is_of(make: Any, data: DataSpec, likelihood: str, kind: str) -> None:
    assert make(FactorVAE, data, likelihood=likelihood, **SMALL).likelihood_of() == kind


def test_the_discriminator_has_six_layers_of_leaky_units_and_adam_of_its_own(make: Any, data: DataSpec) -> None:
    method = make(FactorVAE, data, width=4, discriminator_units=5)
    kinds = [type(layer).__name__ for layer in method.discriminator]
    assert kinds == ["Linear", "LeakyReLU"] * 6 + ["Linear"]
    x = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(method.discriminator[-1].weight)
    hidden = x
    for layer in method.discriminator[:-1:2]:
        hidden = F.linear(hidden, layer.weight, layer.bias)
        hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
    torch.testing.assert_close(method.discriminator(x), hidden @ method.discriminator[-1].weight.T)
    _, player = method.players()
    assert player.recipe == {"optimizer": "adam", "learning_rate": 1e-4, "momentum": 0.5}


@pytest.mark.parametrize(
    "values",
    [
        {"gamma": -1.0},
        {"gamma": math.inf},
        {"latent_dim": 0},
        {"width": 0},
        {"discriminator_units": 0},
        {"discriminator_layers": 0},
        {"discriminator_rate": 0.0},
    ],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        FactorVAEConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    assert "reads images" in str(FactorVAE.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), FactorVAEConfig()))
