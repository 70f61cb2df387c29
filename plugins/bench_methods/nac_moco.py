"""NAC with a momentum encoder and a queue: more codes to tell a received one from than a batch has.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0, option --moco)
Note:  this part of the code divides by beta where the base method's multiplies; at flip .4 it then never leaves the
       plateau at log(K). Here it multiplies. The queue holds codes of older networks, so that the loss is no bound
       even of hard codes: the information that is logged is the base method's, of the batch alone. The code sums the
       inference network's term over both views, here it is a mean, and passes the views one by one, here together.

Shapes: N images, rows i and i + N are two views of one; C channels, H x W pixels, D features, P code bits, K keys.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Loss, Objective, Player, Recipe, Variant, hookimpl, param
from bench_core.nn.activation_codes import (
    PLATEAU,
    CodeViews,
    code_head,
    code_views,
    information,
    information_ceiling,
    log_posterior,
    nac_loss,
)
from bench_core.nn.momentum import enqueue, momentum_copy, update_copy
from bench_core.views import check_preset, preset


@dataclass(frozen=True, kw_only=True)
class NACMoCoConfig:
    """Defaults are those of CIFAR-10, linear classification."""

    code_dim: int = param(128, "bits of the code", "code, default of --feature_dim")
    flip: float = param(0.1, "chance that the channel flips a bit, in (0, .5)", "README, CIFAR-10; hashing: .4")
    queue_size: int = param(50_000, "codes kept; a batch of N images needs 2N", "code, CIFAR-10; hashing: 5000")
    momentum: float = param(0.99, "of the copy, in [0, 1]", "code, CIFAR-10")
    l2_weight: float = param(
        0.1, "of the codes' squared norm; from (1 - 2 flip)^2 / 2 on they stay 0", "code; hashing: 0"
    )
    augmentation: str = param("nac", "preset of the views", "code, CIFAR-10 training transform")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, low in (("code_dim", 1), ("queue_size", 2), ("l2_weight", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        if not 0 < self.flip < 0.5:
            raise ValueError(f"flip must be in (0, 0.5), got {self.flip}")
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {self.momentum}")
        check_preset(self.augmentation)


class NACMoCo(Objective):
    """Encoder, code head and inference network, a momentum copy of the three, and a queue of the copy's codes."""

    Config = NACMoCoConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=3.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=1000
    )
    recipe_source = "README, CIFAR-10 command for linear classification (of the base method)"
    variants: ClassVar[Mapping[str, Variant]] = {
        "hashing": Variant(
            {"flip": 0.4, "queue_size": 5000, "l2_weight": 0.0, "recipe.epochs": 2000, "recipe.warmup_epochs": 100},
            source="README, CIFAR-10 command for hashing (of the base method); code, queue and l2 of --moco there",
            help="for retrieval by the code, on VGG-16-BN and 5,000 images",
        )
    }
    queue: Tensor
    oldest: Tensor

    def __init__(self, encoder: Encoder, data: DataSpec, config: NACMoCoConfig) -> None:
        """Add both heads, the momentum copies and a queue of next to nothing."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.code_head = code_head(encoder.dim, config.code_dim)
        self.inference = code_head(encoder.dim, config.code_dim)
        self.copies = momentum_copy(self._networks())
        self.register_buffer("queue", 1e-3 * torch.randn(config.queue_size, config.code_dim))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))  # the queue's next row to be written over

    def make_views(self, batch: Batch, rng: torch.Generator) -> CodeViews:
        """Augment each image twice and draw the channel's flips: (N, C, H, W) in [0, 1] -> 2N rows."""
        return code_views(batch.inputs, self.augmentation, self.config.code_dim, self.config.flip, rng)

    def forward(self, views: CodeViews, player: str = "main") -> Loss:
        """Loss in nats; the copies answer for the encoder, the inference network learns its own term on held features.

        This batch's codes are in the queue when it is read: forward changes buffers, as batch norm's does.
        """
        flip, flips = self.config.flip, views.flips
        features = self.encoder(views.images)
        codes = self._relaxed(self.code_head(features)).tanh()
        logits = self._relaxed(self.inference(features.detach()))
        with torch.no_grad():
            encoder, head, inference = self.copies
            copied = encoder(views.images)
            self._enqueue(self._relaxed(head(copied)).tanh())
            answers = self._relaxed(inference(copied))
            known = information(codes, logits, flips, flip)
        norm = codes.square().sum(1).mean()
        own = -log_posterior(flips * codes.detach(), logits).mean()
        total = nac_loss(codes, answers, flips, flip, self.queue) + own + self.config.l2_weight * norm
        parts = {"code_norm": norm.detach(), "information": known}
        ceilings = {"information": information_ceiling(len(codes), codes.shape[1], flip)}
        return Loss(total, parts, ceilings, floors={"code_norm": PLATEAU})

    def players(self) -> list[Player]:
        """All but the copies."""
        return [Player("main", list(self._networks().parameters()))]

    def after_step(self) -> None:
        """The copies follow; their batch norm's statistics are their own."""
        update_copy(self.copies, self._networks(), self.config.momentum)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """`features` (N, D); `code` (N, P), which units are on."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.code_head(features) > 0}

    def _networks(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.code_head, self.inference])

    def _relaxed(self, outputs: Tensor) -> Tensor:
        return outputs.float() / math.sqrt(self.config.code_dim)

    def _enqueue(self, codes: Tensor) -> None:
        """Codes (2N, P) take the place of the oldest ones."""
        if len(codes) > len(self.queue):
            raise ValueError(f"queue_size must hold a batch's {len(codes)} codes, got {len(self.queue)}")
        enqueue(self.queue, self.oldest, codes)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NACMoCoConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"nac_moco": NACMoCo}
