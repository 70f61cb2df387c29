"""Images of a generative method whose brightness tells the latents."""

import pytest
import torch
from torch import Tensor

from bench_core.errors import BenchError
from bench_evaluators.generation.samples import BATCH, decode, draw_by_cluster, draw_samples

CPU = torch.device("cpu")


class Flat:
    """Method whose images are as bright as their latent; samples are near the mean of `like`, or near 1/2."""

    def decode(self, latents: Tensor) -> Tensor:
        assert len(latents) <= BATCH
        return latents[:, :1, None, None].expand(-1, 1, 8, 8)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        mean = 0.5 if like is None else float(like.mean())
        return self.decode(mean + 0.01 * torch.rand(n, 1, generator=rng))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_images_are_rounded_to_256_levels_and_kept_in_range() -> None:
    images = decode(Flat(), torch.tensor([[-0.2], [0.0], [0.4999], [1.0], [1.5]]), CPU)
    assert images.dtype == torch.uint8
    assert images[:, 0, 0, 0].tolist() == [0, 0, 127, 255, 255]


def test_many_images_are_made_in_batches() -> None:
    assert draw_samples(Flat(), 2 * BATCH + 3, rng()).shape == (2 * BATCH + 3, 1, 8, 8)
    latents = torch.linspace(0, 1, BATCH + 2)[:, None]
    assert torch.equal(decode(Flat(), latents, CPU)[-2:], decode(Flat(), latents[-2:], CPU))


def test_clusters_keep_their_shares_and_their_latents() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [3] * 10)  # none in cluster 2
    latents = torch.tensor([0.1, 0.4, 0.0, 0.8])[labels][:, None]
    samples = draw_by_cluster(Flat(), latents, labels, 50, rng(), per_row=8, law="own")
    assert samples.clusters.bincount().tolist() == [30, 15, 0, 5]
    levels = samples.images[:, 0, 0, 0].float() / 255
    assert torch.allclose(levels, torch.tensor([0.1, 0.4, 0.0, 0.8])[samples.clusters], atol=0.015)
    assert not torch.equal(samples.clusters, samples.clusters.sort().values), "they are in random order"
    assert torch.allclose(samples.rows[::8, 0, 0, 0].float() / 255, torch.tensor([0.1, 0.4, 0.8]), atol=0.015)
    assert len(samples.rows) == 24


def test_one_gaussian_for_each_cluster_is_a_law_that_no_method_chooses() -> None:
    draws = torch.randn(4000, 1, generator=rng())
    labels = torch.arange(4000) % 2
    latents = torch.where(labels[:, None] == 0, 0.3 + 0.02 * draws, 0.7 + 0.05 * draws)
    samples = draw_by_cluster(Flat(), latents, labels, 4000, rng(), per_row=1, law="gaussian")
    levels = samples.images[:, 0, 0, 0].float() / 255
    for cluster, mean, deviation in ((0, 0.3, 0.02), (1, 0.7, 0.05)):
        own = levels[samples.clusters == cluster]
        assert own.mean().item() == pytest.approx(mean, abs=0.005)
        assert own.std().item() == pytest.approx(deviation, rel=0.1)


def test_shares_that_do_not_divide_evenly_still_give_n_images() -> None:
    labels = torch.arange(7) % 3
    samples = draw_by_cluster(Flat(), torch.rand(7, 1), labels, 101, rng(), per_row=1, law="own")
    assert len(samples.images) == len(samples.clusters) == 101
    shares = samples.clusters.bincount() - 101 * labels.bincount() / 7
    assert float(shares.abs().max()) < 1


def test_the_same_generator_makes_the_same_images() -> None:
    assert torch.equal(draw_samples(Flat(), 20, rng()), draw_samples(Flat(), 20, rng()))


def test_images_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BenchError, match="not finite; its training has diverged"):
        decode(Flat(), torch.tensor([[0.5], [torch.nan]]), CPU)
