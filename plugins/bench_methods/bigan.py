"""BiGAN: the encoder that inverts a GAN's generator, found by a game in which a discriminator reads image and latent.

Papers: Donahue, Krähenbühl, Darrell, ICLR 2017, https://arxiv.org/abs/1605.09782 (BiGAN); Dumoulin et al., ICLR 2017,
        https://arxiv.org/abs/1606.00704 (ALI, the same game); Donahue and Simonyan, NeurIPS 2019,
        https://arxiv.org/abs/1907.02544 (BigBiGAN, the variant `unary`); Zenati et al., 2018,
        https://arxiv.org/abs/1802.06222 (the score of outliers)
Code:   https://github.com/jeffdonahue/bigan/blob/3b58b18/train_gan.py,
        https://github.com/houssamzenati/Efficient-GAN-Anomaly-Detection/blob/8e62c36/bigan/run_mnist.py (the score)
Note:   Any encoder, with a linear layer to the latent, and a convolutional generator (`conv_decoder`); the code's
        networks for MNIST are linear layers. Latents are normal, as in the later papers; the code's are uniform in
        [-1, 1]. The players move in turn; the code moves both at once. The discriminator has no batch norm, so that the
        score of a pair does not depend on the batch. BigBiGAN's encoder draws its latent; ours is a function, as
        BiGAN's. The score of outliers reads the pair of image and latent, as the paper says; its code reads the pair of
        reconstruction and latent.

Shapes: N images, C channels, H x W pixels, D features, P latents, S scores of a pair: 1, or 3 with unary ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    Loss,
    Objective,
    Player,
    Recipe,
    Variant,
    hookimpl,
    param,
    uniform,
)
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.latent_sampling import gaussian_like

_SLOPE = 0.2  # of leaky ReLU below 0, as in DCGAN
_RECONSTRUCTION = 0.9  # weight of the reconstruction in the score of outliers: Zenati et al., main.py, 1 - w


@dataclass(frozen=True, kw_only=True)
class BiGANConfig(Config):
    """Parameters of the game and its networks."""

    latent_dim: int = param(50, "length of the latent, in coordinates", "code, train_mnist.sh", ge=1)
    unary: bool = param(
        False, "let the discriminator also score image and latent by themselves, with hinge losses", "paper: BiGAN"
    )
    noise: float = param(
        0.0,
        "standard deviation of the noise on the images that the discriminator reads",
        "paper: none",
        ge=0,
        tune=uniform(0.0, 0.3),
    )
    width: int = param(
        64, "channels before the generator's last stage, and of the discriminator's first", "ours: as DCGAN", ge=1
    )
    units: int = param(512, "units of the discriminator's linear layers", "ours: CPU; Zenati et al.: 1024", ge=1)


class BiGANViews(NamedTuple):
    """Images of one step, with its random numbers.

    Attributes:
        images: (N, C, H, W) in [0, 1].
        latents: (N, P) latents of the prior.
        noise: (2, N, C, H, W) standard normal noise, for the images and for the generated ones; None without noise.
    """

    images: Tensor
    latents: Tensor
    noise: Tensor | None


class Discriminator(nn.Module):
    """Network that scores pairs of an image and a latent: high for images with their latents from the encoder."""

    def __init__(self, data: DataSpec, latent_dim: int, width: int, units: int, unary: bool) -> None:
        """Build convolutions for images, a linear layer for latents, and layers for both together.

        Args:
            data: The images. Their map is halved as often as the generator doubles it.
            latent_dim: P.
            width: Channels of the first convolution; each further one has twice as many.
            units: Units of the linear layers.
            unary: Also score the image and the latent by themselves.
        """
        super().__init__()
        before, height, side = data.shape
        layers: list[nn.Module] = []
        while min(height, side) >= 8:
            layers += [nn.Conv2d(before, width, 4, 2, padding=1), nn.LeakyReLU(_SLOPE)]
            before, width, height, side = width, 2 * width, height // 2, side // 2
        layers += [nn.Flatten(), nn.Linear(before * height * side, units), nn.LeakyReLU(_SLOPE)]
        self.image = nn.Sequential(*layers)
        self.latent = nn.Sequential(nn.Linear(latent_dim, units), nn.LeakyReLU(_SLOPE))
        self.pair = nn.Sequential(nn.Linear(2 * units, units), nn.LeakyReLU(_SLOPE), nn.Linear(units, 1))
        self.unary = nn.ModuleList([nn.Linear(units, 1), nn.Linear(units, 1)] if unary else [])

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """Return scores (N, S) of pairs, float32: that of the pair, then those of image and latent by themselves.

        Args:
            images: (N, C, H, W).
            latents: (N, P), row by row.
        """
        parts = self.image(images), self.latent(latents)
        scores = [
            self.pair(torch.cat(parts, 1)),
            *(score(part) for score, part in zip(self.unary, parts, strict=False)),
        ]
        return torch.cat(scores, 1).float()


class BiGAN(Objective):
    """Invert a GAN's generator (Donahue 2017).

    Trains the encoder with a linear layer to the latent, and a generator, against a discriminator of pairs: an image
    with its latent, or a generated image with the latent that it was made from. Tasks read `features` and `latent`.
    """

    Config = BiGANConfig
    recipe = Recipe(
        optimizer="adam", learning_rate=2e-4, momentum=0.5, weight_decay=2.5e-5, schedule="constant",
        epochs=400, batch_size=128,
    )  # fmt: skip
    recipe_source = "code, train_mnist.sh and train_gan.py; there the rate falls to a hundredth in the second half"
    variants: ClassVar[Mapping[str, Variant]] = {
        "unary": Variant({"unary": True}, "BigBiGAN, section 2", "BigBiGAN's losses, with scores of image and latent"),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: BiGANConfig) -> None:
        """Add the layer to the latent, generator and discriminator."""
        super().__init__(encoder, data, config)
        self.config = config
        self.head = nn.Linear(encoder.dim, config.latent_dim)
        self.generator = nn.Sequential(conv_decoder(config.latent_dim, data.shape, config.width), nn.Sigmoid())
        self.discriminator = Discriminator(data, config.latent_dim, config.width, config.units, config.unary)

    def players(self) -> list[Player]:
        """Return `discriminator`, and `model`: the encoder with its layer, and the generator."""
        model = [p for name, p in self.named_parameters() if not name.startswith("discriminator.")]
        return [Player("discriminator", list(self.discriminator.parameters())), Player("model", model)]

    def make_views(self, batch: Batch, rng: torch.Generator) -> BiGANViews:
        """Return the images unchanged, with latents of the prior, and with noise where the config asks for it."""
        images = batch.inputs

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, device=rng.device)

        latents = normal(len(images), self.config.latent_dim)
        return BiGANViews(images, latents, normal(2, *images.shape) if self.config.noise > 0 else None)

    def forward(self, views: BiGANViews, player: str = "model") -> Loss:
        """Return the loss of the discriminator, or that of encoder and generator, on the same two kinds of pairs."""
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            latents = self.head(self.encoder(views.images))
            generated = self.generator(views.latents)
        images = views.images
        if views.noise is not None:
            images, generated = (
                x + self.config.noise * n for x, n in zip((images, generated), views.noise, strict=True)
            )
        encoder_scores = self.discriminator(images, latents)
        generator_scores = self.discriminator(generated, views.latents)
        losses = hinge_losses if self.config.unary else cross_entropy_losses
        total = losses(encoder_scores, generator_scores)[0 if player == "discriminator" else 1]
        right = torch.cat([encoder_scores > 0, generator_scores < 0]).float()
        return Loss(total, {"told_apart": right.mean()})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `latent` (N, P)."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.head(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """Generate images (N, C, H, W) in [0, 1] from latents (N, P)."""
        images: Tensor = self.generator(latents)
        return images

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Generate n images, with latents of the prior or of one Gaussian fitted to `like` (M, P)."""
        if like is None:
            return self.decode(torch.randn(n, self.config.latent_dim, generator=rng, device=rng.device))
        return self.decode(gaussian_like(like, n, rng))

    @torch.no_grad()
    def outlier_score(self, inputs: Tensor) -> Tensor:
        """Return the score (N,) of Zenati et al.: error of the reconstruction, and doubt of the discriminator.

        The first is the absolute error summed over pixels, with weight .9; the second is the cross-entropy of taking
        the image and its latent for a pair of the encoder, summed over scores, with weight .1.
        """
        latents = self.head(self.encoder(inputs))
        error = (self.decode(latents) - inputs).abs().flatten(1).sum(1)
        doubt = F.softplus(-self.discriminator(inputs, latents)).sum(1)
        return _RECONSTRUCTION * error + (1 - _RECONSTRUCTION) * doubt

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BiGANConfig) -> str | None:
        """Return a reason unless the data are images of a size that the generator can make."""
        return decoder_skip_reason(data)


