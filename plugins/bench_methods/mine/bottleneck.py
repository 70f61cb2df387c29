"""Information bottleneck by MINE: learn the labels from a noisy representation that tells little else of the input.

Paper: Belghazi, Baratin, Rajeshwar, Ozair, Bengio, Courville, Hjelm, ICML 2018, https://arxiv.org/abs/1801.04062; the
       Gaussian encoder: Alemi, Fischer, Dillon, Murphy, ICLR 2017, https://arxiv.org/abs/1612.00410
Code:  none of the authors was found; by others: https://github.com/mohith-sakthivel/mine-pytorch/tree/0599a5d
       (mine/mine.py), https://github.com/gtegner/mine-pytorch/tree/4335819 (mine/models/information_bottleneck.py)
Note:  Read in an earlier version of the paper, submitted to ICLR 2018. Its third kind of noise, which goes through the
       encoder beside the input, would need other encoders and is not here. The codes average weights or not; here they
       are not averaged. The estimate counts the own pairs of a batch (`information.py`).

Shapes: N images (N, C, H, W) or vectors (N, D), P coordinates of the representation z, K classes.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Player, Recipe, log, param
from bench_core.nn.joint_critic import JointCritic
from bench_core.nn.layers import Standardize

from .information import batch_information


@dataclass(frozen=True, kw_only=True)
class MINEBottleneckConfig(Config):
    """Parameters of the bottleneck: weight of the information, noise, and the networks."""

    beta: float = param(
        1e-3,
        "weight of the information that z has of the input; 0: noise only",
        "both codes",
        ge=0,
        tune=log(1e-5, 1e-1),
    )
    encoder_noise: Literal["gaussian", "additive"] = param(
        "additive", "'gaussian': z is drawn with a mean and a deviation of its own; 'additive': noise on the input",
        "paper: its best",
    )  # fmt: skip
    noise: float = param(
        0.3,
        "deviation of the additive noise, of inputs of deviation 1",
        "ours: what the critic's inputs get",
        gt=0,
        tune=log(0.05, 1.0),
    )
    output_dim: int = param(256, "length of the representation z, in coordinates", "paper", ge=1)
    units: int = param(512, "units of each of the two hidden layers of the critic", "both codes", ge=1)


class BottleneckViews(NamedTuple):
    """Inputs, labels and all noise of one step.

    Attributes:
        inputs: Images (N, C, H, W) or vectors (N, D).
        labels: (N,) int64.
        encoder_noise: Standard normal: of the shape of the inputs where noise is added to them, else (N, P).
        critic_noise: Noise of the critic for 2 N pairs.
    """

    inputs: Tensor
    labels: Tensor
    encoder_noise: Tensor
    critic_noise: list[Tensor]


class MINEBottleneck(Objective):
    """Labels through MINE's bottleneck (Belghazi 2018).

    The encoder makes a noisy representation z; it minimises the cross-entropy of a linear classifier on z, plus beta
    times the information of z on the input, which a critic estimates. Tasks read `features` and `embedding`, which is
    z without noise.
    """

    Config = MINEBottleneckConfig
    uses_labels = True
    recipe = Recipe(optimizer="adam", learning_rate=1e-4, momentum=0.5, schedule="constant", epochs=200, batch_size=100)
    recipe_source = (
        "code, mine/mine.py (mohith-sakthivel): Adam 1e-4 with betas .5 and .999, batches of 100, 200 epochs"
    )
    log_average: Tensor  # () logarithm of the running average that the critic's gradient divides by

    def __init__(self, encoder: Encoder, data: DataSpec, config: MINEBottleneckConfig) -> None:
        """Add the representation, the classifier and the critic."""
        super().__init__(encoder, data, config)
        if data.num_classes is None:
            raise ValueError("mine_bottleneck needs classes, the data has none; see skip_reason")
        self.config = config
        P, self.gaussian = config.output_dim, config.encoder_noise == "gaussian"
        self.head = nn.Linear(encoder.dim, 2 * P if self.gaussian else P)
        self.classifier = nn.Linear(P, data.num_classes)
        self.values = Standardize(data) if data.is_image else nn.Identity()
        self.critic = JointCritic(math.prod(data.shape), P, config.units)
        self.register_buffer("log_average", torch.tensor(-torch.inf))

    def players(self) -> list[Player]:
        """Return the critic, which estimates first, and then the model: encoder, representation and classifier."""
        model = [p for name, p in self.named_parameters() if not name.startswith("critic.")]
        return [Player("critic", list(self.critic.parameters())), Player("model", model)]

    def make_views(self, batch: Batch, rng: torch.Generator) -> BottleneckViews:
        """Return inputs and labels unchanged, and draw the noise of encoder and critic."""
        assert batch.labels is not None, "uses_labels asks for them"
        inputs, n = batch.inputs, len(batch.inputs)
        shape = (n, self.config.output_dim) if self.gaussian else inputs.shape
        noise = torch.randn(shape, generator=rng, device=rng.device)
        return BottleneckViews(inputs, batch.labels, noise, self.critic.draw_noise(2 * n, rng))

    def forward(self, views: BottleneckViews, player: str = "model") -> Loss:
        """Return the negative information for `critic`, and cross-entropy + beta information for `model`."""
        x = self.values(views.inputs).flatten(1)
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            z = self._noisy(views)
        information, log_average = batch_information(self.critic, x, z, self.log_average, "dv", views.critic_noise)
        parts, ceilings = {"information": information.detach()}, {"information": math.log(len(x))}
        if player == "critic":
            if self.training:
                self.log_average.copy_(log_average)
            return Loss(-information, parts, ceilings)
        logits = self.classifier(z)
        cross_entropy = F.cross_entropy(logits, views.labels)
        parts |= {"cross_entropy": cross_entropy, "accuracy": (logits.argmax(1) == views.labels).float().mean()}
        return Loss(cross_entropy + self.config.beta * information, parts, ceilings)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `embedding` (N, P), the representation without noise."""
        features = self.encoder(inputs)
        return {"features": features, "embedding": self.head(features)[:, : self.config.output_dim]}

    def _noisy(self, views: BottleneckViews) -> Tensor:
        """Return the noisy representation (N, P)."""
        if self.gaussian:
            mean, deviation = self.head(self.encoder(views.inputs)).chunk(2, 1)
            drawn: Tensor = mean + F.softplus(deviation) * views.encoder_noise
            return drawn
        spread = self.values.std if isinstance(self.values, Standardize) else 1.0
        noisy: Tensor = self.head(self.encoder(views.inputs + self.config.noise * spread * views.encoder_noise))
        return noisy

    @classmethod
    def skip_reason(cls, data: DataSpec, config: MINEBottleneckConfig) -> str | None:
        """Return a reason unless the data are images or vectors with one class each."""
        if data.kind not in ("image", "vector"):
            return "needs images or vectors"
        return "needs one class for each item" if data.num_classes is None else None
