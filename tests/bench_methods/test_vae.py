import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec, Generative, Loss, PosteriorSampling
from bench_core.nn.latent_sampling import gaussian_like
from bench_core.nn.variational import discretised_gaussian, gaussian_kl
from bench_methods.vae import VAE, VAEConfig


def train(method: Any, images: Tensor, rng: torch.Generator, steps: int, rate: float = 3e-3) -> list[Loss]:
    batch, losses = Batch(images, torch.arange(len(images))), []
    optimizer = torch.optim.Adam(method.parameters(), lr=rate)
    for _ in range(steps):
        losses.append(method(method.make_views(batch, rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    return losses


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_loss_is_reconstruction_and_kl_summed_within_an_image(
    make: Any, data: DataSpec, batch: Batch, rng: Any, likelihood: str
) -> None:
    method = make(VAE, data, likelihood=likelihood, latent_dim=5, width=4).eval()
    views = method.make_views(batch, rng)
    features = method.encoder(batch.inputs)
    mean = F.linear(features, method.model.mean.weight, method.model.mean.bias)
    raw = F.linear(features, method.model.deviation.weight, method.model.deviation.bias)
    deviation = (1 + raw.exp()).log() + 1e-4
    values = method.model.decoder(mean + deviation * views.noise)
    losses = []
    for i in range(len(values)):
        if likelihood == "bernoulli":
            p, x = values[i].sigmoid(), batch.inputs[i]
            error = -(x * p.log() + (1 - x) * (1 - p).log()).sum()
        else:
            scale = method.model.log_scale.exp() + 1e-3
            error = -discretised_gaussian(batch.inputs[i], 0.5 + values[i], scale).sum()
        losses.append(error - 0.5 * (1 + (deviation[i] ** 2).log() - mean[i] ** 2 - deviation[i] ** 2).sum())
    loss = method(views)
    assert loss.total.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert loss.parts["elbo"].item() == pytest.approx(-loss.total.item(), rel=1e-5)
    bits = "bits_per_dim" if likelihood == "gaussian" else "bits_per_binary_value"
    assert loss.parts[bits].item() == pytest.approx(loss.total.item() / 64 / math.log(2), rel=1e-5)
    assert not any(part.requires_grad for part in loss.parts.values())


def test_a_decoder_of_zeros_needs_one_bit_for_each_binary_value(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(VAE, data, likelihood="bernoulli", width=4)
    for parameter in method.model.decoder[-1].parameters():
        torch.nn.init.zeros_(parameter)
    parts = method(method.make_views(batch, rng)).parts
    assert parts["reconstruction"].item() == pytest.approx(64 * math.log(2), rel=1e-6)


def test_the_order_of_images_changes_nothing(make: Any, data: DataSpec, batch: Batch, rng: torch.Generator) -> None:
    method = make(VAE, data, width=4)
    views, order = method.make_views(batch, rng), torch.randperm(12)
    shuffled = views._replace(images=views.images[order], noise=views.noise[order])
    assert torch.allclose(method(views).total, method(shuffled).total, rtol=1e-4)


def test_all_randomness_is_in_the_views_and_images_are_not_changed(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(VAE, data, latent_dim=5, width=4)
    first, second = (method.make_views(batch, rng) for _ in range(2))
    assert torch.equal(first.images, batch.inputs)
    assert first.noise.shape == (12, 5)
    assert not torch.equal(first.noise, second.noise)
    assert torch.equal(method(first).total, method(first).total)
    augmented = make(VAE, data, augmentation="glyph", width=4).make_views(batch, rng)
    assert not torch.equal(augmented.images, batch.inputs)


def test_the_weight_of_the_kl_rises_over_the_warm_up_and_is_in_the_state(
    make: Any, data: DataSpec, batch: Batch, images: Tensor, rng: torch.Generator, make_context: Any
) -> None:
    method = make(VAE, data, kl_warmup_epochs=2, width=4).eval()
    context = replace(make_context(images, num_epochs=4), num_steps=40)
    weights = [method.before_step(replace(context, step=step))["kl_weight"] for step in (0, 10, 20, 39)]
    assert weights == [0, 0.5, 1, 1]
    method.before_step(replace(context, step=5))
    loss = method(method.make_views(batch, rng))
    weighted = loss.parts["reconstruction"] + 0.25 * loss.parts["kl"]
    assert loss.total.item() == pytest.approx(weighted.item(), rel=1e-5)
    loaded = make(VAE, data, kl_warmup_epochs=2, width=4, seed=1)
    loaded.load_state_dict(method.state_dict())
    assert loaded.kl_weight.item() == 0.25
    without = make(VAE, data, width=4)
    assert without.before_step(context) == {}
    assert without.kl_weight.item() == 1


def test_gradients_reach_the_encoder_heads_decoder_and_scale(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(VAE, data, width=4)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_digits_are_learned_and_units_stay_active(
    make: Any, data: DataSpec, digits: Tensor, rng: torch.Generator
) -> None:
    method = make(VAE, data, latent_dim=8, width=8)
    losses = train(method, digits[:64], rng, 200, 1e-2)
    assert losses[-1].parts["elbo"] > losses[10].parts["elbo"] + 25
    assert losses[-1].parts["active_units"] >= 3
    assert losses[-1].floors == {"active_units": 1.0}


def test_a_code_that_the_decoder_ignores_collapses_below_the_floor(
    make: Any, data: DataSpec, digits: Tensor, rng: torch.Generator
) -> None:
    method = make(VAE, data, latent_dim=8, width=8)
    method.kl_weight.fill_(1000.0)
    last = train(method, digits[:64], rng, 150, 1e-2)[-1]
    assert last.parts["active_units"] < last.floors["active_units"]


def test_the_importance_weighted_bound_is_above_the_elbo(
    make: Any, data: DataSpec, digits: Tensor, rng: torch.Generator
) -> None:
    method = make(VAE, data, latent_dim=8, width=8)
    train(method, digits[:64], rng, 100, 1e-2)
    method.eval()
    batch = Batch(digits[:64], torch.arange(64))
    with torch.no_grad():
        elbo = torch.stack([method(method.make_views(batch, rng)).parts["elbo"] for _ in range(20)]).mean()
        bounds = [method.log_likelihood(digits[:64], k, rng) for k in (5, 200)]
    assert bounds[0].shape == (64,)
    assert elbo + 0.2 < bounds[0].mean() < bounds[1].mean() - 0.2


def test_the_bound_of_a_bernoulli_is_of_binary_images(
    make: Any, data: DataSpec, images: Tensor, rng: torch.Generator
) -> None:
    method = make(VAE, data, likelihood="bernoulli", width=4).eval()
    black = torch.zeros_like(images)
    draws = [method.log_likelihood(images, 1, torch.Generator().manual_seed(s)).std() for s in (0, 1)]
    assert draws[0] != draws[1]
    assert method.log_likelihood(black, 3, rng).isfinite().all()


def test_latents_are_the_posterior_means_and_decode_to_images(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(VAE, data, latent_dim=5, width=4).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.equal(embedded["latent"], method.model.mean(embedded["features"]))
    decoded = method.decode(embedded["latent"])
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_draws_from_the_posterior_have_its_mean_and_deviation(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(VAE, data, latent_dim=5, width=4).eval()
    assert issubclass(VAE, PosteriorSampling)
    mean, deviation = method.model.posterior(method.encoder(images))
    draws = torch.stack([method.sample_posterior(images, torch.Generator().manual_seed(s)) for s in range(300)])
    assert draws.shape == (300, 96, 5)
    scores = (draws - mean) / deviation
    assert scores.mean(0).abs().max() < 5 / 300**0.5
    assert float(scores.detach().std()) == pytest.approx(1, abs=0.01)
    assert torch.equal(draws[3], method.sample_posterior(images, torch.Generator().manual_seed(3)))


def test_samples_decode_latents_from_the_prior_or_like_given_ones(make: Any, data: DataSpec) -> None:
    method = make(VAE, data, latent_dim=5, width=4).eval()
    assert isinstance(method, Generative)

    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    like = 3 + torch.randn(20, 5, generator=rng())
    assert torch.equal(method.sample(7, rng()), method.decode(torch.randn(7, 5, generator=rng())).detach())
    assert torch.equal(method.sample(7, rng(), like), method.decode(gaussian_like(like, 7, rng())).detach())


def test_huge_features_leave_the_loss_and_its_gradients_finite(make: Any, data: DataSpec, rng: torch.Generator) -> None:
    method = make(VAE, data, latent_dim=5, width=4)
    features = 1e4 * torch.randn(6, 16, generator=rng)
    posterior = method.model.posterior(features)
    (gradient,) = torch.autograd.grad(gaussian_kl(posterior).mean(), method.model.deviation.weight)
    assert (posterior.deviation > 0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("values", [{"latent_dim": 0}, {"width": 0}, {"kl_warmup_epochs": -1.0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        VAEConfig(**values)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        VAEConfig(augmentation="zz")


def test_variants_are_configs() -> None:
    assert set(VAE.variants) == {"bernoulli", "warmup"}
    for variant in VAE.variants.values():
        assert VAEConfig(**variant.settings) != VAEConfig()


def test_data_that_the_decoder_cannot_make_are_skipped(data: DataSpec) -> None:
    assert VAE.skip_reason(data, VAEConfig()) is None
    assert "reads images" in str(VAE.skip_reason(replace(data, shape=(7,)), VAEConfig()))
    assert "at least 8 x 8 pixels" in str(VAE.skip_reason(replace(data, shape=(1, 7, 9)), VAEConfig()))


@pytest.mark.parametrize(("likelihood", "kind"), [("gaussian", "levels"), ("bernoulli", "binary")])
def test_the_likelihood_says_what_it_is_of(make: Any, data: DataSpec, likelihood: str, kind: str) -> None:
    assert make(VAE, data, width=4, likelihood=likelihood).likelihood_of() == kind
