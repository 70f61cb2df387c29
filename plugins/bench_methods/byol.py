"""BYOL: predict what a slow copy of the network makes of the other view; no negatives.

Paper: Grill et al., NeurIPS 2020, https://arxiv.org/abs/2006.07733
Code:  https://github.com/google-deepmind/deepmind-research/tree/4822a455/byol
Note:  paper and code add the losses of both orders; this file takes their mean, half of theirs. LARS does not see the
       difference but on biases and norms. Each view passes both networks by itself, as in the code: batch norm never
       mixes the views. The heads' last layers have biases (paper, App. J.2), which the code leaves out.

Shapes: N images, two views, C channels, H x W pixels, D features, P projected.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Player, Recipe, hookimpl, param
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.nn.momentum import cosine_momentum, momentum_copy, update_copy
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class BYOLConfig:
    """Defaults are those of the paper's 300 epochs, with views for CIFAR-10."""

    hidden_dim: int = param(4096, "hidden width of projector and predictor", "paper, Sec. 3.3")
    output_dim: int = param(256, "width of projection and prediction", "paper, Sec. 3.3")
    momentum: float = param(
        0.99, "of the target at the first step, in [0, 1]; rises to 1", "paper, App. F and Table 5a"
    )
    predictor: bool = param(True, "False: none, which collapses (a control)", "paper, Table 5b: the ablation")
    augmentation: str = param("byol", "preset of the first view", "paper, Table 6; CIFAR: solo-learn")
    second_augmentation: str = param("byol_prime", "preset of the second view", "paper, Table 6; CIFAR: solo-learn")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("hidden_dim", "output_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {self.momentum}")
        check_preset(self.augmentation)
        check_preset(self.second_augmentation)


class BYOL(Objective):
    """The encoder under study with projector and predictor, and a target that follows the first two."""

    Config = BYOLConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=0.6, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=512
    )
    recipe_source = (
        "paper, App. F (ImageNet, 300 epochs; it trains on no CIFAR): rate .3 x batch / 256, decay 1e-6. Ours: batch "
        "and epochs, which on CIFAR-10 make about as many steps"
    )

    def __init__(self, encoder: Encoder, data: DataSpec, config: BYOLConfig) -> None:
        """Add the heads and the target."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentations = preset(config.augmentation, data), preset(config.second_augmentation, data)
        self.projector = mlp(encoder.dim, config.hidden_dim, config.output_dim)
        self.predictor: nn.Module = nn.Identity()
        if config.predictor:
            self.predictor = mlp(config.output_dim, config.hidden_dim, config.output_dim)
        self.target = momentum_copy(nn.Sequential(encoder, self.projector))
        self.momentum = config.momentum  # of the step under way; `before_step` sets it, so it is no state

    def players(self) -> list[Player]:
        """One, without the target."""
        return [Player("main", [p for p in self.parameters() if p.requires_grad])]

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice, from two distributions: (N, C, H, W) in [0, 1] -> (2, N, C, H, W)."""
        return torch.stack([augment(batch.inputs, rng, augmentation) for augmentation in self.augmentations])

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """The target's momentum, by cosine over all steps."""
        self.momentum = cosine_momentum(self.config.momentum, context.step, context.num_steps)
        return {"momentum": self.momentum}

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Mean of both orders' losses of views (2, N, C, H, W); with how far the projections spread."""
        with torch.no_grad():
            targets = [self.target(view) for view in views]
        projections = [self.projector(self.encoder(view)) for view in views]
        first, second = (self.predictor(projection) for projection in projections)
        total = (regression_loss(first, targets[1]) + regression_loss(second, targets[0])) / 2
        return Loss(total, {"spread": spread(projections[0])}, floors={"spread": 0.1})

    def after_step(self) -> None:
        """The target follows, after the optimiser's step."""
        update_copy(self.target, nn.Sequential(self.encoder, self.projector), self.momentum)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BYOLConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


def regression_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of unit vectors, Eq. (2): 2 - 2 cos.

    Args:
        predictions: (N, P).
        targets: (N, P), without gradient.

    Returns:
        () mean over rows, in [0, 4]; 2 where they are orthogonal.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        return 2 - 2 * F.cosine_similarity(predictions.float(), targets.float(), dim=1).mean()


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"byol": BYOL}
