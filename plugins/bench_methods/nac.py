"""NAC: send one view's activation code through a noisy channel; the other view is to tell what was received.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0)
Note:  formulas (`bench_core.nn.activation_codes`) and settings follow the code, which relaxes the code's signs to
       tanh(z / sqrt(P)). Codes and logits of 0 are a saddle, on which every run begins: a plateau at log(2N), left the
       later the noisier the channel. The log says so while the codes' norm is under its floor. Both views pass the
       network together; in the code one by one, so that batch norm sees each apart. The README's commands decay and
       LARS-adapt biases and batch norm as well, here neither is done.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P code bits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.activation_codes import (
    PLATEAU,
    CodeViews,
    code_head,
    code_views,
    information,
    information_ceiling,
    nac_loss,
)
from bench_core.views import check_preset, preset


@dataclass(frozen=True, kw_only=True)
class NACConfig:
    """Defaults are those of CIFAR-10, linear classification."""

    code_dim: int = param(128, "bits of the code", "code, default of --feature_dim")
    flip: float = param(0.1, "chance that the channel flips a bit, in (0, .5)", "README, CIFAR-10; hashing: .4")
    noise: bool = param(True, "False: nothing is flipped, `flip` only scales the loss (a control)", "ours: control")
    augmentation: str = param("nac", "preset of the views", "code, CIFAR-10 training transform")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.code_dim < 1:
            raise ValueError(f"code_dim must be >= 1, got {self.code_dim}")
        if not 0 < self.flip < 0.5:
            raise ValueError(f"flip must be in (0, 0.5), got {self.flip}")
        check_preset(self.augmentation)


class NAC(Objective):
    """The encoder under study, a code head, and an inference network that reads the code off the other view."""

    Config = NACConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=3.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=1000
    )
    recipe_source = "README, CIFAR-10 command for linear classification"
    variants: ClassVar[Mapping[str, Variant]] = {
        "hashing": Variant(
            {"flip": 0.4, "recipe.epochs": 2000, "recipe.warmup_epochs": 100},
            source="README, CIFAR-10 command for hashing",
            help="for retrieval by the code, on VGG-16-BN: so noisy a channel tells about a dozen groups apart",
        )
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: NACConfig) -> None:
        """Add the code head and the inference network."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.code_head = code_head(encoder.dim, config.code_dim)
        self.inference = code_head(encoder.dim, config.code_dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> CodeViews:
        """Augment each image twice and draw the channel's flips: (N, C, H, W) in [0, 1] -> 2N rows."""
        return code_views(batch.inputs, self.augmentation, self.config.code_dim, self.config.flip, rng)

    def forward(self, views: CodeViews, player: str = "main") -> Loss:
        """The loss, in nats; with the squared norm of the codes (0: still on the plateau) and the information."""
        features = self.encoder(views.images)
        scale = math.sqrt(self.config.code_dim)
        codes = torch.tanh(self.code_head(features).float() / scale)
        logits = self.inference(features).float() / scale
        flips = views.flips if self.config.noise else torch.ones_like(views.flips)
        flip = self.config.flip
        total = nac_loss(codes, logits, flips, flip)
        with torch.no_grad():
            parts = {
                "code_norm": codes.square().sum(1).mean(),
                "information": information(codes, logits, views.flips, flip),
            }
        ceilings = {"information": information_ceiling(len(codes), codes.shape[1], flip)}
        return Loss(total, parts, ceilings, floors={"code_norm": PLATEAU})

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `code` (N, P), which units are on."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.code_head(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NACConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"nac": NAC}
