"""beta-VAE: a VAE whose KL has a weight above 1, so that it uses few and independent coordinates of the code.

Paper: Higgins et al., ICLR 2017, https://openreview.net/forum?id=Sy2fzU9gl
Code:  https://github.com/google-research/disentanglement_lib (86a644d)
Note:  settings follow the code, which is not by the paper's authors. Any encoder and our decoder (`conv_decoder`) are
       used, as for `vae`. The reconstruction is summed over an image's values: a mean over pixels would multiply beta
       by their number. Grey values are chances of binary pixels, as in the code.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, choice, hookimpl, param
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.variational import ImagesByLatents, LatentModel, LatentViews, gaussian_kl
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(Config):
    """Parameters of the beta-VAE; defaults of the code's study, with one of its six values of beta."""

    beta: float = param(
        4.0,
        "weight of the KL; 1 is a VAE",
        "ours: of the code's 1, 2, 4, 6, 8, 16",
        ge=0,
        lt=math.inf,
        tune=choice(1.0, 2.0, 4.0, 6.0, 8.0, 16.0),
    )
    latent_dim: int = param(10, "length of the code, in coordinates", "code, shared.gin", ge=1)
    likelihood: Literal["gaussian", "bernoulli"] = param(
        "bernoulli", "distribution of a value: of binary pixels, or Gaussian on 256 levels", "code, shared.gin"
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here", ge=1)
    augmentation: str = param(
        "none", "preset of the images that are encoded and decoded", "code: none", choices=PRESET_NAMES
    )


class BetaVAE(ImagesByLatents, Objective):
    """VAE with a larger weight on the KL (Higgins 2017).

    Trains the encoder, heads for the mean and deviation of the posterior, and a decoder. Tasks read `features` and
    `latent`, the means of the posterior.
    """

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
        """Augment each image once and draw the noise (N, P) of the reparametrisation."""
        return self.model.views(augment(batch.inputs, rng, self.augmentation), rng)

    def forward(self, views: LatentViews, player: str = "main") -> Loss:
        """Return reconstruction plus weighted KL, in nats; the logged `elbo` has weight 1.

        Without an active unit the code has collapsed.
        """
        posterior = self.model.posterior(self.encoder(views.images))
        conditional = self.model.conditional(views.images, posterior.mean + posterior.deviation * views.noise)
        kl = gaussian_kl(posterior)
        total = (self.beta * kl - conditional).mean()
        parts = self.model.parts(posterior, conditional, kl, views.images[0].numel())
        return Loss(total, parts, floors={"active_units": 1.0})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BetaVAEConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"beta_vae": BetaVAE}
