"""NAC: send the binary code of one view through a noisy channel; recognise the received code from the other view.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0)
Note:  formulas (`bench_core.nn.activation_codes`) and settings follow the authors' program, which relaxes the signs of
       a code to tanh(z / sqrt(P)). Every run begins at a saddle, where codes and logits are near 0: the loss stays on a
       plateau at log(2N), the longer the noisier the channel. While the norm of the codes is below its floor, the log
       says so. Both views pass the network together; in the authors' program they pass one by one, so that batch norm
       never mixes them. The README's commands also decay biases and batch norm and adapt their rate by LARS; here
       neither is done.

Shapes: N images; rows i and i + N of the views show image i. C channels, H x W pixels, D features, P code bits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench_core import Batch, Config, DataSpec, Encoder, Loss, Objective, Recipe, Variant, choice, hookimpl, param
from bench_core.nn.activation_codes import (
    HEAD_NORMS,
    PLATEAU,
    CodeViews,
    code_head,
    code_views,
    information,
    information_ceiling,
    nac_loss,
)
from bench_core.views import PRESET_NAMES, preset


@dataclass(frozen=True, kw_only=True)
class NACConfig(Config):
    """Parameters of NAC; defaults for linear classification of CIFAR-10."""

    code_dim: int = param(128, "length of the code, in bits", "code, default of --feature_dim", ge=1)
    flip: float = param(
        0.1,
        "chance that the channel flips a bit",
        "README, CIFAR-10; hashing: .4",
        gt=0,
        lt=0.5,
        tune=choice(0.1, 0.2, 0.3, 0.4),
    )
    noise: bool = param(True, "flip bits; without flips `flip` only scales the loss (a control)", "ours: control")
    augmentation: str = param("nac", "preset of the views", "code, CIFAR-10 training transform", choices=PRESET_NAMES)
    head_norm: str = param(
        "none",
        "norm in the hidden layer of the code head and of the inference network; batch leaves the plateau sooner",
        "code, CIFAR-10; option proj_bn for ImageNet: batch",
        choices=HEAD_NORMS,
        added=True,
        tune=choice("none", "batch"),
    )


class NAC(Objective):
    """Send a binary code through noise (Park 2021).

    Trains the encoder and two heads: the code head makes the code of a view, the inference network estimates the code
    of the other view. Tasks read `features`, the encoder's output, and `code`, the signs of the code head.
    """

    Config = NACConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=3.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=1000
    )
    recipe_source = "README, CIFAR-10 command for linear classification"
    variants: ClassVar[Mapping[str, Variant]] = {
        "hashing": Variant(
            {"flip": 0.4, "recipe.epochs": 2000, "recipe.warmup_epochs": 100},
            source="README, CIFAR-10 command for hashing",
            help="retrieval by code: noisier channel, 2000 epochs",
        )
    }

    def __init__(self, encoder: Encoder, data: DataSpec, config: NACConfig) -> None:
        """Add the code head and the inference network."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.code_head = code_head(encoder.dim, config.code_dim, config.head_norm)
        self.inference = code_head(encoder.dim, config.code_dim, config.head_norm)

    def make_views(self, batch: Batch, rng: torch.Generator) -> CodeViews:
        """Augment each image twice and draw the channel's flips: (N, C, H, W) in [0, 1] -> 2N rows."""
        return code_views(batch.inputs, self.augmentation, self.config.code_dim, self.config.flip, rng)

    def forward(self, views: CodeViews, player: str = "main") -> Loss:
        """Return the loss in nats, with two numbers for the log.

        These are the mean squared norm of the codes, near 0 while training is on the plateau, and the estimated
        information that passes the channel, in nats.
        """
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
        """Return `features` (N, D) and `code` (N, P) bool: the units that are on."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.code_head(features) > 0}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NACConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"nac": NAC}