def cross_entropy_losses(encoder_scores: Tensor, generator_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return BiGAN's losses: the discriminator's, and the non-saturating one of encoder and generator.

    They are the same cross-entropy with the labels of the two kinds of pairs swapped.

    Args:
        encoder_scores: (N, S) logits of images with their latents from the encoder.
        generator_scores: (N, S) logits of generated images with the latents that they were made from.

    Returns:
        Two scalars (), both 2 log 2 for one score of 0.
    """

    def cross_entropy(high: Tensor, low: Tensor) -> Tensor:
        return F.softplus(-high).sum(1).mean() + F.softplus(low).sum(1).mean()

    return cross_entropy(encoder_scores, generator_scores), cross_entropy(generator_scores, encoder_scores)


def hinge_losses(encoder_scores: Tensor, generator_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return BigBiGAN's losses: the discriminator's hinge loss of each score, and the sum of scores for the others.

    Args:
        encoder_scores: (N, S) scores of images with their latents from the encoder.
        generator_scores: (N, S) scores of generated images with the latents that they were made from.

    Returns:
        Two scalars (): 2 S and 0 if all scores are 0.
    """
    hinge = F.relu(1 - encoder_scores).sum(1).mean() + F.relu(1 + generator_scores).sum(1).mean()
    return hinge, encoder_scores.sum(1).mean() - generator_scores.sum(1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"bigan": BiGAN}
