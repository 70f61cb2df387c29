"""SimSiam: predict the other view's projection, through which no gradient flows; no negatives, no momentum.

Paper: Chen and He, CVPR 2021, https://arxiv.org/abs/2011.10566
Code:  https://github.com/facebookresearch/simsiam/blob/a7bc1772/simsiam/builder.py
Note:  the code's projector ends in batch norm without scale and shift, and so does this one (the paper, Sec. 4.4, finds
       no difference). The paper decays all parameters; here, as for every method, not biases and norms. Each view
       passes the network by itself, as in the code. With batch norm on the output a collapse hides from the paper's
       monitor, the spread of unit rows: they end along one line. So the number of directions is watched as well.

Shapes: N images, two views, C channels, H x W pixels, D features, P projected.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Batch,
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
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class SimSiamConfig:
    """Defaults are those of CIFAR-10."""

    projector_layers: int = param(2, "linear layers of the projector, >= 2", "paper, App. D; ImageNet: 3")
    hidden_dim: int = param(2048, "hidden width of the projector", "paper, Sec. 3")
    output_dim: int = param(2048, "width of projection and prediction", "paper, Sec. 3 and App. D")
    bottleneck_dim: int = param(512, "hidden width of the predictor", "paper, Sec. 3; App. B: a quarter of the output")
    stop_gradient: bool = param(True, "False: both sides get gradients, which collapses (a control)", "paper, Sec. 4.1")
    augmentation: str = param("simsiam", "preset of the views", "paper, App. A and D")

    def __post_init__(self) -> None:
        """Check ranges."""
        lowest = {"projector_layers": 2, "hidden_dim": 1, "output_dim": 1, "bottleneck_dim": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        check_preset(self.augmentation)


class SimSiam(Objective):
    """The encoder under study, a projector, and a predictor with a bottleneck."""

    Config = SimSiamConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.06, weight_decay=5e-4, epochs=800, batch_size=512)
    recipe_source = "paper, App. D (CIFAR-10): rate .03 x batch / 256, cosine; Sec. 4.2: the predictor's is constant"

    def __init__(self, encoder: Encoder, data: DataSpec, config: SimSiamConfig) -> None:
        """Add both heads."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        self.projector = mlp(encoder.dim, *hidden, config.output_dim, norm_output=True, affine_output=False)
        self.predictor = mlp(config.output_dim, config.bottleneck_dim, config.output_dim)

    def players(self) -> list[Player]:
        """One; the predictor's rate is constant from the first step (simsiam issue 11: no warm-up either)."""
        constant = ParameterGroup(list(self.predictor.parameters()), {"schedule": "constant", "warmup_epochs": 0.0})
        return [Player("main", list(self.parameters()), groups=[constant])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Eq. (4) of views (2, N, C, H, W); with how far, and over how many directions, projections spread."""
        projections = [self.projector(self.encoder(view)) for view in views]
        first, second = (self.predictor(projection) for projection in projections)
        targets = [z.detach() for z in projections] if self.config.stop_gradient else projections
        total = (negative_cosine(first, targets[1]) + negative_cosine(second, targets[0])) / 2
        parts = {"spread": spread(projections[0]), "directions": directions(projections[0])}
        return Loss(total, parts, floors={"spread": 0.1, "directions": 2.0})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SimSiamConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """D of Eq. (1).

    Args:
        predictions: (N, P).
        targets: (N, P); detached, if no gradient is to flow through them.

    Returns:
        () mean over rows, in [-1, 1]; -1 where all point the same way.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        return -F.cosine_similarity(predictions.float(), targets.float(), dim=1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"simsiam": SimSiam}
