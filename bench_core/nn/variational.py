"""What variational auto-encoders share: posterior, likelihoods of images, bounds.

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

from bench_core.nn.decoders import conv_decoder
from bench_core.nn.latent_sampling import gaussian_like

Likelihood = Literal["gaussian", "bernoulli"]

_LEAST_DEVIATION = 1e-4  # of a latent: its logarithm, in the KL, stays finite
_FIRST_SCALE = 0.3  # of a pixel, about the deviation of an image's values (ours)
_LEAST_SCALE = (
    1e-3  # of a pixel, a quarter of a level's width: the mass of a Gaussian on its level is then all but whole
)
_FAR = 1e4  # deviations: the width of the outermost bins


class LatentViews(NamedTuple):
    """Images (N, C, H, W) that are encoded and decoded, and the standard normal noise (N, P) of their latents."""

    images: Tensor
    noise: Tensor


class Posterior(NamedTuple):
    """q(z | x) of each image: normal with independent coordinates, mean and standard deviation (N, P)."""

    mean: Tensor
    deviation: Tensor


class LatentModel(nn.Module):
    """Both halves of a variational auto-encoder around an encoder: posterior heads and a convolutional decoder.

    Bernoulli: the decoder's values are logits. Gaussian: they are its mean less 1/2; its scale is one learned number.
    The mean is not kept within [0, 1]: black and white have the tails, and are certain only if it lies far outside.
    """

    log_scale: nn.Parameter | None

    def __init__(self, dim: int, shape: tuple[int, ...], latent_dim: int, likelihood: Likelihood, width: int) -> None:
        """Fresh heads and decoder.

        Args:
            dim: D, of the features.
            shape: (C, H, W) of an image.
            latent_dim: P.
            likelihood: Of a pixel.
            width: Of the decoder's last stage but one (`conv_decoder`).
        """
        super().__init__()
        self.latent_dim, self.likelihood = latent_dim, likelihood
        self.mean, self.deviation = nn.Linear(dim, latent_dim), nn.Linear(dim, latent_dim)
        self.decoder = conv_decoder(latent_dim, shape, width)
        scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE))) if likelihood == "gaussian" else None
        self.register_parameter("log_scale", scale)

    def views(self, images: Tensor, rng: torch.Generator) -> LatentViews:
        """Draw the noise of images (N, C, H, W)."""
        noise = torch.randn(len(images), self.latent_dim, generator=rng, device=images.device)
        return LatentViews(images, noise)

    def posterior(self, features: Tensor) -> Posterior:
        """(N, D) -> mean, and deviation as a softplus, which neither overflows nor loses its gradient."""
        deviation = F.softplus(self.deviation(features).float()) + _LEAST_DEVIATION
        return Posterior(self.mean(features).float(), deviation)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1]: the likelihood's mean, cut to the range."""
        values: Tensor = self.decoder(latents).float()
        return values.sigmoid() if self.log_scale is None else (0.5 + values).clamp(0.0, 1.0)

    def conditional(self, images: Tensor, latents: Tensor) -> Tensor:
        """Log-likelihood (N,) of images (N, C, H, W) in [0, 1] given latents (N, P).

        Gaussian: of images with 256 levels. Bernoulli: the mean over binary images whose pixels are on with the chance
        that the grey value is, which is what grey values as targets of a cross-entropy amount to.
        """
        values = self.decoder(latents).float()
        if self.log_scale is None:
            return -F.binary_cross_entropy_with_logits(values, images, reduction="none").flatten(1).sum(1)
        scale = self.log_scale.exp() + _LEAST_SCALE
        return discretised_gaussian(images, 0.5 + values, scale).flatten(1).sum(1)

    @torch.no_grad()
    def parts(self, posterior: Posterior, conditional: Tensor, kl: Tensor, values: int) -> dict[str, Tensor]:
        """For the log: means over images of the ELBO (with weight 1) and its two parts, in nats; bits; active units.

        Args:
            posterior: Its means are counted.
            conditional: (N,) as returned above.
            kl: (N,).
            values: C * H * W. Bits for each are named for what they are: `bits_per_dim` of 8-bit images,
                `bits_per_binary_value` else.
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
        """Images (n, C, H, W) of latents from the prior, or from one Gaussian fitted to those of `like` (M, P)."""
        if like is not None:
            return self.decode(gaussian_like(like, n, rng))
        device = self.mean.weight.device
        return self.decode(torch.randn(n, self.latent_dim, generator=rng, device=device))

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, features: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Importance-weighted bound (N,) for images with these features; Bernoulli: binary ones drawn from them."""
        if self.likelihood == "bernoulli":
            images = torch.bernoulli(images, generator=rng)
        return log_likelihood(lambda z: self.conditional(images, z), self.posterior(features), samples, rng)


def gaussian_kl(posterior: Posterior) -> Tensor:
    """KL(q(z | x) || N(0, I)), summed over latents: (N,) in nats."""
    mean, deviation = posterior
    return (0.5 * (mean.square() + deviation.square() - 1) - deviation.log()).sum(1)


def discretised_gaussian(images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Log-probability of the level of each value: a normal density integrated over the level's bin.

    The lowest and the highest level have the tails, so that the 256 chances add up to 1, and nats / log 2 are bits.

    Args:
        images: Any shape, in [0, 1]; taken to the nearest of 256 levels.
        mean: The same shape, any real numbers.
        scale: Standard deviation > 0, broadcast.

    Returns:
        The same shape, in nats.
    """
    level = (255 * images).round()
    z, half = (level / 255 - mean) / scale, 0.5 / 255 / scale
    lower = torch.where(level > 0, z - half, z - _FAR)
    upper = torch.where(level < 255, z + half, z + _FAR)
    right = lower + upper > 0  # there both chances are near 1: the difference is taken in the mirrored tail
    high: Tensor = torch.special.log_ndtr(torch.where(right, -lower, upper))
    low: Tensor = torch.special.log_ndtr(torch.where(right, -upper, lower))
    return high + (-torch.expm1(low - high)).log()


@torch.no_grad()
def active_units(means: Tensor, threshold: float = 0.01) -> Tensor:
    """How many () of the posterior means (N, P) vary over images by more than the threshold."""
    return (means.float().var(0, correction=0) > threshold).sum().float()


@torch.no_grad()
def log_likelihood(
    conditional: Callable[[Tensor], Tensor], posterior: Posterior, samples: int, rng: torch.Generator
) -> Tensor:
    """Importance-weighted lower bound on log p(x): log of the mean of p(x | z) p(z) / q(z | x) over K draws of q.

    Args:
        conditional: Latents (N, P) -> log p(x | z) of each image, (N,).
        posterior: q(z | x), (N, P).
        samples: K; 1 is an estimate of the ELBO, and in the mean the bound rises with K.
        rng: On the device.

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
