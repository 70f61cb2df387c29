"""SimCLR: recognise an image's other view among all other views in the batch.

Paper: Chen, Kornblith, Norouzi, Hinton, ICML 2020, https://arxiv.org/abs/2002.05709
Code:  https://github.com/google-research/simclr/blob/be133b38/objective.py
Note:  the code adds the mean losses of the two views, Eq. (1) averages over both. This file follows the equation, so
       its loss is half of the code's. The projector is the paper's g (Sec. 2.1) with biases, without the code's batch
       norm.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P projected.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, log, param
from bench_core.nn.contrast import nt_xent
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class SimCLRConfig(Config):
    """Parameters of SimCLR; defaults for CIFAR-10."""

    output_dim: int = param(128, "width of the projection, in units", "paper, Sec. 2.1", ge=1)
    temperature: float = param(
        0.5,
        "divides the cosine similarities; lower values weigh the most similar negatives more",
        "README, CIFAR-10 command",
        gt=0,
        tune=log(0.05, 1.0),
    )
    augmentation: str = param(
        "simclr", "preset that both views are drawn from", "paper, App. A and B.9", choices=PRESET_NAMES
    )


class SimCLR(Objective):
    """Contrast two views within a batch (Chen 2020).

    Trains the encoder and a projector of two layers. The projector is used by the loss and gives the `code`; tasks on
    `features` read the encoder alone.
    """

    Config = SimCLRConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=2.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=512
    )
    recipe_source = "README, CIFAR-10 command: rate 1.0 x batch / 256; LARS and warm-up are the code's defaults"

    def __init__(self, encoder: Encoder, data: DataSpec, config: SimCLRConfig) -> None:
        """Add the projector."""
        super().__init__(encoder, data, config)
        self.temperature = config.temperature
        self.augmentation = preset(config.augmentation, data)
        self.projector = nn.Sequential(
            nn.Linear(encoder.dim, encoder.dim), nn.ReLU(), nn.Linear(encoder.dim, config.output_dim)
        )

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the NT-Xent loss of views (2N, C, H, W), in nats."""
        return Loss(nt_xent(self.projector(self.encoder(views)), self.temperature))

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P), the signs of the projection.

        NAC's authors read SimCLR's code for retrieval in the same way.
        """
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SimCLRConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"simclr": SimCLR}
