"""BYOL: predict the projection that a slow copy of the network gives the other view; no negatives.

Paper: Grill et al., NeurIPS 2020, https://arxiv.org/abs/2006.07733
Code:  https://github.com/google-deepmind/deepmind-research/tree/4822a455/byol
Note:  paper and code add the losses of both orders of the views; this file takes their mean, which is half. Under LARS
       this changes the steps of biases and norms only. Each view passes both networks by itself, as in the code, so
       that batch norm never mixes the views. The last layers of the heads have biases (paper, App. J.2), which the code
       leaves out.

Shapes: N images, two views, C channels, H x W pixels, D features, P units of the projection.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    choice,
    hookimpl,
    param,
)
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.nn.momentum import cosine_momentum, momentum_copy, update_copy
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class BYOLConfig(Config):
    """Parameters of BYOL; defaults for the paper's 300 epochs, with views for CIFAR-10."""

    hidden_dim: int = param(4096, "hidden width of projector and predictor, in units", "paper, Sec. 3.3", ge=1)
    output_dim: int = param(256, "width of projection and prediction, in units", "paper, Sec. 3.3", ge=1)
    momentum: float = param(
        0.99,
        "momentum of the target network at the first step; it rises to 1 by half a cosine",
        "paper, App. F and Table 5a",
        ge=0,
        le=1,
        tune=choice(0.9, 0.99, 0.999),
    )
    predictor: bool = param(
        True, "use a predictor; without one training collapses (a control)", "paper, Table 5b: the ablation"
    )
    augmentation: str = param(
        "byol", "preset of the first view", "paper, Table 6; CIFAR: solo-learn", choices=PRESET_NAMES
    )
    second_augmentation: str = param(
        "byol_prime", "preset of the second view", "paper, Table 6; CIFAR: solo-learn", choices=PRESET_NAMES
    )


class BYOL(Objective):
    """Predict a slow copy's other view (Grill 2020).

    Trains the encoder, a projector and a predictor. The target is a copy of encoder and projector; it gets no
    gradient, its weights follow those of the two by a moving average. The projector gives the `code`; tasks on
    `features` read the encoder alone.
    """

    Config = BYOLConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=0.6, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=512
    )
    recipe_source = (
        "paper, App. F (ImageNet, 300 epochs; none for CIFAR): rate .3 x batch / 256, decay 1e-6; "
        "ours: batch and epochs, which give about as many steps on CIFAR-10"
    )

    def __init__(self, encoder: Encoder, data: DataSpec, config: BYOLConfig) -> None:
        """Add projector, predictor and target."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentations = preset(config.augmentation, data), preset(config.second_augmentation, data)
        self.projector = mlp(encoder.dim, config.hidden_dim, config.output_dim)
        self.predictor: nn.Module = nn.Identity()
        if config.predictor:
            self.predictor = mlp(config.output_dim, config.hidden_dim, config.output_dim)
        self.target = momentum_copy(nn.Sequential(encoder, self.projector))
        self.momentum = config.momentum  # of the current step: `before_step` sets it each time, so it need not be saved

    def players(self) -> list[Player]:
        """Return one player with all parameters but those of the target."""
        return [Player("main", [p for p in self.parameters() if p.requires_grad])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice, from two distributions: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, augmentation) for augmentation in self.augmentations])

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Set the target's momentum, which follows half a cosine over all steps, and log it."""
        self.momentum = cosine_momentum(self.config.momentum, context.step, context.num_steps)
        return {"momentum": self.momentum}

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the mean loss of both orders of views (2, N, C, H, W), with the spread of the projections."""
        with torch.no_grad():
            targets = [self.target(view) for view in views]
        projections = [self.projector(self.encoder(view)) for view in views]
        first, second = (self.predictor(projection) for projection in projections)
        total = (regression_loss(first, targets[1]) + regression_loss(second, targets[0])) / 2
        return Loss(total, {"spread": spread(projections[0])}, floors={"spread": 0.1})

    def after_step(self) -> None:
        """Move the target towards encoder and projector; called after the optimiser's step."""
        update_copy(self.target, nn.Sequential(self.encoder, self.projector), self.momentum)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BYOLConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def regression_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the squared distance of unit vectors, Eq. (2): 2 - 2 cos.

    Args:
        predictions: (N, P), of any length.
        targets: (N, P), of any length; no gradient flows through them.

    Returns:
        () mean over rows, in [0, 4]; 2 if predictions are orthogonal to their targets.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        return 2 - 2 * F.cosine_similarity(predictions.float(), targets.float(), dim=1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"byol": BYOL}
