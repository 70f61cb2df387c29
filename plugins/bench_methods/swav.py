"""SwAV: predict from one view of an image the prototypes of another, with all prototypes used equally often.

Paper: Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, NeurIPS 2020, https://arxiv.org/abs/2006.09882
Code:  https://github.com/facebookresearch/swav/blob/06b1b7c/main_swav.py (ImageNet); CIFAR-10: "solo" below is
       https://github.com/vturrisi/solo-learn/blob/9187ea3/scripts/pretrain/cifar/swav.yaml
Note:  the paper has no recipe for CIFAR. The defaults are solo's, with its form of LARS (`trust`, `trust_cap`): two
       large crops and no small ones. The queue fills from the first step on; in the code, from the step at which it is
       used. Prototypes are unit vectors after every step, as in the code; solo reparametrises them. Small crops need an
       encoder that reads images of any size. Large crops keep the preset's range of areas; in the code they start at
       .14 of the area if there are small ones. On data without crops (glyphs) a small crop is another view of the whole
       image at the small size.

Shapes: N images, V views of each, the first two large; C channels, H x W pixels, P units of the projection,
        K prototypes, Q rows in the queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
    ConfigError,
    DataSpec,
    Encoder,
    EpochContext,
    Loss,
    Objective,
    Recipe,
    Variant,
    hookimpl,
    log,
    param,
)
from bench_core.nn.collapse import spread
from bench_core.nn.heads import mlp
from bench_core.nn.layers import image_skip_reason
from bench_core.views import PRESET_NAMES, augment, preset


@dataclass(frozen=True, kw_only=True)
class SwAVConfig(Config):
    """Parameters of SwAV; defaults for CIFAR-10."""

    hidden_dim: int = param(2048, "width of the projector's hidden layer, in units", "solo; code", ge=1)
    output_dim: int = param(128, "width of the projection, in units", "solo; code", ge=1)
    prototypes: int = param(3000, "number of prototypes, the clusters", "solo; code", ge=2)
    temperature: float = param(0.1, "divides the scores of the predictions", "solo; code", gt=0, tune=log(0.05, 1.0))
    epsilon: float = param(
        0.05,
        "divides the scores of the assignments; lower values make them harder",
        "code; solo's default",
        gt=0,
        tune=log(0.02, 0.2),
    )
    iterations: int = param(3, "iterations of Sinkhorn-Knopp", "code; solo's default", ge=1)
    frozen_epochs: int = param(
        2,
        "epochs at the start of training in which prototypes do not change",
        "solo; code: 1",
        ge=0,
        in_epochs=True,
    )
    queue: int = param(
        3840,
        "number of projections from earlier batches that are assigned together with a batch; 0: none",
        "solo; code, batch 256",
        ge=0,
    )
    queue_start: float = param(
        0.05, "part of the run after which the queue is used, if it is full", "solo: epoch 50 of 1000", ge=0, le=1
    )
    small_crops: int = param(
        0, "number of small views; they need an encoder for any image size", "solo; code, ImageNet: 6", ge=0
    )
    small_size: float = param(
        0.43,
        "side of a small view as a part of the image's side; 4 pixels or more are used",
        "code: 96 of 224",
        gt=0,
        le=1,
    )
    small_scale: tuple[float, float] = param(
        (0.05, 0.14), "least and greatest part of the area that a small crop keeps", "code, README", gt=0, le=1
    )
    equipartition: bool = param(
        True, "assign by Sinkhorn-Knopp; a softmax instead collapses (a control)", "ours: control"
    )
    augmentation: str = param(
        "simclr_imagenet", "preset of the views", "solo, augmentations/symmetric.yaml", choices=PRESET_NAMES
    )

    def __post_init__(self) -> None:
        """Check that `small_scale` is in ascending order."""
        super().__post_init__()
        low, high = self.small_scale
        if low > high:
            raise ValueError(f"small_scale must be (low, high) with low <= high, got {self.small_scale}")


class SwAV(Objective):
    """Predict the other view's cluster (Caron 2020).

    Trains the encoder, a projector onto the unit sphere, and prototypes there, the centres of the clusters. `assign`
    gives the nearest prototype of an image; the projector gives the `code`; tasks on `features` read the encoder.
    """

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
        "multicrop": Variant(
            {"small_crops": 6}, "code, README: 2 x 224 + 6 x 96", "six small crops beside the two large ones"
        ),
        "no_equipartition": Variant(
            {"equipartition": False}, "ours: control", "control: clusters may be empty, training collapses"
        ),
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
        """Augment images (N, C, H, W) in [0, 1].

        Returns:
            The two large views of each image (2N, C, H, W), view after view; then all small ones in one tensor, if any.
        """
        large = [augment(batch.inputs, rng, self.large) for _ in range(2)]
        small = [augment(batch.inputs, rng, self.small, self.small_side) for _ in range(self.config.small_crops)]
        return [torch.cat(views) for views in (large, small) if views]

    def forward(self, views: list[Tensor], player: str = "main") -> Loss:
        """Return the loss in nats, with the part of prototypes in use and the spread of the projections.

        A prototype is in use if it is the nearest one of some image in the batch.
        """
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
        parts = {"prototypes_used": prototypes_used(scores[0]), "spread": spread(projected[0])}
        single = 1 / min(scores.shape[1:])  # the value of `prototypes_used` if all images have the same prototype
        return Loss(total, parts, floors={"prototypes_used": max(0.1, 1.5 * single), "spread": 0.1})

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Keep epoch and step: they decide if prototypes are frozen and if the queue is used."""
        self._epoch, self._step, self._num_steps = context.epoch, context.step, context.num_steps
        return {}

    @torch.no_grad()
    def after_step(self) -> None:
        """Put prototypes back onto the unit sphere, and the batch's projections into the queue."""
        self._normalize_prototypes()
        self.queue.copy_(torch.cat((self._newest, self.queue), 1)[:, : self.queue.shape[1]])

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `features` (N, D) and `code` (N, P) bool, the signs of the projection."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.projector(features) > 0}

    @torch.no_grad()
    def assign(self, inputs: Tensor) -> Tensor:
        """Return labels (1, N) int64: the number of the nearest prototype."""
        scores: Tensor = self.prototypes(self.projector(self.encoder(inputs)))
        return scores.argmax(1)[None]

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SwAVConfig) -> str | None:
        """Return why the data cannot be used: views are crops of images, and one pixel has no crops."""
        return image_skip_reason(data, smallest=2) if data.is_image else "needs images"

    @torch.no_grad()
    def _normalize_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    @torch.no_grad()
    def _codes(self, scores: Tensor, weight: Tensor) -> Tensor:
        """Return the targets (2, N, K) that follow from the scores (2, N, K) of the large views."""
        config, size = self.config, scores.shape[1]
        if not config.equipartition:
            return (scores / config.epsilon).softmax(2)
        if config.queue:
            is_full = self._step * size >= config.queue
            has_started = self._step >= config.queue_start * self._num_steps
            if is_full and has_started:
                scores = torch.cat((scores, self.queue @ weight.T), 1)
        return torch.stack([sinkhorn_codes(view, config.epsilon, config.iterations)[:size] for view in scores])


