"""Barlow Twins: two views of an image agree in each unit of the projection, and no two units say the same.

Paper: Zbontar, Jing, Misra, LeCun, Deny, ICML 2021, https://arxiv.org/abs/2103.03230
Code:  https://github.com/facebookresearch/barlowtwins/blob/8e8d284/main.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/barlow.yaml
Note:  the paper has no CIFAR recipe, the defaults are solo's, its LARS included (`trust`, `trust_cap`); the paper's
       code gives bias and norm a smaller rate than here. Solo's views have saturation .2, SimCLR's .4. The count of
       dimensions that is logged is ours.

Shapes: N images, rows i and i + N of views are two views of one; C channels, H x W pixels, P projected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.heads import mlp
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class BarlowTwinsConfig:
    """Defaults are those of CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's two hidden layers", "solo; ImageNet: 8192")
    output_dim: int = param(2048, "width of the projection", "solo; ImageNet: 8192")
    redundancy_weight: float = param(0.0051, ">= 0, lambda: of pairs of units; 0 is a control", "code, --lambd")
    scale: float = param(0.1, "> 0, of the whole loss: bias and norm feel it, LARS's weights do not", "solo; code: 1")
    augmentation: str = param("simclr", "preset of the views", "ours: but for saturation solo's")
    solarize: float = param(0.2, "chance of solarizing the second view, where the preset changes colours", "solo, code")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("hidden_dim", "output_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.redundancy_weight >= 0:
            raise ValueError(f"redundancy_weight must be >= 0, got {self.redundancy_weight}")
        if not self.scale > 0:
            raise ValueError(f"scale must be > 0, got {self.scale}")
        if not 0 <= self.solarize <= 1:
            raise ValueError(f"solarize must be in [0, 1], got {self.solarize}")
        check_preset(self.augmentation)


class BarlowTwins(Objective):
    """The encoder under study, then a projector that only training sees."""

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
        "no_redundancy_term": Variant({"redundancy_weight": 0.0}, "ours: control", "units may repeat each other"),
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: BarlowTwinsConfig) -> None:
        """Add the projector."""
        super().__init__(encoder, data, config)
        self.config = config
        self.first = preset(config.augmentation, data)
        # Glyphs and "none" keep their colours.
        self.second = replace(self.first, solarize_prob=config.solarize) if self.first.jitter_prob else self.first
        self.projector = mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Augment each image twice: (N, C, H, W) in [0, 1] -> (2N, C, H, W)."""
        return torch.cat([augment(batch.inputs, rng, view) for view in (self.first, self.second)])

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        """The loss of views (2N, C, H, W), each with batch statistics of its own; its two sums; the dimensions used."""
        z1, z2 = (self.projector(self.encoder(view)) for view in views.chunk(2))
        invariance, redundancy = barlow_terms(z1, z2)
        total = self.config.scale * (invariance + self.config.redundancy_weight * redundancy)
        parts = {"invariance": invariance, "redundancy": redundancy, "dimensions": effective_dimensions(z1)}
        return Loss(total, parts, floors={"dimensions": 2.0})

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BarlowTwinsConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


def standardized(z: Tensor) -> Tensor:
    """Each column less its mean, over its standard deviation; biased variance plus 1e-5, as batch norm has it."""
    return (z - z.mean(0)) * (z.var(0, correction=0) + 1e-5).rsqrt()


def barlow_terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """The two sums of the loss, on the cross-correlation C_ij = mean over images of unit i of z1 times unit j of z2.

    Args:
        z1: (N, P) projections of one view of each image.
        z2: (N, P) of the other.

    Returns:
        () sum_i (1 - C_ii)^2, in [0, 4 P]: 0 where views agree, about P where they are independent.
        () sum_{i != j} C_ij^2, 0 where no two units are correlated; about P^2 / N for independent units.

    Raises:
        ValueError: Fewer than two images.
    """
    if len(z1) < 2:
        raise ValueError(f"barlow_twins needs at least 2 images in a batch, got {len(z1)}")
    with torch.autocast(z1.device.type, enabled=False):
        correlation = standardized(z1.float()).T @ standardized(z2.float()) / len(z1)  # (P, P)
        diagonal = correlation.diagonal()
        return (1 - diagonal).square().sum(), (correlation - diagonal.diag()).square().sum()


@torch.no_grad()
def effective_dimensions(z: Tensor) -> Tensor:
    """How many independent units the projections z (N, P) are worth; ours.

    (sum e)^2 / sum e^2 over the eigenvalues e of the correlation matrix, in [0, min(P, N - 1)]: P where units are not
    correlated, 1 where all repeat one, 0 where none moves.
    """
    with torch.autocast(z.device.type, enabled=False):
        unit = standardized(z.float())
        gram = unit @ unit.T if len(z) < z.shape[1] else unit.T @ unit  # the same eigenvalues, but for zeros
        return unit.square().sum().square() / gram.square().sum().clamp_min(1e-12)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"barlow_twins": BarlowTwins}
