"""VICReg: two views of an image agree, each unit of the projection varies over images, and no two units covary.

Paper: Bardes, Ponce, LeCun, ICLR 2022, https://arxiv.org/abs/2105.04906
Code:  https://github.com/facebookresearch/vicreg/blob/4e12602/main_vicreg.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/vicreg.yaml
Note:  the paper and solo add the variance terms of the two views, the paper's code takes their mean (vicreg issues 8
       and 26). This file follows the code; their sum is `variance_weight` 50 here, the variant `summed`. The paper has
       no recipe for CIFAR. The defaults are solo's, with its form of LARS (`trust`, `trust_cap`). Solo crops views from
       .2 of the area with saturation .2, the preset `simclr` from .08 with .4.

Shapes: N images; rows i and i + N of the views show image i. C channels, H x W pixels, P units of the projection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, log, param
from bench_core.nn.heads import mlp
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class VICRegConfig(Config):
    """Parameters of VICReg; defaults for CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's two hidden layers, in units", "solo; ImageNet: 8192", ge=1)
    output_dim: int = param(2048, "width of the projection, in units", "solo; ImageNet: 8192", ge=1)
    invariance_weight: float = param(
        25.0,
        "weight of the mean squared difference between views",
        "code, --sim-coeff; solo",
        ge=0,
        tune=log(1.0, 100.0),
    )
    variance_weight: float = param(
        25.0,
        "weight of the hinge on the standard deviation, a mean over both views; 0 is a control",
        "code, --std-coeff; solo: 50",
        ge=0,
        tune=log(1.0, 100.0),
    )
    covariance_weight: float = param(
        1.0,
        "weight of the squared covariances / P, a sum over both views",
        "code, --cov-coeff; solo",
        ge=0,
        tune=log(0.1, 10.0),
    )
    augmentation: str = param("simclr", "preset of the views", "ours: near solo's", choices=PRESET_NAMES)
    solarize: float = param(0.1, "chance of solarizing a view; only if the preset changes colours", "solo", ge=0, le=1)


class VICReg(Objective):
    """Match views, keep variance per unit (Bardes 2022).

    Trains the encoder and a projector of three layers, the paper's expander. The projector is used by the loss and
    gives the `code`; tasks on `features` read the encoder alone.
    """

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
            {"variance_weight": 50.0},
            "paper, by vicreg issue 8; solo",
            "variance terms of the views are added, not averaged",
        ),
        "no_variance_term": Variant(
            {"variance_weight": 0.0}, "ours: control", "control: nothing keeps units from becoming constant"
        ),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: VICRegConfig) -> None:
        """Add the projector."""
        super().__init__(encoder, data, config)
        self.config = config
        view = preset(config.augmentation, data)
        # Presets that change no colours ("glyph", "none") get no solarization either.
        self.augmentation = replace(view, solarize_prob=config.solarize) if view.jitter_prob else view
        self.projector = mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, self.augmentation) for _ in range(2)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the loss of views (2N, C, H, W), with its three terms and the mean deviation of a unit.

        Each half of the views passes the network by itself, so that batch norm never mixes the two views of an image.
        """
        config = self.config
        z1, z2 = (self.projector(self.encoder(view)) for view in views.chunk(2))
        terms = vicreg_terms(z1, z2)
        total = config.invariance_weight * terms.invariance
        total = total + config.variance_weight * terms.variance + config.covariance_weight * terms.covariance
        deviation = z1.detach().float().std(0).mean()
        return Loss(total, {**terms._asdict(), "deviation": deviation}, floors={"deviation": 0.1})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: VICRegConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


class Terms(NamedTuple):
    """The three terms of the loss before their weights, each () and >= 0."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def vicreg_terms(z1: Tensor, z2: Tensor) -> Terms:
    """Return the terms invariance, variance and covariance, combined over views as in the code.

    Args:
        z1: (N, P) projections of one view of each image.
        z2: (N, P) projections of the other view.

    Returns:
        invariance: the mean squared difference over N and P.
        variance: the mean over units and both views of max(0, 1 - s) with s = sqrt(variance + 1e-4); collapse: .99.
        covariance: the sum over both views of squared off-diagonal covariances / P.
        The estimates of variance and covariance are unbiased.

    Raises:
        ValueError: There are fewer than two images.
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
