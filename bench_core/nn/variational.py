"""Parts of variational auto-encoders: posterior, likelihoods of images, bounds on them.

Paper: Kingma and Welling, ICLR 2014, https://arxiv.org/abs/1312.6114; the importance-weighted bound is that of Burda,
       Grosse, Salakhutdinov, ICLR 2016, https://arxiv.org/abs/1509.00519, and so is the count of active units.

Shapes: N images, C channels, H x W pixels, D features, P latents, K samples. All likelihoods are in nats, summed
over an image's values; latents have the prior N(0, I).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.contracts import Encoder
from bench_core.nn.decoders import conv_decoder
from bench_core.nn.latent_sampling import gaussian_like

Likelihood = Literal["gaussian", "bernoulli"]

_MIN_DEVIATION = 1e-4  # standard deviation of a latent; its logarithm, in the KL, stays finite
_FIRST_SCALE = 0.3  # standard deviation of a pixel at the start: about that of an image's values (ours)
_MIN_SCALE = 1e-3  # a quarter of a level's width: almost all mass of such a Gaussian is on its level
_FAR = 1e4  # width of the outermost bins, in standard deviations


class LatentViews(NamedTuple):
    """Images of a batch and the noise of their latents.

    Attributes:
        images: (N, C, H, W), encoded and to be reconstructed.
        noise: (N, P), standard normal.
    """

    images: Tensor
    noise: Tensor


class Posterior(NamedTuple):
    """Posterior q(z | x) of each image: normal with independent coordinates.

    Attributes:
        mean: (N, P).
        deviation: (N, P), standard deviation.
    """

    mean: Tensor
    deviation: Tensor


class LatentModel(nn.Module):
    """The parts of a variational auto-encoder beside its encoder: posterior heads and a convolutional decoder.

    Bernoulli likelihood: the decoder returns logits. Gaussian likelihood: the decoder returns the mean minus 1/2, and
    one learned number is the scale of all pixels. The mean is not limited to [0, 1]: black and white have the tails of
    the Gaussian, and get probability 1 only from a mean far outside.
    """

    log_scale: nn.Parameter | None

    def __init__(self, dim: int, shape: tuple[int, ...], latent_dim: int, likelihood: Likelihood, width: int) -> None:
        """Build heads and decoder with fresh weights.

        Args:
            dim: D, width of the features.
            shape: (C, H, W) of an image.
            latent_dim: P.
            likelihood: Likelihood of a pixel.
            width: Channels before the decoder's last stage, as in `conv_decoder`.
        """
        super().__init__()
        self.latent_dim, self.likelihood = latent_dim, likelihood
        self.mean, self.deviation = nn.Linear(dim, latent_dim), nn.Linear(dim, latent_dim)
        self.decoder = conv_decoder(latent_dim, shape, width)
        scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE))) if likelihood == "gaussian" else None
        self.register_parameter("log_scale", scale)

    def views(self, images: Tensor, rng: torch.Generator) -> LatentViews:
        """Draw the noise of the latents of images (N, C, H, W)."""
        noise = torch.randn(len(images), self.latent_dim, generator=rng, device=images.device)
        return LatentViews(images, noise)

    def posterior(self, features: Tensor) -> Posterior:
        """Return the posterior of features (N, D); the deviation is a softplus, which keeps its gradient."""
        deviation = F.softplus(self.deviation(features).float()) + _MIN_DEVIATION
        return Posterior(self.mean(features).float(), deviation)

    @torch.no_grad()
    def sample_posterior(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Draw one latent (N, P) for features (N, D) from the posterior of each; rng is on their device."""
        mean, deviation = self.posterior(features)
        return mean + deviation * torch.randn(mean.shape, generator=rng, device=mean.device)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P) to images (N, C, H, W) in [0, 1]: the mean of the likelihood, clamped to the range."""
        values: Tensor = self.decoder(latents).float()
        return values.sigmoid() if self.log_scale is None else (0.5 + values).clamp(0.0, 1.0)

    def conditional(self, images: Tensor, latents: Tensor) -> Tensor:
        """Return the log-likelihood (N,) of images (N, C, H, W) in [0, 1] given latents (N, P).

        Gaussian: the likelihood of images with 256 levels. Bernoulli: the mean over binary images in which a pixel is
        on with a probability equal to its grey value; a cross-entropy with grey values as targets computes this mean.
        """
        values = self.decoder(latents).float()
        if self.log_scale is None:
            return -F.binary_cross_entropy_with_logits(values, images, reduction="none").flatten(1).sum(1)
        scale = self.log_scale.exp() + _MIN_SCALE
        return discretised_gaussian(images, 0.5 + values, scale).flatten(1).sum(1)

    @torch.no_grad()
    def parts(self, posterior: Posterior, conditional: Tensor, kl: Tensor, values: int) -> dict[str, Tensor]:
        """Return numbers for the log: means of the ELBO (with weight 1) and its two parts in nats, bits, active units.

        Args:
            posterior: Posterior whose active units are counted.
            conditional: (N,), from `conditional`.
            kl: (N,), from `gaussian_kl`.
            values: C * H * W, values of an image. The bits for each value are called `bits_per_dim` for 8-bit images
                and `bits_per_binary_value` for binary ones.
        """
        elbo = (conditional - kl).mean()
        bits = "bits_per_dim" if self.likelihood == "gaussian" else "bits_per_binary_value"
        return {
            "elbo": elbo,
            "kl": kl.mean(),
            "reconstruction": -conditional.mean(),
            bits: -elbo / (values * math.log(2)),
            "active_units": active_units(posterior.mean),
        }

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Decode n latents drawn from the prior, or from one Gaussian fitted to `like` (M, P): (n, C, H, W)."""
        if like is not None:
            return self.decode(gaussian_like(like, n, rng))
        device = self.mean.weight.device
        return self.decode(torch.randn(n, self.latent_dim, generator=rng, device=device))

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, features: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Return the importance-weighted bound (N,) for images with these features, by `samples` draws each.

        With a Bernoulli likelihood the bound is for binary images, which are drawn from the grey ones.
        """
        if self.likelihood == "bernoulli":
            images = torch.bernoulli(images, generator=rng)
        return log_likelihood(lambda z: self.conditional(images, z), self.posterior(features), samples, rng)


class ImagesByLatents:
    """Embedding, samples and likelihoods of a method that trains an encoder with a LatentModel.

    A method derives from it beside `Objective`, and so has the capabilities Generative, LatentVariable and
    PosteriorSampling. Its `__init__` sets `model`.

    Attributes:
        encoder: Encoder of images, (N, C, H, W) -> (N, D).
        model: The parts beside it.
    """

    encoder: Encoder
    model: LatentModel

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `latent` (N, P), the means of the posterior."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.model.posterior(features).mean}

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P) to images (N, C, H, W) in [0, 1]."""
        return self.model.decode(latents)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Draw n images (n, C, H, W), with latents from the prior or from one Gaussian fitted to `like` (M, P)."""
        return self.model.sample(n, rng, like)

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Return the importance-weighted bound (N,) in nats on the log-likelihood, of `samples` draws an image."""
        return self.model.log_likelihood(inputs, self.encoder(inputs), samples, rng)

    def sample_posterior(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
        """Draw one latent (N, P) of each image from its posterior."""
        return self.model.sample_posterior(self.encoder(inputs), rng)

    def divergence(self, inputs: Tensor) -> Tensor:
        """Return the KL divergence (N,) in nats of each image's posterior from the prior."""
        return gaussian_kl(self.model.posterior(self.encoder(inputs)))

    def likelihood_of(self) -> Literal["levels", "binary"]:
        """Return the kind of images that the likelihood is of: 256 levels for `gaussian`, binary for `bernoulli`."""
        return "levels" if self.model.likelihood == "gaussian" else "binary"


def gaussian_kl(posterior: Posterior) -> Tensor:
    """Return KL(q(z | x) || N(0, I)), summed over latents: (N,) in nats."""
    mean, deviation = posterior
    return (0.5 * (mean.square() + deviation.square() - 1) - deviation.log()).sum(1)


def discretised_gaussian(images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return the log-probability of the level of each value: a normal density integrated over the level's bin.

    The bins of the lowest and the highest level hold the tails, so that the 256 probabilities sum to 1. Divided by
    log 2, nats are bits.

    Args:
        images: Any shape, in [0, 1]; rounded to the nearest of 256 levels.
        mean: The same shape, any real numbers.
        scale: Standard deviation > 0, broadcast.

    Returns:
        The same shape, in nats.
    """
    level = (255 * images).round()
    z, half = (level / 255 - mean) / scale, 0.5 / 255 / scale
    lower = torch.where(level > 0, z - half, z - _FAR)
    upper = torch.where(level < 255, z + half, z + _FAR)
    right = lower + upper > 0  # both CDFs may be near 1 there: subtract them in the mirrored tail
    high: Tensor = torch.special.log_ndtr(torch.where(right, -lower, upper))
    low: Tensor = torch.special.log_ndtr(torch.where(right, -upper, lower))
    return high + (-torch.expm1(low - high)).log()


@torch.no_grad()
def active_units(means: Tensor, threshold: float = 0.01) -> Tensor:
    """Return the number () of latents whose posterior means (N, P) have a variance over images above the threshold."""
    return (means.float().var(0, correction=0) > threshold).sum().float()


@torch.no_grad()
def log_likelihood(
    conditional: Callable[[Tensor], Tensor], posterior: Posterior, samples: int, rng: torch.Generator
) -> Tensor:
    """Return the importance-weighted lower bound on log p(x).

    It is the log of the mean of p(x | z) p(z) / q(z | x) over K draws of z from q.

    Args:
        conditional: Function from latents (N, P) to log p(x | z) of each image, (N,).
        posterior: q(z | x), (N, P).
        samples: K; with 1 it is an estimate of the ELBO. The expected bound rises with K.
        rng: Generator on the device of the posterior.

    Returns:
        (N,) in nats.
    """
    if samples < 1:
        raise ValueError(f"samples must be >= 1, got {samples}")
    mean, deviation = posterior
    weights = []
    for _ in range(samples):
        noise = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
        latents = mean + deviation * noise
        ratio = 0.5 * (noise.square() - latents.square()) + deviation.log()  # log p(z) - log q(z | x)
        weights.append(conditional(latents) + ratio.sum(1))
    return torch.logsumexp(torch.stack(weights), 0) - math.log(samples)
