"""FactorVAE: a VAE whose latents are independent of each other, as a discriminator of codes and shuffled codes judges.

Paper: Kim and Mnih, ICML 2018, https://arxiv.org/abs/1802.05983
Code:  https://github.com/google-research/disentanglement_lib (76f41e3), methods/unsupervised/vae.py
Note:  settings follow the code, which is not by the paper's authors. As in the code, the codes of a batch are shuffled
       within this batch; the paper takes those of a second one. The discriminator moves after the VAE and reads codes
       of its new weights, without a gradient to them; in the code both move at once. Its last layer starts at 0, so the
       estimate does, too. Adam's second beta is .999 for both players; the code has .9 for the discriminator. Encoder,
       decoder and likelihood are those of `beta_vae`.

Shapes: N images, C channels, H x W pixels, D features, P latents.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Player, Recipe, choice, hookimpl, log, param
from bench_core.nn.decoders import decoder_skip_reason
from bench_core.nn.variational import ImagesByLatents, LatentModel, LatentViews, gaussian_kl
from bench_core.views import PRESET_NAMES, augment, preset

_SLOPE = 0.2  # of leaky ReLU below 0, as in the code


@dataclass(frozen=True, kw_only=True)
class FactorVAEConfig(Config):
    """Parameters of the FactorVAE; defaults of the code's study, with one of its six values of gamma."""

    gamma: float = param(
        30.0,
        "weight of the total correlation; 0 is a VAE, without a discriminator",
        "ours: of the code's 10, 20, 30, 40, 50, 100",
        ge=0,
        lt=math.inf,
        tune=choice(10.0, 20.0, 30.0, 40.0, 50.0, 100.0),
    )
    latent_dim: int = param(10, "length of the code, in coordinates", "code, shared.gin", ge=1)
    likelihood: Literal["gaussian", "bernoulli"] = param(
        "bernoulli", "distribution of a value: of binary pixels, or Gaussian on 256 levels", "code, shared.gin"
    )
    width: int = param(64, "channels before the decoder's last stage", "ours: as other decoders here", ge=1)
    augmentation: str = param(
        "none", "preset of the images that are encoded and decoded", "code: none", choices=PRESET_NAMES
    )
    discriminator_units: int = param(1000, "units of each hidden layer of the discriminator", "paper, App. A", ge=1)
    discriminator_layers: int = param(6, "number of hidden layers of the discriminator", "paper, App. A", ge=1)
    discriminator_rate: float = param(
        1e-4,
        "the discriminator's learning rate, by Adam with a first beta of .5",
        "code, shared.gin",
        gt=0,
        lt=math.inf,
        tune=log(1e-5, 1e-2),
    )


class FactorViews(NamedTuple):
    """Images of a batch and the random numbers of the step.

    Attributes:
        latent: The images and the noise of their latents.
        order: (N, P) int64; column p says which item's coordinate p each shuffled code gets. None without a
            discriminator.
    """

    latent: LatentViews
    order: Tensor | None


