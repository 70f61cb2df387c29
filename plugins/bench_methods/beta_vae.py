"""beta-VAE: a VAE that pays more for its code, so that few and independent coordinates of it are used.

Paper: Higgins et al., ICLR 2017, https://openreview.net/forum?id=Sy2fzU9gl
Code:  https://github.com/google-research/disentanglement_lib (86a644d)
Note:  settings follow the code, which is not the authors'. The encoder is the one under study and the decoder ours
       (`conv_decoder`), as for `vae`. The reconstruction is summed over an image's values: a mean over pixels would
       multiply beta by their number. Grey values are chances of binary pixels, as in the code.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, param
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.variational import LatentModel, LatentViews, gaussian_kl
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig:
    """Defaults are those of the code's study, with one of its six beta."""

    beta: float = param(4.0, "weight of the KL, >= 0; 1 is a VAE", "ours: of the code's 1, 2, 4, 6, 8, 16")
    latent_dim: int = param(10, "coordinates of the code", "code, shared.gin")
    likelihood: Literal["gaussian", "bernoulli"] = param(
        "bernoulli", "'bernoulli', or 'gaussian' of 256 levels", "code, shared.gin"
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here")
    augmentation: str = param("none", "preset of the images that are encoded and decoded", "code: none")

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta must be >= 0, got {self.beta}")
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim must be >= 1, got {self.latent_dim}")
        if self.width < 1:
            raise ValueError(f"width must be >= 1, got {self.width}")
        check_preset(self.augmentation)


class BetaVAE(Objective):
    """The encoder under study, heads for the posterior's mean and deviation, a decoder."""

    Config = BetaVAEConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, schedule="constant", epochs=384, batch_size=64)
    recipe_source = "code, shared.gin; its 300,000 steps are 384 epochs of 50,000 images"

    def __init__(self, encoder: Encoder, data: DataSpec, config: BetaVAEConfig) -> None:
        """Add the heads and the decoder."""
        super().__init__(encoder, data, config)
        self.beta = config.beta
        self.augmentation = preset(config.augmentation, data)
        self.model = LatentModel(encoder.dim, data.shape, config.latent_dim, config.likelihood, config.width)

    def make_views(self, batch: Batch, rng: torch.Generator) -> LatentViews:
        """The images (N, C, H, W) and the noise (N, P) of the reparametrisation."""
        return self.model.views(augment(batch.inputs, rng, self.augmentation), rng)

    def forward(self, views: LatentViews, player: str = "main") -> Loss:
        """Reconstruction and weighted KL in nats; `elbo` has weight 1. Without an active unit it has collapsed."""
        posterior = self.model.posterior(self.encoder(views.images))
        conditional = self.model.conditional(views.images, posterior.mean + posterior.deviation * views.noise)
        kl = gaussian_kl(posterior)
        total = (self.beta * kl - conditional).mean()
        parts = self.model.parts(posterior, conditional, kl, views.images[0].numel())
        return Loss(total, parts, floors={"active_units": 1.0})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `latent` (N, P), the posterior's means."""
        features = self.encoder(inputs)
        return {"features": features, "latent": self.model.posterior(features).mean}

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1]."""
        return self.model.decode(latents)

    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents from the prior, or from one Gaussian fitted to `like` (M, P)."""
        return self.model.sample(n, rng, like)

    def log_likelihood(self, inputs: Tensor, samples: int, rng: torch.Generator) -> Tensor:
        """Importance-weighted bound (N,) in nats on the log-likelihood of images, of this many draws each."""
        return self.model.log_likelihood(inputs, self.encoder(inputs), samples, rng)

    def divergence(self, inputs: Tensor) -> Tensor:
        """KL (N,) in nats between the posterior of images and the prior."""
        return gaussian_kl(self.model.posterior(self.encoder(inputs)))

    def likelihood_of(self) -> Literal["levels", "binary"]:
        """Images of 256 levels for a Gaussian, binary ones for a Bernoulli."""
        return "levels" if self.model.likelihood == "gaussian" else "binary"

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BetaVAEConfig) -> str | None:
        """Images that the decoder can make."""
        return decoder_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"beta_vae": BetaVAE}
