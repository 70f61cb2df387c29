from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Generative, Loss, PosteriorSampling
from bench_methods.beta_vae import BetaVAE, BetaVAEConfig
from bench_methods.vae import VAE


def train(method: Any, images: Tensor, rng: torch.Generator) -> list[Loss]:
    batch, losses = Batch(images, torch.arange(len(images))), []
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(200):
        losses.append(method(method.make_views(batch, rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    return losses


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_beta_weighs_the_kl_and_the_elbo_is_without_it(
    make: Any, data: DataSpec, batch: Batch, rng: torch.Generator, beta: float
) -> None:
    method = make(BetaVAE, data, beta=beta, width=4).eval()
    loss = method(method.make_views(batch, rng))
    reconstruction, kl = loss.parts["reconstruction"], loss.parts["kl"]
    assert loss.total.item() == pytest.approx((reconstruction + beta * kl).item(), rel=1e-5)
    assert loss.parts["elbo"].item() == pytest.approx(-(reconstruction + kl).item(), rel=1e-5)


def test_beta_1_equals_a_vae_bit_for_bit(make: Any, data: DataSpec, batch: Batch, rng: torch.Generator) -> None:
    beta_vae = make(BetaVAE, data, beta=1.0, latent_dim=6, width=4, likelihood="gaussian")
    vae = make(VAE, data, latent_dim=6, width=4, likelihood="gaussian")
    views = beta_vae.make_views(batch, rng)
    assert torch.equal(beta_vae(views).total, vae(views).total)


def test_a_larger_beta_gives_a_smaller_kl_and_a_huge_one_collapses(
    make: Any, data: DataSpec, digits: Tensor, rng: torch.Generator
) -> None:
    last = {}
    for beta in (1.0, 4.0, 1000.0):
        losses = train(make(BetaVAE, data, beta=beta, width=8), digits[:64], rng)
        assert losses[-1].total < losses[0].total
        last[beta] = losses[-1]
    assert last[1.0].parts["kl"] > last[4.0].parts["kl"] + 1 > last[1000.0].parts["kl"] + 1
    assert last[1.0].parts["active_units"] >= 2
    assert last[1000.0].parts["active_units"] < last[1000.0].floors["active_units"]


def test_latents_are_means_and_samples_are_images(
    make: Any, data: DataSpec, images: Tensor, rng: torch.Generator
) -> None:
    method = make(BetaVAE, data, width=4).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["latent"], method.model.mean(embedded["features"]))
    assert method.decode(embedded["latent"]).shape == images.shape
    for like in (None, embedded["latent"]):
        sampled = method.sample(5, rng, like)
        assert sampled.shape == (5, 1, 8, 8)
        assert 0 <= sampled.min() <= sampled.max() <= 1
    assert method.log_likelihood(images, 3, rng).shape == (96,)
    assert issubclass(BetaVAE, Generative)
    assert issubclass(BetaVAE, PosteriorSampling)
    draws = method.sample_posterior(images, torch.Generator().manual_seed(0))
    noise = torch.randn(draws.shape, generator=torch.Generator().manual_seed(0))
    mean, deviation = method.model.posterior(embedded["features"])
    assert torch.allclose(draws, mean + deviation * noise)


def test_the_state_dict_restores_the_latents(make: Any, data: DataSpec, images: Tensor) -> None:
    method, loaded = (make(BetaVAE, data, width=4, seed=s).eval() for s in (0, 1))
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(method.embed(images)["latent"], loaded.embed(images)["latent"])


@pytest.mark.parametrize("values", [{"beta": -1.0}, {"beta": float("inf")}, {"latent_dim": 0}, {"width": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        BetaVAEConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    assert "reads images" in str(BetaVAE.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), BetaVAEConfig()))


@pytest.mark.parametrize(("likelihood", "kind"), [("gaussian", "levels"), ("bernoulli", "binary")])
def test_the_likelihood_says_what_it_is_of(make: Any, data: DataSpec, likelihood: str, kind: str) -> None:
    assert make(BetaVAE, data, width=4, likelihood=likelihood).likelihood_of() == kind
