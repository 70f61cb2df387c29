"""VICReg: two views of an image agree, each unit of the projection varies over images, no two units covary.

Paper: Bardes, Ponce, LeCun, ICLR 2022, https://arxiv.org/abs/2105.04906
Code:  https://github.com/facebookresearch/vicreg/blob/4e12602/main_vicreg.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/vicreg.yaml
Note:  the paper and solo add the two views' variance terms, the paper's code takes their mean (vicreg
       issues 8 and 26). This file follows the code, so theirs is `variance_weight` 50 here: variant `summed`.
       The paper has no CIFAR recipe, the defaults are solo's, its LARS included (`trust`, `trust_cap`). Solo's views
       crop from .2 of the area, with saturation .2; SimCLR's from .08, with .4.

Shapes: N images, rows i and i + N of views are two views of one; C channels, H x W pixels, P projected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.heads import mlp
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class VICRegConfig:
    """Defaults are those of CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's two hidden layers", "solo; ImageNet: 8192")
    output_dim: int = param(2048, "width of the projection", "solo; ImageNet: 8192")
    invariance_weight: float = param(25.0, ">= 0, of the mean squared difference of views", "code, --sim-coeff; solo")
    variance_weight: float = param(
        25.0,
        ">= 0, of the mean of both views' hinges on the standard deviation; 0 is a control",
        "code, --std-coeff; solo: 50",
    )
    covariance_weight: float = param(
        1.0, ">= 0, of the sum of both views' squared covariances / P", "code, --cov-coeff; solo"
    )
    augmentation: str = param("simclr", "preset of the views", "ours: near solo's")
    solarize: float = param(0.1, "chance of solarizing a view, where the preset changes colours", "solo")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("hidden_dim", "output_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("invariance_weight", "variance_weight", "covariance_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        if not 0 <= self.solarize <= 1:
            raise ValueError(f"solarize must be in [0, 1], got {self.solarize}")
        check_preset(self.augmentation)


class VICReg(Objective):
    """The encoder under study, then a projector (the paper's expander) that only training sees."""

    Config = VICRegConfig
    recipe = Recipe(
        optimizer="lars",
        learning_rate=0.3,
        weight_decay=1e-4,
        warmup_epochs=10,
        epochs=1000,
        batch_size=256,
        trust=0.02,
        trust_cap=True,
    )
    recipe_source = "solo-learn, cifar/vicreg.yaml; warm-up is its default"
    variants: ClassVar[Mapping[str, Variant]] = {
        "summed": Variant(
            {"variance_weight": 50.0}, "paper, by vicreg issue 8; solo", "the views' variance terms are added"
        ),
        "no_variance_term": Variant({"variance_weight": 0.0}, "ours: control", "nothing keeps units from dying"),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: VICRegConfig) -> None:
        """Add the projector."""
        super().__init__(encoder, data, config)
        self.config = config
        view = preset(config.augmentation, data)
        # Glyphs and "none" keep their colours.
        self.augmentation = replace(view, solarize_prob=config.solarize) if view.jitter_prob else view
        self.projector = mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """The loss of views (2N, C, H, W), each with batch statistics of its own; its terms, and the mean deviation."""
        z1, z2 = (self.projector(self.encoder(view)) for view in views.chunk(2))
        terms, c = vicreg_terms(z1, z2), self.config
        total = c.invariance_weight * terms.invariance
        total = total + c.variance_weight * terms.variance + c.covariance_weight * terms.covariance
        deviation = z1.detach().float().std(0).mean()
        return Loss(total, {**terms._asdict(), "deviation": deviation}, floors={"deviation": 0.1})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: VICRegConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


class Terms(NamedTuple):
    """Each () and >= 0, before its weight."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg_terms(z1: Tensor, z2: Tensor) -> Terms:
    """Invariance, variance and covariance, combined over views as in the code.

    Args:
        z1: (N, P) projections of one view of each image.
        z2: (N, P) of the other.

    Returns:
        The mean squared difference over N and P; the mean over units and both views of max(0, 1 - s) with
        s = sqrt(variance + 1e-4), .99 after collapse; the sum over both views of squared off-diagonal covariances / P.
        Variance and covariance are unbiased.

    Raises:
        ValueError: Fewer than two images.
    """
    if len(z1) < 2:
        raise ValueError(f"vicreg needs at least 2 images in a batch, got {len(z1)}")
    with torch.autocast(z1.device.type, enabled=False):
        z = torch.stack((z1, z2)).float()  # (2, N, P)
        centred = z - z.mean(1, keepdim=True)
        covariance = centred.mT @ centred / (z.shape[1] - 1)  # (2, P, P)
        variance = covariance.diagonal(dim1=1, dim2=2)  # (2, P)
        hinge = F.relu(1 - (variance + 1e-4).sqrt()).mean()
        off_diagonal = (covariance - variance.diag_embed()).square().sum() / z.shape[2]
        return Terms((z[0] - z[1]).square().mean(), hinge, off_diagonal)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"vicreg": VICReg}
