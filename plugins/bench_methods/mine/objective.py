"""MINE: encoder and critic together maximise an estimate of the information between an input and its representation.

Paper: Belghazi, Baratin, Rajeshwar, Ozair, Bengio, Courville, Hjelm, ICML 2018, https://arxiv.org/abs/1801.04062
Code:  none of the authors was found; by others: https://github.com/gtegner/mine-pytorch/tree/4335819 (mine/models)
Note:  The paper estimates information, and maximises it inside of other objectives. To train an encoder with it alone
       is what the same authors did next, with more parts, as Deep InfoMax (`dim`). Here the critic reads the input
       itself, not a map of the encoder, so it works for images and vectors, and what is maximised is I(x; z).
       Representations are functions of the input, whose information is infinite for continuous inputs: the estimate
       ends at log K for batches of K (`information.py`).

Shapes: N images (N, C, H, W) or vectors (N, D), P coordinates of the representation z.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, hookimpl, param
from bench_core.nn.joint_critic import JointCritic
from bench_core.nn.layers import Standardize

from .bottleneck import MINEBottleneck
from .information import EstimatorName, batch_information


@dataclass(frozen=True, kw_only=True)
class MINEConfig(Config):
    """Parameters of MINE: the representation, and the critic."""

    output_dim: int = param(64, "length of the representation z, in coordinates", "as dim", ge=1)
    units: int = param(
        512, "units of each of the two hidden layers of the critic", "code, information_bottleneck.py", ge=1
    )
    estimator: EstimatorName = param(  # noqa: RUF009  # a Literal
        "dv", "'dv': Donsker and Varadhan's form, by MINE's gradient; 'f': the f-form, which is lower", "paper"
    )


class MINE(Objective):
    """Maximise I(input; representation) (Belghazi 2018).

    Trains the encoder, a linear layer from features to the representation z, and a critic that reads z beside the
    input's own values. No view is made. Tasks read `features` and `embedding`, which is z.
    """

    Config = MINEConfig
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, momentum=0.5, schedule="constant", epochs=200, batch_size=256)
    recipe_source = "ours: as code for its bottleneck, Adam 1e-4 with betas .5 and .999, batches of 100 to 256"
    log_average: Tensor  # () logarithm of the running average that the gradient of `dv` divides by

    def __init__(self, encoder: Encoder, data: DataSpec, config: MINEConfig) -> None:
        """Add the linear layer and the critic."""
        super().__init__(encoder, data, config)
        self.config = config
        self.head = nn.Linear(encoder.dim, config.output_dim)
        self.values = Standardize(data) if data.is_image else nn.Identity()
        self.critic = JointCritic(math.prod(data.shape), config.output_dim, config.units)
        self.register_buffer("log_average", torch.tensor(-torch.inf))

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the inputs unchanged."""
        inputs: Tensor = batch.inputs
        return inputs

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the negative estimate in nats; its ceiling is log N."""
        z = self.head(self.encoder(views))
        value, log_average = batch_information(
            self.critic, self.values(views).flatten(1), z, self.log_average, self.config.estimator
        )
        if self.training:
            self.log_average.copy_(log_average)
        limit = math.log(len(views))
        return Loss(-value, {"information": value.detach()}, {"information": limit}, {"information": 0.1})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `embedding` (N, P), the representation z."""
        features = self.encoder(inputs)
        return {"features": features, "embedding": self.head(features)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: MINEConfig) -> str | None:
        """Return a reason unless the data are images or vectors, whose values the critic can read."""
        return None if data.kind in ("image", "vector") else "needs images or vectors"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"mine": MINE, "mine_bottleneck": MINEBottleneck}
