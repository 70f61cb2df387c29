"""What only some methods can do: small protocols that evaluators ask for with `issubclass`; no flags.

Shapes: N items, C channels, H x W pixels, P latents, T heads.
"""

from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

PriorName = Literal["gaussian", "uniform", "laplace", "exponential", "cauchy"]


@runtime_checkable
class Generative(Protocol):
    """A method with a decoder (VAE, U-CTRL, BiGAN). Its `embed` gives `latent` (N, P), which `decode` reads."""

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P), rows of the embedding `latent` -> images (N, C, H, W) in [0, 1]; in eval mode."""

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) in [0, 1] of latents that the method draws.

        Args:
            n: How many.
            rng: On the method's device.
            like: (M, P) latents to draw more of, one cluster's for cluster-conditional samples; None draws from the
                method's own distribution of latents: its prior, or what it kept of the train split.
        """


@runtime_checkable
class LatentVariable(Protocol):
    """A model p(x | z) p(z) with a posterior q(z | x) (VAE), whose means `embed` gives as `latent` (N, P)."""

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Importance-weighted bound (N,) in nats on the log-likelihood; of one sample an estimate of the ELBO."""

    def divergence(self, inputs: Tensor) -> Tensor:
        """KL(q(z | x) || p(z)) of each input, (N,) in nats."""

    def likelihood_of(self) -> Literal["levels", "binary"]:
        """What it is the likelihood of: images of 256 levels, or binary images drawn from the grey ones."""


@runtime_checkable
class Clustering(Protocol):
    """A method that puts items into clusters of its own (SeLa, U-CTRL)."""

    def assign(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> labels (T, N) int64, one row a head; in eval mode."""


@runtime_checkable
class Matching(Protocol):
    """A method whose embedding is trained to follow a prior, coordinate by coordinate (noisy DIM)."""

    def matched_prior(self) -> PriorName:
        """The prior that the embedding `embedding` follows."""


@runtime_checkable
class NoisyChannel(Protocol):
    """A method that sends its embedding through a noisy channel, and estimates what arrives (noisy DIM)."""

    def capacity(self) -> float:
        """The most that any embedding can send, in nats; infinite where there is no noise."""

    def information(self, views: Any) -> Tensor:
        """Estimated lower bound () of what was sent, in nats, from what `make_views` gives.

        In eval mode, on items that were not trained on, it is an honest one.
        """
