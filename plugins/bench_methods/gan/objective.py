"""GAN: a discriminator learns to tell items of the data from those that a generator makes to fool it.

Paper: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661; Radford, Metz, Chintala, ICLR 2016,
       https://arxiv.org/abs/1511.06434 (DCGAN, and the discriminator as an encoder); Belghazi et al., ICML 2018,
       https://arxiv.org/abs/1801.04062, section 5.1 (the variant `mine`)
Code:  https://github.com/Newmu/dcgan_code/blob/e6e9cec/faces/train_uncond_dcgan.py;
       https://github.com/xrj-com/marveltoolbox/blob/c702901/demos/mine_gan.py, a GAN with MINE by others
Note:  The encoder under study is the trunk of the discriminator, below one linear layer; any encoder will do. Images
       lie in [0, 1], generated ones too, by a sigmoid; the codes have [-1, 1]. Latents are normal, those of DCGAN
       uniform. All players train on each batch, with the same latents; DCGAN's take batches in turn. Real and generated
       items pass the discriminator apart, so batch norm sees batches of one kind; its running statistics, a mixture of
       both kinds, are replaced after training by those of real items, which are what is embedded. The statistics
       network of MINE reads pixels as a vector.

Shapes: N items, C channels, H x W pixels or D values, P latents, of which the first K are the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Player,
    Recipe,
    Variant,
    choice,
    hookimpl,
    param,
)
from bench_core.nn.adversarial import discriminator_loss, fooling_loss
from bench_core.nn.mutual_information import mine

from .balance import limited_sum
from .networks import StatisticsNetwork, generator_skip_reason, make_generator


@dataclass(frozen=True, kw_only=True)
class GANConfig(Config):
    """Parameters of the game, of MINE and of the networks."""

    latent_dim: int = param(100, "length of the generator's latent, in coordinates", "code: nz", ge=1)
    gradient_penalty: float = param(
        0.0,
        "weight of the squared gradient of the discriminator's logit by its input; 0 leaves it out",
        "code: none",
        ge=0,
        tune=choice(0.0, 0.1, 1.0, 10.0),
    )
    information_weight: float = param(
        0.0,
        "weight of the information between code and generated item, estimated by MINE; 0 leaves it out",
        "code: none",
        ge=0,
    )
    code_dim: int = param(
        3, "number of latents that form the code, if information_weight is not 0", "demos/mine_gan.py: 3 of 10", ge=1
    )
    width: int = param(64, "channels before the generator's last stage, for images", "ours: half of the code's", ge=1)
    units: int = param(
        128,
        "units of the hidden layers of the generator of vectors and of MINE's network",
        "marveltoolbox/nn/mine.py",
        ge=1,
    )

    def __post_init__(self) -> None:
        """Check that the code is a part of the latent."""
        super().__post_init__()
        if self.information_weight > 0 and self.code_dim > self.latent_dim:
            raise ValueError(f"code_dim must be <= latent_dim, got {self.code_dim} and {self.latent_dim}")


class GANViews(NamedTuple):
    """Items of one step, with the latents that the generator makes as many items from.

    Attributes:
        items: Images (N, C, H, W) in [0, 1], or vectors (N, D).
        latents: (N, P) standard normal.
    """

    items: Tensor
    latents: Tensor


class GAN(Objective):
    """Generator against discriminator (Goodfellow 2014).

    Trains the encoder with a linear layer as a discriminator of real and generated items, against the generator. The
    variant `mine` also keeps a part of the latent in the generated item, so that more modes of the data are covered.
    Tasks read `features`, and samples of the generator.
    """

    Config = GANConfig
    recipe = Recipe(
        optimizer="adam", learning_rate=2e-4, momentum=0.5, weight_decay=1e-5, schedule="constant",
        epochs=100, batch_size=128,
    )  # fmt: skip
    recipe_source = "code: Adam 2e-4 with betas .5 and .999, decay 1e-5, batches of 128; 100 epochs: ours"
    variants: ClassVar[Mapping[str, Variant]] = {
        "mine": Variant(
            {"information_weight": 1.0},
            "MINE paper, section 5.1: its gradient is limited; weight 1: ours",
            "keeps a code readable in the items, against collapsed modes",
        )
    }
    log_average: Tensor  # () logarithm of the running average that MINE divides by

    def __init__(self, encoder: Encoder, data: DataSpec, config: GANConfig) -> None:
        """Add the logit of the discriminator, the generator, and MINE's network if the information has a weight."""
        super().__init__(encoder, data, config)
        self.config = config
        self.logit = nn.Linear(encoder.dim, 1)
        self.generator = make_generator(data, config.latent_dim, config.width, config.units)
        self.statistics = None
        if config.information_weight > 0:
            self.statistics = StatisticsNetwork(data, config.code_dim, config.units)
            self.register_buffer("log_average", torch.tensor(-torch.inf))

    @property
    def discriminator(self) -> nn.Sequential:
        """The encoder with its logit: items (N, ...) -> (N, 1), high for items that it takes for real."""
        return nn.Sequential(self.encoder, self.logit)

    def players(self) -> list[Player]:
        """Return `discriminator`, `information` if MINE is in use, and `generator`."""
        players = [Player("discriminator", list(self.discriminator.parameters()))]
        if self.statistics is not None:
            players += [Player("information", list(self.statistics.parameters()), recipe={"weight_decay": 0.0})]
        return [*players, Player("generator", list(self.generator.parameters()))]

    def make_views(self, batch: Batch, rng: torch.Generator) -> GANViews:
        """Return the items unchanged, with as many latents."""
        items = batch.inputs
        return GANViews(items, torch.randn(len(items), self.config.latent_dim, generator=rng, device=rng.device))

    def forward(self, views: GANViews, player: str = "generator") -> Loss:
        """Return the loss of one player, in nats."""
        if player == "generator":
            return self._generator_loss(self.generator(views.latents), views.latents)
        with torch.no_grad():
            generated = self.generator(views.latents)
        if player == "discriminator":
            return self._discriminator_loss(views.items, generated)
        value, log_average = self._information(generated, views.latents)
        self.log_average.copy_(log_average)
        return Loss(-value, {"information": value})

    def _discriminator_loss(self, real: Tensor, generated: Tensor) -> Loss:
        """Return the cross-entropy of both kinds of items, with the gradient penalty if that has a weight."""
        weight = self.config.gradient_penalty
        if weight > 0:
            cross_entropy, penalty = discriminator_loss(self.discriminator, real, generated)
            return Loss(cross_entropy + weight * penalty, {"cross_entropy": cross_entropy, "gradient_penalty": penalty})
        with torch.autocast(real.device.type, enabled=False):
            logits = self.discriminator(generated.float())
            cross_entropy = fooling_loss(self.discriminator, real) + F.softplus(logits).mean()
        return Loss(cross_entropy, {"cross_entropy": cross_entropy})

    def _generator_loss(self, generated: Tensor, latents: Tensor) -> Loss:
        """Return the non-saturating loss, less the information, whose gradient is at most as long."""
        fooling = fooling_loss(self.discriminator, generated)
        if self.statistics is None:
            return Loss(fooling, {"fooling": fooling})
        value, _ = self._information(generated, latents)
        lost = -self.config.information_weight * value
        total, share = limited_sum(fooling, lost, list(self.generator.parameters()))
        return Loss(total, {"fooling": fooling, "information": value, "information_share": share})

    def _information(self, generated: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate the information () between items and their codes by MINE, in nats; return its new average, too.

        The code of the next item stands for one that is drawn independently.

        Raises:
            ValueError: There is one item, whose next one is itself.
        """
        assert self.statistics is not None, "only called with MINE"
        if len(latents) < 2:
            raise ValueError(f"gan:mine needs at least 2 items in a batch, got {len(latents)}")
        codes = latents[:, : self.config.code_dim]
        joint, product = (self.statistics(generated, each) for each in (codes, codes.roll(1, 0)))
        return mine(joint, product, self.log_average)

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Replace the running statistics of the encoder's batch norms by those of the real items."""
        update_bn((batch.inputs for batch in context.batches() if len(batch.index) > 1), self.encoder)
        return {}

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Generate n images (n, C, H, W) in [0, 1], or vectors (n, D)."""
        items: Tensor = self.generator(torch.randn(n, self.config.latent_dim, generator=rng, device=rng.device))
        return items

    @classmethod
    def skip_reason(cls, data: DataSpec, config: GANConfig) -> str | None:
        """Return a reason unless the data are vectors, or images of a size that the generator can make."""
        return generator_skip_reason(data)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"gan": GAN}
