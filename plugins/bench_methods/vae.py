"""VAE: a code of each image that a decoder can read, with a distribution close to a normal prior.

Paper: Kingma and Welling, ICLR 2014, https://arxiv.org/abs/1312.6114
Code:  none by the authors
Note:  any encoder, and a convolutional decoder (`conv_decoder`); the paper has neither. The reconstruction is summed
       over an image's values and the KL over latents, as in Eq. (10). The likelihood `gaussian` is integrated over the
       256 levels, so that `bits_per_dim` is a bound for 8-bit images. `bernoulli` takes grey values as chances of
       binary pixels, and its bits are for these (`bits_per_binary_value`). The two are not comparable.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.variational import ImagesByLatents, LatentModel, LatentViews, gaussian_kl
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class VAEConfig(Config):
    """Parameters of the VAE."""

    latent_dim: int = param(64, "length of the code, in coordinates", "ours: more of them slow short runs down", ge=1)
    likelihood: Literal["gaussian", "bernoulli"] = param(
        "gaussian", "distribution of a value: Gaussian on 256 levels, or of binary pixels", "ours: bits of the data"
    )
    kl_warmup_epochs: float = param(
        0.0,
        "epochs in which the KL's weight rises from 0 to 1, evenly at each step",
        "paper: none",
        ge=0,
        in_epochs=True,
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here", ge=1)
    augmentation: str = param(
        "none", "preset of the images that are encoded and decoded", "paper: none", choices=PRESET_NAMES
    )


class VAE(ImagesByLatents, Objective):
    """Code images close to a normal prior (Kingma 2014).

    Trains the encoder, heads for the mean and deviation of the posterior, and a decoder. Tasks read `features` and
    `latent`, the means of the posterior.
    """

    Config = VAEConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, epochs=100, batch_size=128)
    recipe_source = "ours: Adam's usual rate; the paper has Adagrad"
    variants: ClassVar[Mapping[str, Variant]] = {
        "bernoulli": Variant({"likelihood": "bernoulli"}, "paper, App. C.1", "likelihood of binary pixels"),
        "warmup": Variant(
            {"kl_warmup_epochs": 10.0}, "ours: a control of posterior collapse", "KL weight rises over 10 epochs"
        ),
    }
    kl_weight: Tensor  # () in [0, 1], weight of the KL at the current step

    def __init__(self, encoder: Encoder, data: DataSpec, config: VAEConfig) -> None:
        """Add the heads and the decoder."""
        super().__init__(encoder, data, config)
        self.augmentation = preset(config.augmentation, data)
        self.kl_warmup_epochs = config.kl_warmup_epochs
        self.model = LatentModel(encoder.dim, data.shape, config.latent_dim, config.likelihood, config.width)
        self.register_buffer("kl_weight", torch.ones(()))

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Set the KL's weight for this step, and log it while there is a warm-up."""
        if self.kl_warmup_epochs == 0:
            return {}
        epochs = context.step * context.num_epochs / max(1, context.num_steps)
        weight = min(1.0, epochs / self.kl_warmup_epochs)
        self.kl_weight.fill_(weight)
        return {"kl_weight": weight}

    def make_views(self, batch: Batch, rng: torch.Generator) -> LatentViews:
        """Augment each image once and draw the noise (N, P) of the reparametrisation."""
        return self.model.views(augment(batch.inputs, rng, self.augmentation), rng)

    def forward(self, views: LatentViews, player: str = "main") -> Loss:
        """Return the negative ELBO in nats, whose KL is weighted during warm-up.

        Without an active unit the code has collapsed.
        """
        posterior = self.model.posterior(self.encoder(views.images))
        conditional = self.model.conditional(views.images, posterior.mean + posterior.deviation * views.noise)
        kl = gaussian_kl(posterior)
        total = (self.kl_weight * kl - conditional).mean()
        parts = self.model.parts(posterior, conditional, kl, views.images[0].numel())
        return Loss(total, parts, floors={"active_units": 1.0})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: VAEConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"vae": VAE}
