"""SimSiam: predict the other view's projection, which gets no gradient; no negatives and no momentum copy.

Paper: Chen and He, CVPR 2021, https://arxiv.org/abs/2011.10566
Code:  https://github.com/facebookresearch/simsiam/blob/a7bc1772/simsiam/builder.py
Note:  the projector ends in batch norm without scale and shift, as in the code (the paper, Sec. 4.4, finds no
       difference). The paper decays all parameters; here, as for every method, biases and norms are not decayed. Each
       view passes the network by itself, as in the code. The paper detects a collapse by the spread of unit rows. With
       batch norm on the output this can fail: collapsed rows may lie along one line and still spread. So the number of
       directions is logged as well.

Shapes: N images, two views, C channels, H x W pixels, D features, P units of the projection.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    Loss,
    Objective,
    ParameterGroup,
    Player,
    Recipe,
    hookimpl,
    param,
)
from bench_core.nn.collapse import directions, spread
from bench_core.nn.heads import mlp
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig(Config):
    """Parameters of SimSiam; defaults for CIFAR-10."""

    projector_layers: int = param(2, "linear layers of the projector", "paper, App. D; ImageNet: 3", ge=2)
    hidden_dim: int = param(2048, "hidden width of the projector, in units", "paper, Sec. 3", ge=1)
    output_dim: int = param(2048, "width of projection and prediction, in units", "paper, Sec. 3 and App. D", ge=1)
    bottleneck_dim: int = param(
        512, "hidden width of the predictor, in units", "paper, Sec. 3; App. B: a quarter of the output", ge=1
    )
    stop_gradient: bool = param(
        True, "let no gradient through the targets; with gradients training collapses (a control)", "paper, Sec. 4.1"
    )
    augmentation: str = param("simsiam", "preset of the views", "paper, App. A and D", choices=PRESET_NAMES)


class SimSiam(Objective):
    """Predict the other view, stop-gradient (Chen 2021).

    Trains the encoder, a projector and a predictor with a bottleneck. The projector gives the `code`; tasks on
    `features` read the encoder alone.
    """

    Config = SimSiamConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.06, weight_decay=5e-4, epochs=800, batch_size=512)
    recipe_source = "paper, App. D (CIFAR-10): rate .03 x batch / 256, cosine; Sec. 4.2: the predictor's is constant"

    def __init__(self, encoder: Encoder, data: DataSpec, config: SimSiamConfig) -> None:
        """Add projector and predictor."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.projector = mlp(encoder.dim, *hidden, config.output_dim, norm_output=True, affine_output=False)
        self.predictor = mlp(config.output_dim, config.bottleneck_dim, config.output_dim)

    def players(self) -> list[Player]:
        """Return one player, in which the predictor has a group of its own with a constant learning rate.

        The rate is constant from the first step: no warm-up either (simsiam issue 11).
        """
        constant = ParameterGroup(list(self.predictor.parameters()), {"schedule": "constant", "warmup_epochs": 0.0})
        return [Player("main", list(self.parameters()), groups=[constant])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return Eq. (4) of views (2, N, C, H, W), with the projections' spread and number of directions."""
        projections = [self.projector(self.encoder(view)) for view in views]
        first, second = (self.predictor(projection) for projection in projections)
        targets = [z.detach() for z in projections] if self.config.stop_gradient else projections
        total = (negative_cosine(first, targets[1]) + negative_cosine(second, targets[0])) / 2
        parts = {"spread": spread(projections[0]), "directions": directions(projections[0])}
        return Loss(total, parts, floors={"spread": 0.1, "directions": 2.0})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SimSiamConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return D of Eq. (1), the negative cosine.

    Args:
        predictions: (N, P), of any length.
        targets: (N, P), of any length; detached by the caller if no gradient shall flow through them.

    Returns:
        () mean over rows, in [-1, 1]; -1 if every prediction points along its target.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        return -F.cosine_similarity(predictions.float(), targets.float(), dim=1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"simsiam": SimSiam}
