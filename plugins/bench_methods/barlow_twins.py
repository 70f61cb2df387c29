"""Barlow Twins: each unit of the projection agrees between two views, and no two units are correlated.

Paper: Zbontar, Jing, Misra, LeCun, Deny, ICML 2021, https://arxiv.org/abs/2103.03230
Code:  https://github.com/facebookresearch/barlowtwins/blob/8e8d284/main.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/barlow.yaml
Note:  the paper has no recipe for CIFAR. The defaults are solo's, with its form of LARS (`trust`, `trust_cap`). The
       paper's code gives biases and norms a smaller learning rate than the weights; here all have one rate. Solo's
       views have saturation .2, the preset `simclr` has .4. The logged number `dimensions` is ours.

Shapes: N images; rows i and i + N of the views show image i. C channels, H x W pixels, P units of the projection.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, log, param
from bench_core.nn.heads import mlp
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsConfig(Config):
    """Parameters of Barlow Twins; defaults for CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's two hidden layers, in units", "solo; ImageNet: 8192", ge=1)
    output_dim: int = param(2048, "width of the projection, in units", "solo; ImageNet: 8192", ge=1)
    redundancy_weight: float = param(
        0.0051,
        "weight (lambda) of the correlations between different units; 0 is a control",
        "code, --lambd",
        ge=0,
        tune=log(1e-3, 1e-1),
    )
    scale: float = param(
        0.1,
        "factor of the whole loss: changes the steps of biases and norms; under LARS not those of weights",
        "solo; code: 1",
        gt=0,
    )
    augmentation: str = param(
        "simclr", "preset of the views", "ours: solo's but for the saturation", choices=PRESET_NAMES
    )
    solarize: float = param(
        0.2, "chance of solarizing the second view; only if the preset changes colours", "solo, code", ge=0, le=1
    )


class BarlowTwins(Objective):
    """Correlate views, decorrelate units (Zbontar 2021).

    Trains the encoder and a projector of three layers. The projector is used by the loss and gives the `code`; tasks on
    `features` read the encoder alone.
    """

    Config = BarlowTwinsConfig
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
    recipe_source = "solo-learn, cifar/barlow.yaml; warm-up is its default"
    variants: ClassVar[Mapping[str, Variant]] = {
        "no_redundancy_term": Variant(
            {"redundancy_weight": 0.0}, "ours: control", "control: units may repeat each other"
        ),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: BarlowTwinsConfig) -> None:
        """Add the projector."""
        super().__init__(encoder, data, config)
        self.config = config
        self.first = preset(config.augmentation, data)
        # Presets that change no colours ("glyph", "none") get no solarization either.
        self.second = replace(self.first, solarize_prob=config.solarize) if self.first.jitter_prob else self.first
        self.projector = mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, view) for view in (self.first, self.second)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """Return the loss of views (2N, C, H, W), with its two sums and the number of dimensions in use.

        Each half of the views passes the network by itself, so that batch norm never mixes the two views of an image.
        """
        z1, z2 = (self.projector(self.encoder(view)) for view in views.chunk(2))
        invariance, redundancy = barlow_terms(z1, z2)
        total = self.config.scale * (invariance + self.config.redundancy_weight * redundancy)
        parts = {"invariance": invariance, "redundancy": redundancy, "dimensions": effective_dimensions(z1)}
        return Loss(total, parts, floors={"dimensions": 2.0})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BarlowTwinsConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


def standardized(z: Tensor) -> Tensor:
    """Return z with mean 0 and deviation 1 in each column, by the biased variance plus 1e-5, as in batch norm."""
    return (z - z.mean(0)) * (z.var(0, correction=0) + 1e-5).rsqrt()


def barlow_terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two sums of the loss.

    Both read the cross-correlation C_ij: the mean over images of unit i of z1 times unit j of z2, both standardized.

    Args:
        z1: (N, P) projections of one view of each image.
        z2: (N, P) projections of the other view.

    Returns:
        () sum_i (1 - C_ii)^2, in [0, 4 P]: 0 where views agree, about P where they are independent.
        () sum_{i != j} C_ij^2: 0 where no two units are correlated, about P^2 / N for independent units.

    Raises:
        ValueError: There are fewer than two images.
    """
    if len(z1) < 2:
        raise ValueError(f"barlow_twins needs at least 2 images in a batch, got {len(z1)}")
    with torch.autocast(z1.device.type, enabled=False):
        correlation = standardized(z1.float()).T @ standardized(z2.float()) / len(z1)  # (P, P)
        diagonal = correlation.diagonal()
        return (1 - diagonal).square().sum(), (correlation - diagonal.diag()).square().sum()


@torch.no_grad()
def effective_dimensions(z: Tensor) -> Tensor:
    """Return the effective number of independent units in projections z (N, P); this measure is ours.

    It is (sum e)^2 / sum e^2 over the eigenvalues e of the correlation matrix, in [0, min(P, N - 1)]: P if units are
    uncorrelated, 1 if all units repeat one, 0 if all are constant.
    """
    with torch.autocast(z.device.type, enabled=False):
        unit = standardized(z.float())
        gram = unit @ unit.T if len(z) < z.shape[1] else unit.T @ unit  # both have the same eigenvalues but zeros
        return unit.square().sum().square() / gram.square().sum().clamp_min(1e-12)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"barlow_twins": BarlowTwins}
