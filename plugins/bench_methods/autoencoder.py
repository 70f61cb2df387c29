"""Auto-encoder: a short code of each image, from which a decoder makes the image again.

Paper: Hinton and Salakhutdinov, Science 2006, https://doi.org/10.1126/science.1127647
Code:  none followed
Note:  a reference beside the VAE: the same networks, without noise and prior; a sigmoid ends the decoder. No
       layer-wise pre-training. What it has no law for, `sample` draws from one Gaussian fitted to the codes of the
       train split.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, hookimpl, param
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.latent_sampling import draw_gaussian, fit_gaussian, gaussian_like
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Sizes as the VAE has them."""

    latent_dim: int = param(64, "coordinates of the code", "ours: as many as `vae` has")
    error: Literal["squared", "bernoulli"] = param(
        "squared", "of a value: its square, or the cross-entropy with the grey value as chance", "ours: usual"
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here")
    augmentation: str = param("none", "preset of the images that are encoded and decoded", "ours: as `vae`")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim must be >= 1, got {self.latent_dim}")
        if self.width < 1:
            raise ValueError(f"width must be >= 1, got {self.width}")
        check_preset(self.augmentation)


class Autoencoder(Objective):
    """The encoder under study, a linear layer to the code, a decoder."""

    Config = AutoencoderConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, epochs=100, batch_size=128)
    recipe_source = "ours: as `vae`"
    latent_mean: Tensor
    latent_root: Tensor

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
        """The images (N, C, H, W) in [0, 1]."""
        return augment(batch.inputs, rng, self.augmentation)

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """The error, summed over an image's values; with the part of the variance that the decoder explains."""
        values = self.decoder(self.to_latent(self.encoder(views))).float()
        total = reconstruction_error(views, values, self.error)
        return Loss(total, {"explained": explained(views, values.sigmoid())}, floors={"explained": 0.05})

    @torch.no_grad()
    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Keep mean and covariance of the train split's codes, for `sample`."""
        self.eval()
        codes = torch.cat([self.to_latent(self.encoder(batch.inputs)) for batch in context.batches()])
        mean, root = fit_gaussian(codes)
        self.latent_mean.copy_(mean)
        self.latent_root.copy_(root)
        return {}

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D) and `latent` (N, P), the code."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.to_latent(features)}

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1]."""
        images: Tensor = self.decoder(latents).float().sigmoid()
        return images

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents from one Gaussian, fitted to the train split's codes or to `like` (M, P)."""
        if like is not None:
            return self.decode(gaussian_like(like, n, rng))
        return self.decode(draw_gaussian(self.latent_mean, self.latent_root, n, rng))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AutoencoderConfig) -> str | None:
        """Images that the decoder can make."""
        return decoder_skip_reason(data)


def reconstruction_error(images: Tensor, values: Tensor, error: Literal["squared", "bernoulli"]) -> Tensor:
    """Error of sigmoid(values), summed over an image's values.

    Args:
        images: (N, C, H, W) in [0, 1].
        values: (N, C, H, W), any real numbers.
        error: Squares, or cross-entropy in nats.

    Returns:
        () mean over images; for values of 0, the squares of (image - 1/2), or C H W log 2.
    """
    if error == "squared":
        return (values.sigmoid() - images).square().flatten(1).sum(1).mean()
    return F.binary_cross_entropy_with_logits(values, images, reduction="none").flatten(1).sum(1).mean()


@torch.no_grad()
def explained(images: Tensor, decoded: Tensor) -> Tensor:
    """1 - squared error / squared distance to the batch's mean image: () 1 if perfect, 0 for one image for all."""
    return 1 - (decoded - images).square().sum() / (images - images.mean(0)).square().sum().clamp_min(1e-12)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"autoencoder": Autoencoder}