@torch.no_grad()
def _refuse_fixed_size(encoder: Encoder, channels: int, side: int) -> None:
    """Raise ConfigError if an encoder cannot read small views, by giving it one."""
    try:
        encoder.eval()(torch.zeros(1, channels, side, side))
    except RuntimeError as error:
        name = type(encoder).__name__
        raise ConfigError(f"small_crops needs an encoder of images of any size; {name} is of one size") from error
    finally:
        encoder.train()


def sinkhorn_codes(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return soft assignments of rows to prototypes, in which every prototype gets nearly the same share.

    The matrix exp(scores / epsilon) is scaled to equal sums of its columns, then of its rows, repeatedly. This is done
    on logarithms, so that nothing under- or overflows. `bench_core.nn.sinkhorn` does it for a whole dataset and until
    it converges.

    Args:
        scores: (N, K), any finite numbers.
        epsilon: > 0; lower values give harder assignments.
        iterations: Number of scalings of columns and rows.

    Returns:
        (N, K) in [0, 1]; rows sum to 1, columns to about N / K. Uniform if all rows are equal.
    """
    log_q = scores.float() / epsilon
    for _ in range(iterations):
        log_q = log_q.log_softmax(
            0
        )  # scales columns to sum 1; the factor N / K is the same for all and vanishes in the next line
        log_q = log_q.log_softmax(1)
    return log_q.exp()


def swav_loss(scores: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy between the codes of each large view and the predictions of all other views.

    Args:
        scores: (V, N, K), cosine of every view with every prototype.
        codes: (A, N, K), targets of the first A views; rows sum to 1.
        temperature: > 0, divides the scores.

    Returns:
        () mean over N and the A (V - 1) pairs of different views, in nats; log K if scores are uniform.
    """
    log_p = (scores / temperature).log_softmax(2)
    pairs = -torch.einsum("ank,vnk->av", codes, log_p) / scores.shape[1]
    return (pairs.sum() - pairs.diagonal().sum()) / (len(codes) * (len(scores) - 1))


@torch.no_grad()
def prototypes_used(scores: Tensor) -> Tensor:
    """Return the number of prototypes that score highest in some row of (N, K), as a part of min(N, K)."""
    hits = torch.zeros(scores.shape[1], device=scores.device).scatter(0, scores.argmax(1), 1.0)
    return hits.sum() / min(scores.shape)


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"swav": SwAV}
