"""NAC with a momentum encoder and a queue: a received code is compared with more codes than a batch has.

Paper: Park, Lee, Kim, Blei, ICML 2021, https://arxiv.org/abs/2112.04014
Code:  https://github.com/yookoon/nac (7d706c0, option --moco)
Note:  the authors' program multiplies by beta in the base method and divides by it here; divided, a run at flip .4
       never leaves the plateau at log(K). This file multiplies. The queue holds codes of older networks, so the loss is
       no bound on the information, not even for hard codes. The logged information is therefore that of the base
       method, from the batch alone. The authors' program sums the term of the inference network over both views and
       passes the views one by one; here the term is a mean, and the views pass together.

Shapes: N images; rows i and i + N of the views show image i. C channels, H x W pixels, D features, P code bits, K keys.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    DataSpec,
    Encoder,
    Loss,
    Objective,
    Player,
    Recipe,
    Variant,
    choice,
    hookimpl,
    param,
)
from bench_core.nn.activation_codes import (
    HEAD_NORMS,
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
from bench_core.views import PRESET_NAMES, preset


@dataclass(frozen=True, kw_only=True)
class NACMoCoConfig(Config):
    """Parameters of NAC with a queue; defaults for linear classification of CIFAR-10."""

    code_dim: int = param(128, "length of the code, in bits", "code, default of --feature_dim", ge=1)
    flip: float = param(
        0.1,
        "chance that the channel flips a bit",
        "README, CIFAR-10; hashing: .4",
        gt=0,
        lt=0.5,
        tune=choice(0.1, 0.2, 0.3, 0.4),
    )
    queue_size: int = param(
        50_000, "number of codes in the queue; a batch of N images needs 2N", "code, CIFAR-10; hashing: 5000", ge=2
    )
    momentum: float = param(
        0.99,
        "momentum of the moving average that the copies follow",
        "code, CIFAR-10",
        ge=0,
        le=1,
        tune=choice(0.5, 0.9, 0.99, 0.999),
    )
    l2_weight: float = param(
        0.1,
        "weight of the codes' squared norm; codes stay 0 if it is (1 - 2 flip)^2 / 2 or more",
        "code; hashing: 0",
        ge=0,
        tune=choice(0.0, 0.01, 0.1),
    )
    augmentation: str = param("nac", "preset of the views", "code, CIFAR-10 training transform", choices=PRESET_NAMES)
    head_norm: str = param(
        "none",
        "norm in the hidden layer of the code head and of the inference network; batch leaves the plateau sooner",
        "code, CIFAR-10; option proj_bn for ImageNet: batch",
        choices=HEAD_NORMS,
        added=True,
        tune=choice("none", "batch"),
    )


class NACMoCo(Objective):
    """NAC with a queue of slow codes (Park 2021).

    Trains the encoder, the code head and the inference network. Copies of the three get no gradient; their weights
    follow by a moving average. A queue holds the codes that the copies made of earlier batches.
    """

    Config = NACMoCoConfig
    recipe = Recipe(
        optimizer="lars", learning_rate=3.0, weight_decay=1e-6, warmup_epochs=10, epochs=1000, batch_size=1000
    )
    recipe_source = "README, CIFAR-10 command for linear classification (of the base method)"
    variants: ClassVar[Mapping[str, Variant]] = {
        "hashing": Variant(
            {"flip": 0.4, "queue_size": 5000, "l2_weight": 0.0, "recipe.epochs": 2000, "recipe.warmup_epochs": 100},
            source="README, CIFAR-10 command for hashing (of the base method); code, queue and l2 of --moco there",
            help="retrieval by code: noisier channel, shorter queue",
        )
    }
    queue: Tensor  # (K, P)
    oldest: Tensor  # () int64, the row of the queue that is overwritten next

    def __init__(self, encoder: Encoder, data: DataSpec, config: NACMoCoConfig) -> None:
        """Add both heads, the momentum copies and a queue of codes near 0."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.code_head = code_head(encoder.dim, config.code_dim, config.head_norm)
        self.inference = code_head(encoder.dim, config.code_dim, config.head_norm)
        self.copies = momentum_copy(self._networks())
        self.register_buffer("queue", 1e-3 * torch.randn(config.queue_size, config.code_dim))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def make_views(self, batch: Batch, rng: torch.Generator) -> CodeViews:
        """Augment each image twice and draw the channel's flips: (N, C, H, W) in [0, 1] -> 2N rows."""
        return code_views(batch.inputs, self.augmentation, self.config.code_dim, self.config.flip, rng)

    def forward(self, views: CodeViews, player: str = "main") -> Loss:
        """Return the loss in nats, with the mean squared norm of the codes and the estimated information.

        The loss compares the received codes with logits that the copies infer. The trained inference network has a term
        of its own, on features that get no gradient from it. This batch's codes enter the queue before the loss reads
        it, so forward changes buffers, as batch norm does.
        """
        flip, flips = self.config.flip, views.flips
        features = self.encoder(views.images)
        codes = self._relaxed(self.code_head(features)).tanh()
        logits = self._relaxed(self.inference(features.detach()))
        with torch.no_grad():
            encoder, head, inference = self.copies
            copied = encoder(views.images)
            self._enqueue(self._relaxed(head(copied)).tanh())
            copied_logits = self._relaxed(inference(copied))
            passed = information(codes, logits, flips, flip)
        norm = codes.square().sum(1).mean()
        inference_loss = -log_posterior(flips * codes.detach(), logits).mean()
        total = nac_loss(codes, copied_logits, flips, flip, self.queue) + inference_loss + self.config.l2_weight * norm
        parts = {"code_norm": norm.detach(), "information": passed}
        ceilings = {"information": information_ceiling(len(codes), codes.shape[1], flip)}
        return Loss(total, parts, ceilings, floors={"code_norm": PLATEAU})

    def players(self) -> list[Player]:
        """Return one player with all parameters but those of the copies."""
        return [Player("main", list(self._networks().parameters()))]

    def after_step(self) -> None:
        """Move the weights of the copies; their batch norm keeps statistics of its own."""
        update_copy(self.copies, self._networks(), self.config.momentum)

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool: the units that are on."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.code_head(features) > 0}

    def _networks(self) -> nn.ModuleList:
        return nn.ModuleList([self.encoder, self.code_head, self.inference])

    def _relaxed(self, outputs: Tensor) -> Tensor:
        return outputs.float() / math.sqrt(self.config.code_dim)

    def _enqueue(self, codes: Tensor) -> None:
        """Overwrite the oldest codes of the queue with codes (2N, P)."""
        if len(codes) > len(self.queue):
            raise ValueError(f"queue_size must hold a batch's {len(codes)} codes, got {len(self.queue)}")
        enqueue(self.queue, self.oldest, codes)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NACMoCoConfig) -> str | None:
        """Return "needs images" for data of another kind: views are augmented images."""
        return None if data.is_image else "needs images"


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"nac_moco": NACMoCo}
