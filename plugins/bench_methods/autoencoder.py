"""Auto-encoder: a short code of each image, from which a decoder rebuilds the image.

Paper: Hinton and Salakhutdinov, Science 2006, https://doi.org/10.1126/science.1127647
Code:  none followed
Note:  a reference for the VAE: the same networks, without noise and prior; the decoder ends in a sigmoid. There is no
       layer-wise pretraining. An auto-encoder defines no distribution of codes, so `sample` draws from one Gaussian
       fitted to the codes of the train split.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, hookimpl, param
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.latent_sampling import draw_gaussian, fit_gaussian, gaussian_like
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(Config):
    """Parameters of the auto-encoder, with the sizes of the VAE."""

    latent_dim: int = param(64, "length of the code, in coordinates", "ours: as many as `vae` has", ge=1)
    error: Literal["squared", "bernoulli"] = param(
        "squared",
        "error of a value: its squared difference, or 'bernoulli', the cross-entropy with the grey value as chance",
        "ours: usual",
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here", ge=1)
    augmentation: str = param(
        "none", "preset of the images that are encoded and decoded", "ours: as `vae`", choices=PRESET_NAMES
    )


class Autoencoder(Objective):
    """Rebuild images from a short code (Hinton 2006).

    Trains the encoder, a linear layer from features to the code, and a decoder. Tasks read `features` and `latent`, the
    code.
    """

    Config = AutoencoderConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, epochs=100, batch_size=128)
    recipe_source = "ours: as `vae`"
    latent_mean: Tensor  # (P,) mean of the train split's codes
    latent_root: Tensor  # (P, P) root of their covariance

    def __init__(self, encoder: Encoder, data: DataSpec, config: AutoencoderConfig) -> None:
        """Add the linear layer and the decoder."""
        super().__init__(encoder, data, config)
        self.error = config.error
        self.augmentation = preset(config.augmentation, data)
        self.to_latent = nn.Linear(encoder.dim, config.latent_dim)
        self.decoder = conv_decoder(config.latent_dim, data.shape, config.width)
        self.register_buffer("latent_mean", torch.zeros(config.latent_dim))
        self.register_buffer("latent_root", torch.eye(config.latent_dim))

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image once: (N, C, H, W) in [0, 1]."""
        return augment(batch.inputs, rng, self.augmentation)

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the error, summed over an image's values, with the part of the variance that the decoder explains."""
        values = self.decoder(self.to_latent(self.encoder(views))).float()
        total = reconstruction_error(views, values, self.error)
        return Loss(total, {"explained": explained(views, values.sigmoid())}, floors={"explained": 0.05})

    @torch.no_grad()
    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Fit the Gaussian that `sample` draws from to the codes of the train split."""
        self.eval()
        codes = torch.cat([self.to_latent(self.encoder(batch.inputs)) for batch in context.batches()])
        mean, root = fit_gaussian(codes)
        self.latent_mean.copy_(mean)
        self.latent_root.copy_(root)
        return {}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `latent` (N, P), the code."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.to_latent(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents (N, P) to images (N, C, H, W) in [0, 1]."""
        images: Tensor = self.decoder(latents).float().sigmoid()
        return images

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Draw n images (n, C, H, W), with codes from one Gaussian fitted to the train split's or to `like` (M, P)."""
        if like is not None:
            return self.decode(gaussian_like(like, n, rng))
        return self.decode(draw_gaussian(self.latent_mean, self.latent_root, n, rng))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AutoencoderConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


def reconstruction_error(images: Tensor, values: Tensor, error: Literal["squared", "bernoulli"]) -> Tensor:
    """Return the error of sigmoid(values), summed over an image's values.

    Args:
        images: (N, C, H, W) in [0, 1].
        values: (N, C, H, W), any real numbers.
        error: Squared differences, or cross-entropy in nats.

    Returns:
        () mean over images; for values of 0, the sum of (image - 1/2)^2, or C H W log 2.
    """
    if error == "squared":
        return (values.sigmoid() - images).square().flatten(1).sum(1).mean()
    return F.binary_cross_entropy_with_logits(values, images, reduction="none").flatten(1).sum(1).mean()


@torch.no_grad()
def explained(images: Tensor, decoded: Tensor) -> Tensor:
    """Return the part of the batch's variance that decoded images explain, ().

    It is 1 - squared error / squared distance to the batch's mean image: 1 for perfect copies, 0 if every copy is the
    mean image.
    """
    return 1 - (decoded - images).square().sum() / (images - images.mean(0)).square().sum().clamp_min(1e-12)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"autoencoder": Autoencoder}
