"""VAE: a code of each image that a decoder can read, close to one normal law for all images.

Paper: Kingma and Welling, ICLR 2014, https://arxiv.org/abs/1312.6114
Code:  none by the authors
Note:  the encoder is the one under study, the decoder is convolutional (`conv_decoder`); the paper has neither. The
       reconstruction is summed over an image's values and the KL over latents, as in Eq. (10). `gaussian` is integrated
       over the 256 levels, so that `bits_per_dim` is a bound for 8-bit images; `bernoulli` takes grey values as chances
       of binary pixels, and its bits are for these (`bits_per_binary_value`): the two do not compare.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.variational import LatentModel, LatentViews, gaussian_kl
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Sizes, likelihood and warm-up."""

    latent_dim: int = param(64, "coordinates of the code", "ours: more of them slow short runs down")
    likelihood: Literal["gaussian", "bernoulli"] = param(
        "gaussian", "'gaussian' of 256 levels, or 'bernoulli'", "ours: bits of the data"
    )
    kl_warmup_epochs: float = param(0.0, "linear rise of the KL's weight from 0 to 1, per step", "paper: none")
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here")
    augmentation: str = param("none", "preset of the images that are encoded and decoded", "paper: none")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim must be >= 1, got {self.latent_dim}")
        if not self.kl_warmup_epochs >= 0:
            raise ValueError(f"kl_warmup_epochs must be >= 0, got {self.kl_warmup_epochs}")
        if self.width < 1:
            raise ValueError(f"width must be >= 1, got {self.width}")
        check_preset(self.augmentation)


class VAE(Objective):
    """The encoder under study, heads for the posterior's mean and deviation, a decoder."""

    Config = VAEConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, epochs=100, batch_size=128)
    recipe_source = "ours: Adam's usual rate; the paper has Adagrad"
    variants: ClassVar[Mapping[str, Variant]] = {
        "bernoulli": Variant({"likelihood": "bernoulli"}, "paper, App. C.1", "binary pixels"),
        "warmup": Variant({"kl_warmup_epochs": 10.0}, "ours: a control of posterior collapse", "KL warm-up"),
    }
    kl_weight: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: VAEConfig) -> None:
        """Add the heads and the decoder."""
        super().__init__(encoder, data, config)
        self.augmentation = preset(config.augmentation, data)
        self.kl_warmup_epochs = config.kl_warmup_epochs
        self.model = LatentModel(encoder.dim, data.shape, config.latent_dim, config.likelihood, config.width)
        self.register_buffer("kl_weight", torch.ones(()))

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Raise the KL's weight."""
        if self.kl_warmup_epochs == 0:
            return {}
        epochs = context.step * context.num_epochs / max(1, context.num_steps)
        weight = min(1.0, epochs / self.kl_warmup_epochs)
        self.kl_weight.fill_(weight)
        return {"kl_weight": weight}

    def make_views(self, batch: Batch, rng: torch.Generator) -> LatentViews:
        """The images (N, C, H, W) and the noise (N, P) of the reparametrisation."""
        return self.model.views(augment(batch.inputs, rng, self.augmentation), rng)

    def forward(self, views: LatentViews, player: str = "main") -> Loss:
        """The negative ELBO in nats, its KL weighted during warm-up; without an active unit the code has collapsed."""
        posterior = self.model.posterior(self.encoder(views.images))
        conditional = self.model.conditional(views.images, posterior.mean + posterior.deviation * views.noise)
        kl = gaussian_kl(posterior)
        total = (self.kl_weight * kl - conditional).mean()
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
    def skip_reason(cls, data: DataSpec, config: VAEConfig) -> str | None:
        """Images that the decoder can make."""
        return decoder_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"vae": VAE}
