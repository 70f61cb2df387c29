"""SwAV: tell from one view of an image which prototypes another is assigned to, all prototypes being used alike.

Paper: Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, NeurIPS 2020, https://arxiv.org/abs/2006.09882
Code:  https://github.com/facebookresearch/swav/blob/06b1b7c/main_swav.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/swav.yaml
Note:  the paper has no CIFAR recipe, the defaults are solo's, its LARS included (`trust`, `trust_cap`): two crops and
       no small ones. The queue fills from the first step on (code: from where it is used). Prototypes are unit vectors
       after every step, as in the code; solo reparametrises them. Small crops need an encoder that takes images of any
       size; large ones stay the preset's (code: from .14 of the area on beside small ones). On data without crops
       (glyphs) a small one is another view of the whole image at the small size.

Shapes: N images, V views of each, the first two large; C channels, H x W pixels, P projected, K prototypes, Q queued.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    ConfigError,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Recipe,
    Variant,
    hookimpl,
    param,
)
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class SwAVConfig:
    """Defaults are those of CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's hidden layer", "solo; code")
    output_dim: int = param(128, "width of the projection", "solo; code")
    prototypes: int = param(3000, "clusters", "solo; code")
    temperature: float = param(0.1, "> 0, divides the scores that predict", "solo; code")
    epsilon: float = param(0.05, "> 0, divides the scores that assign; small is sharp", "code; solo's default")
    iterations: int = param(3, "of Sinkhorn-Knopp", "code; solo's default")
    frozen_epochs: int = param(2, "at first, in which prototypes stay as they are", "solo; code: 1")
    queue: int = param(3840, "projections of earlier batches that are assigned along; 0: none", "solo; code, batch 256")
    queue_start: float = param(
        0.05, "part of the run after which the queue is used, once full", "solo: epoch 50 of 1000"
    )
    small_crops: int = param(0, "small views; the encoder must take any size", "solo; code, ImageNet: 6")
    small_size: float = param(0.43, "side of a small view / side of the image; at least 4 pixels", "code: 96 of 224")
    small_scale: tuple[float, float] = param((0.05, 0.14), "part of the area that a small crop keeps", "code, README")
    equipartition: bool = param(True, "False: softmax at epsilon assigns, which collapses (a control)", "ours: control")
    augmentation: str = param("simclr_imagenet", "preset of the views", "solo, augmentations/symmetric.yaml")

    def __post_init__(self) -> None:
        """Check ranges."""
        lows = {"hidden_dim": 1, "output_dim": 1, "prototypes": 2, "iterations": 1}
        for name, low in (lows | {"frozen_epochs": 0, "queue": 0, "small_crops": 0}).items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be >= {low}, got {getattr(self, name)}")
        for name in ("temperature", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.queue_start <= 1:
            raise ValueError(f"queue_start must be in [0, 1], got {self.queue_start}")
        if not 0 < self.small_size <= 1:
            raise ValueError(f"small_size must be in (0, 1], got {self.small_size}")
        if not 0 < self.small_scale[0] <= self.small_scale[1] <= 1:
            raise ValueError(f"small_scale must be (low, high) with 0 < low <= high <= 1, got {self.small_scale}")
        check_preset(self.augmentation)


class SwAV(Objective):
    """The encoder under study, a projector onto the unit sphere, and prototypes there."""

    Config = SwAVConfig
    recipe = Recipe(
        optimizer="lars",
        learning_rate=0.6,
        weight_decay=1e-6,
        warmup_epochs=10,
        epochs=1000,
        batch_size=256,
        trust=0.02,
        trust_cap=True,
    )
    recipe_source = "solo-learn, cifar/swav.yaml; warm-up is its default"
    variants: ClassVar[Mapping[str, Variant]] = {
        "multicrop": Variant({"small_crops": 6}, "code, README: 2 x 224 + 6 x 96", "six small crops beside the two"),
        "no_equipartition": Variant({"equipartition": False}, "ours: control", "prototypes may be left empty"),
    }
    queue: Tensor  # (2, Q, P), unit rows, newest first

    def __init__(self, encoder: Encoder, data: DataSpec, config: SwAVConfig) -> None:
        """Add the projector, the prototypes and an empty queue."""
        super().__init__(encoder, data, config)
        self.config = config
        self.large = preset(config.augmentation, data)
        crops = self.large.crop_scale is not None
        self.small = replace(self.large, crop_scale=config.small_scale) if crops else self.large
        self.small_side = max(4, round(config.small_size * min(data.shape[1:]))) if data.is_image else 0
        if config.small_crops:
            _refuse_fixed_size(encoder, data.shape[0], self.small_side)
        self.projector = mlp(encoder.dim, config.hidden_dim, config.output_dim)
        self.prototypes = nn.Linear(config.output_dim, config.prototypes, bias=False)
        self.register_buffer("queue", torch.zeros(2, config.queue, config.output_dim))
        self._epoch, self._step, self._num_steps = 0, 0, 1
        self._newest = self.queue[:, :0]
        self._normalize_prototypes()

    def make_views(self, batch: Batch, rng: torch.Generator) -> list[Tensor]:
        """Views of (N, C, H, W) in [0, 1], image after image: two large (2N, C, H, W), then any small in one tensor."""
        large = [augment(batch.inputs, rng, self.large) for _ in range(2)]
        small = [augment(batch.inputs, rng, self.small, self.small_side) for _ in range(self.config.small_crops)]
        return [torch.cat(views) for views in (large, small) if views]

    def forward(self, views: list[Tensor], player: str = "main") -> Loss:
        """The loss, in nats; the part of prototypes that are nearest to some image; the spread of projections."""
        features = torch.cat([self.encoder(images) for images in views])
        projected = F.normalize(self.projector(features).float(), dim=1)
        projected = projected.view(-1, len(views[0]) // 2, projected.shape[1])  # (V, N, P)
        self._newest = projected[:2].detach()
        weight = self.prototypes.weight.float()
        if self._epoch < self.config.frozen_epochs:
            weight = weight.detach()
        with torch.autocast(projected.device.type, enabled=False):  # bf16 scores / epsilon would be off by a tenth
            scores = projected @ weight.T  # (V, N, K)
            total = swav_loss(scores, self._codes(scores[:2], weight), self.config.temperature)
        parts = {"prototypes_used": used(scores[0]), "spread": spread(projected[0])}
        one = 1 / min(scores.shape[1:])  # what is used when a single prototype is
        return Loss(total, parts, floors={"prototypes_used": max(0.1, 1.5 * one), "spread": 0.1})

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Note where training stands: whether prototypes are frozen and the queue is used follows from it."""
        self._epoch, self._step, self._num_steps = context.epoch, context.step, context.num_steps
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """Prototypes back onto the unit sphere, the batch into the queue."""
        self._normalize_prototypes()
        self.queue.copy_(torch.cat((self._newest, self.queue), 1)[:, : self.queue.shape[1]])

    @torch.no_grad()
    def assign(self, inputs: Tensor) -> Tensor:
        """Labels (1, N): the nearest prototype."""
        scores: Tensor = self.prototypes(self.projector(self.encoder(inputs)))
        return scores.argmax(1)[None]

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SwAVConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"

    @torch.no_grad()
    def _normalize_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def _codes(self, scores: Tensor, weight: Tensor) -> Tensor:
        """Targets (2, N, K) from the scores (2, N, K) of the large views."""
        c, size = self.config, scores.shape[1]
        if not c.equipartition:
            return (scores / c.epsilon).softmax(2)
        if c.queue and self._step * size >= c.queue and self._step >= c.queue_start * self._num_steps:
            scores = torch.cat((scores, self.queue @ weight.T), 1)
        return torch.stack([sinkhorn_codes(view, c.epsilon, c.iterations)[:size] for view in scores])


@torch.no_grad()
def _refuse_fixed_size(encoder: Encoder, channels: int, side: int) -> None:
    """ConfigError where an encoder cannot read small views."""
    try:
        encoder.eval()(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        name = type(encoder).__name__
        raise ConfigError(f"small_crops needs an encoder of images of any size; {name} is of one size") from error
    finally:
        encoder.train()


def sinkhorn_codes(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Soft assignments that share the rows out among the prototypes nearly equally.

    exp(scores / epsilon), its columns and then its rows scaled to equal sums, again and again; on logarithms, so
    that nothing under- or overflows. For a whole data set and to convergence: `bench_core.nn.sinkhorn`.

    Args:
        scores: (N, K), any finite numbers.
        epsilon: > 0; small is sharp.
        iterations: Of the pair of scalings.

    Returns:
        (N, K) in [0, 1]; rows sum to 1, columns nearly to N / K. Uniform where all rows are alike.
    """
    log_q = scores.float() / epsilon
    for _ in range(iterations):
        log_q = log_q.log_softmax(0)  # a scaling by the column's sum; the common 1 / K goes with the next line
        log_q = log_q.log_softmax(1)
    return log_q.exp()


def swav_loss(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between the codes of each large view and the prediction of each other view.

    Args:
        scores: (V, N, K) of every view with every prototype.
        codes: (A, N, K), targets of the first A views; rows sum to 1.
        temperature: > 0, divides the scores.

    Returns:
        () mean over N and the A (V - 1) pairs of different views, in nats; log K where scores are uniform.
    """
    log_p = (scores / temperature).log_softmax(2)
    pairs = -torch.einsum("ank,vnk->av", codes, log_p) / scores.shape[1]
    return (pairs.sum() - pairs.diagonal().sum()) / (len(codes) * (len(scores) - 1))


@torch.no_grad()
def used(scores: Tensor) -> Tensor:
    """() the part of min(N, K) prototypes that score highest for some row of (N, K)."""
    hits = torch.zeros(scores.shape[1], device=scores.device).scatter(0, scores.argmax(1), 1.0)
    return hits.sum() / min(scores.shape)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"swav": SwAV}
