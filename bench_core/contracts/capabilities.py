"""Protocols for what only some methods or encoders can do. A task tests with `issubclass`, so methods set no flags.

    class Samples(Evaluator):
        def skip_reason(self, data, objective):
            return None if issubclass(objective, Generative) else "generates no images"

Shapes: N items, C channels, H x W pixels, P latents, T heads.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from bench_core.contracts.dataset import Split

PriorName = Literal["gaussian", "uniform", "laplace", "exponential", "cauchy"]


@runtime_checkable
class Generative(Protocol):
    """A method with a decoder (VAE, U-CTRL, BiGAN); its `embed` returns `latent` (N, P), which `decode` reads.

    Items are images (N, C, H, W) in [0, 1], or vectors (N, D) where the method was trained on vectors.
    """

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P), rows of the embedding `latent`, to items; in eval mode."""

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Generate n items from latents that the method draws; in eval mode.

        Args:
            n: Number of images.
            rng: Generator on the method's device.
            like: Latents (M, P) whose distribution to draw from, for example those of one cluster. None draws from
                the method's own distribution of latents: its prior, or a fit to the train split.
        """


@runtime_checkable
class LatentVariable(Protocol):
    """A model p(x | z) p(z) with a posterior q(z | x) (VAE); its `embed` returns posterior means as `latent` (N, P)."""

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Estimate the importance-weighted bound (N,) on the log-likelihood, in nats; one sample estimates the ELBO."""

    def divergence(self, inputs: Tensor) -> Tensor:
        """Return KL(q(z | x) || p(z)) of each input, (N,) in nats."""

    def likelihood_of(self) -> Literal["levels", "binary"]:
        """Return which data the likelihood is of: images of 256 levels, or binary images drawn from the grey ones."""


@runtime_checkable
class PosteriorSampling(Protocol):
    """A method with a posterior q(z | x), from which it draws (VAE); its `embed` returns the means as `latent`.

    A prior is matched by the draws of all items together, not by the means: a VAE whose posterior is the prior for
    every image matches it perfectly, and all its means are 0.
    """

    def sample_posterior(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Draw one latent of each input from its posterior, (N, P); in eval mode, rng is on the method's device."""


@runtime_checkable
class Clustering(Protocol):
    """A method that assigns items to its own clusters (SeLa, U-CTRL)."""

    def assign(self, inputs: Tensor) -> Tensor:
        """Assign images (N, C, H, W) in [0, 1] to clusters: labels (T, N) int64, one row per head; in eval mode."""


@runtime_checkable
class Sampling(Protocol):
    """A method that draws new items but has no encoder from items to latents, so it reconstructs nothing (GAN)."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Generate n items, images (n, C, H, W) in [0, 1] or vectors (n, D), from latents of the prior; in eval mode.

        Args:
            n: Number of items.
            rng: Generator on the method's device.
        """


@runtime_checkable
class OutlierScoring(Protocol):
    """A method with a score of its own for how unlike the train items an item is (BiGAN)."""

    def outlier_score(self, inputs: Any) -> Tensor:
        """Return a score (N,) of each item, higher for items unlike those of the train split; in eval mode."""


@runtime_checkable
class FactorSubspaces(Protocol):
    """A method whose `latent` (N, P) has a subspace of its own for each of some factors (CMI)."""

    def subspaces(self) -> Mapping[str, slice]:
        """Return the columns of `latent` that belong to each factor, by the names of `DataSpec.factors`."""


@runtime_checkable
class Matching(Protocol):
    """A method whose embedding is trained to follow a prior, coordinate by coordinate (noisy DIM)."""

    def matched_prior(self) -> PriorName:
        """Return the prior that each coordinate of the embedding `embedding` is trained to follow."""


@runtime_checkable
class NoisyChannel(Protocol):
    """A method that sends its embedding through a noisy channel and estimates the information that arrives."""

    def capacity(self) -> float:
        """Return the largest information that any embedding can send, in nats; infinite without noise."""

    def information(self, views: Any) -> Tensor:
        """Estimate a lower bound () on the information that was sent, in nats, from the result of `make_views`.

        The bound is valid for items that were not trained on, in eval mode.
        """


@runtime_checkable
class CrossModal(Protocol):
    """A method of pairs that embeds each modality without the other, in one space; its `embed` returns both.

    The names in `embed` are `first` (N, P) and `second` (N, P), in the order of `DataSpec.modalities`.
    """

    def embed_first(self, inputs: Any) -> Tensor:
        """Embed items of the first modality as (N, P); in eval mode."""

    def embed_second(self, inputs: Any) -> Tensor:
        """Embed items of the second modality as (N, P); in eval mode."""


@runtime_checkable
class Translating(Protocol):
    """A method of pairs that makes each modality from the other, such as a photograph from a sketch."""

    def to_first(self, second: Any, rng: torch.Generator) -> Tensor:
        """Make the first modality of each item (N, ...) of the second; images are in [0, 1]; in eval mode.

        Args:
            second: Items of the second modality.
            rng: Generator on the method's device, for what the second modality does not determine.
        """

    def to_second(self, first: Any, rng: torch.Generator) -> Tensor:
        """Make the second modality of each item (N, ...) of the first; images are in [0, 1]; in eval mode."""


@runtime_checkable
class PairGenerative(Protocol):
    """A method of pairs that draws new pairs, both modalities together."""

    def sample_pairs(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n items of the first modality (n, ...) and their partners (n, ...); images are in [0, 1]."""


@runtime_checkable
class StoredFeatures(Protocol):
    """An encoder whose features of each item another program has computed; it cannot encode anything else."""

    def stored(self, split: str) -> Split:
        """Return the features (N, D) float32 of a split as its inputs, in the order of the items.

        Labels are those that came with the features, or None; they are compared with the dataset's.

        Raises:
            RequestError: There are none of this split; the message says which there are.
        """