class FactorVAE(ImagesByLatents, Objective):
    """VAE with independent latents (Kim 2018).

    Trains the encoder, heads for the mean and deviation of the posterior, and a decoder, against a discriminator of
    codes and shuffled codes, which estimates how much the latents depend on each other. Tasks read `features` and
    `latent`, the means of the posterior.
    """

    Config = FactorVAEConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, schedule="constant", epochs=384, batch_size=64)
    recipe_source = "code, shared.gin; its 300,000 steps are 384 epochs of 50,000 images"

    def __init__(self, encoder: Encoder, data: DataSpec, config: FactorVAEConfig) -> None:
        """Add heads, decoder and, if gamma is not 0, the discriminator."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.model = LatentModel(encoder.dim, data.shape, config.latent_dim, config.likelihood, config.width)
        self.discriminator: nn.Module | None = None
        if config.gamma > 0:
            sizes = config.latent_dim, config.discriminator_units, config.discriminator_layers
            self.discriminator = make_discriminator(*sizes)

    def players(self) -> list[Player]:
        """Return the players `vae`, which has all networks but the discriminator, and `discriminator`."""
        vae = Player("vae", [*self.encoder.parameters(), *self.model.parameters()])
        if self.discriminator is None:
            return [vae]
        recipe = {"optimizer": "adam", "learning_rate": self.config.discriminator_rate, "momentum": 0.5}
        return [vae, Player("discriminator", list(self.discriminator.parameters()), recipe=recipe)]

    def make_views(self, batch: Batch, rng: torch.Generator) -> FactorViews:
        """Augment each image once, draw the noise (N, P) of the latents, and an order of the items for each latent."""
        latent = self.model.views(augment(batch.inputs, rng, self.augmentation), rng)
        if self.discriminator is None:
            return FactorViews(latent, None)
        return FactorViews(latent, torch.rand(latent.noise.shape, generator=rng, device=rng.device).argsort(0))

    def forward(self, views: FactorViews, player: str = "vae") -> Loss:
        """Return negative ELBO plus weighted total correlation, in nats; or the discriminator's cross-entropy.

        Without an active unit the code has collapsed.
        """
        if player == "discriminator" and self.discriminator is not None and views.order is not None:
            with torch.no_grad():
                posterior = self.model.posterior(self.encoder(views.latent.images))
                codes = posterior.mean + posterior.deviation * views.latent.noise
            return discriminator_loss(self.discriminator(codes), self.discriminator(shuffled(codes, views.order)))
        images, noise = views.latent
        posterior = self.model.posterior(self.encoder(images))
        codes = posterior.mean + posterior.deviation * noise
        conditional = self.model.conditional(images, codes)
        kl = gaussian_kl(posterior)
        total = (kl - conditional).mean()
        parts = self.model.parts(posterior, conditional, kl, images[0].numel())
        if self.discriminator is not None:
            parts["total_correlation"] = total_correlation(self.discriminator(codes))
            total = total + self.config.gamma * parts["total_correlation"]
        return Loss(total, parts, floors={"active_units": 1.0})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: FactorVAEConfig) -> str | None:
        """Return a reason unless the data are images of a size that the decoder can make."""
        return decoder_skip_reason(data)


def make_discriminator(latent_dim: int, units: int, layers: int) -> nn.Sequential:
    """Build the network that tells codes from shuffled ones: (N, P) -> logits (N, 2), 0 at the start.

    The first logit is high for codes, the second for shuffled codes.

    Args:
        latent_dim: P.
        units: Units of each hidden layer.
        layers: Number of hidden layers.
    """
    network, before = list[nn.Module](), latent_dim
    for _ in range(layers):
        network += [nn.Linear(before, units), nn.LeakyReLU(_SLOPE)]
        before = units
    last = nn.Linear(before, 2)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*network, last)


def shuffled(codes: Tensor, order: Tensor) -> Tensor:
    """Shuffle each coordinate of the codes (N, P) over the items, by its own column of the order (N, P) int64.

    Whole rows would keep what the coordinates of an item know of each other.
    """
    return codes.gather(0, order)


def total_correlation(logits: Tensor) -> Tensor:
    """Estimate the total correlation () in nats from the discriminator's logits (N, 2) of codes, Eq. (3).

    It is the KL divergence of the codes' distribution from the product of its coordinates' own. The estimate is the
    mean difference of the two logits, which is the log-ratio of the two densities for the best discriminator.
    """
    first, second = logits.float().unbind(1)
    return (first - second).mean()


def discriminator_loss(logits: Tensor, shuffled_logits: Tensor) -> Loss:
    """Return the mean cross-entropy of codes and shuffled codes, log 2 for logits of 0, and the share told apart.

    Args:
        logits: (N, 2) of codes, whose class is the first.
        shuffled_logits: (N, 2) of shuffled codes, whose class is the second.
    """
    both = torch.cat([logits, shuffled_logits]).float()
    classes = torch.arange(2, device=both.device).repeat_interleave(len(logits))
    with torch.no_grad():
        told_apart = (both.argmax(1) == classes).float().mean()
    return Loss(F.cross_entropy(both, classes), {"told_apart": told_apart})


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"factor_vae": FactorVAE}
