"""SeLa: train on labels, relabel the whole data set so that all clusters are equally large, and so on in turns.

Paper: Asano, Rupprecht, Vedaldi, ICLR 2020, https://arxiv.org/abs/1911.05371
Code:  https://github.com/yukimasano/self-label/tree/3891e37 (cifar.py, main.py, retrain_with_rotnet.py and scripts/)
Note:  as in the code, an update sees training views, one of each image, in train mode. By default it takes place before
       an epoch, for every head; the code's scripts place updates within epochs (`schedule`) and CIFAR's serves one head
       at a time (`round_robin`: turns are counted; read off the epoch, as there, they can leave heads out). Every head
       starts from random balanced labels. `rotation` makes labels in the same run; the code keeps those of an earlier
       one, which is `relabel = false` with that run's buffer `labels`.

Shapes: N images in a batch, M in the train split; C channels, H x W pixels, D features, T heads, K clusters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, Variant, hookimpl, param
from bench_core.nn.sinkhorn import planned_bytes, sinkhorn
from bench_core.views import augment, check_preset, preset

from .relabelling import (
    describe_labels,
    head_logits,
    is_due,
    label_entropy,
    over_heads,
    training_features,
)


@dataclass(frozen=True, kw_only=True)
class SeLaConfig:
    """Defaults are those of CIFAR-10."""

    clusters: int = param(128, "of each head", "scripts/cifar.sh")
    heads: int = param(10, "each with labels of its own", "scripts/cifar.sh")
    strength: float = param(10.0, "> 0, lambda: large is closer to hard labels", "code, CIFAR; ImageNet: 25")
    updates: int = param(400, "of the labels, over the run, the first before it", "scripts/cifar.sh")
    round_robin: bool = param(False, "an update serves one head, in turns", "ours: as main.py; CIFAR script: True")
    equipartition: bool = param(True, "False: the likeliest cluster, which collapses (a control)", "ours: control")
    relabel: bool = param(True, "False: the first, random labels stay (a control)", "ours: control")
    augmentation: str = param("sela", "preset of the views", "code, CIFAR training transform")
    schedule: Literal["epochs", "linear", "quadratic"] = param(
        "epochs", "before epochs; or within them, evenly or dense at first", "ours; code: the others", added=True
    )
    rotation: bool = param(False, "RotNet: also tell the quarter turns of an image", "ours: off", added=True)
    block_rows: int | None = param(None, "images at once in Sinkhorn; none: all", "ours: all is fastest", added=True)
    mixing: int = param(0, "steps that Sinkhorn extrapolates from; 0: plain", "ours: plain", added=True)
    half: bool = param(False, "features and logits of the split in float16", "ours: exact", added=True)

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("clusters", "heads", "updates", "block_rows"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.strength > 0:
            raise ValueError(f"strength must be > 0, got {self.strength}")
        if self.mixing < 0:
            raise ValueError(f"mixing must be >= 0, got {self.mixing}")
        check_preset(self.augmentation)


_IMAGENET: Mapping[str, Any] = {
    "clusters": 3000,
    "heads": 10,
    "strength": 25.0,
    "updates": 100,
    "schedule": "quadratic",
    "augmentation": "sela_imagenet",
    "block_rows": 8192,
    "recipe.learning_rate": 0.08,
    "recipe.weight_decay": 1e-5,
    "recipe.batch_size": 256,
    "recipe.milestones": (150 / 400, 300 / 400, 350 / 400),
}
_RETRAIN: Mapping[str, Any] = {
    "recipe.learning_rate": 0.05,
    "recipe.epochs": 90,
    "recipe.batch_size": 64,
    "recipe.milestones": (30 / 90, 60 / 90, 80 / 90),
}


class SeLaViews(NamedTuple):
    """Images (N, C, H, W), or (4N, C, H, W) with their quarter turns after them, and N positions in the train split."""

    images: Tensor
    positions: Tensor


class SeLa(Objective):
    """The encoder under study, T linear heads, and T labels of every training image."""

    Config = SeLaConfig
    revision = 2  # 2: an update passes over the data in random order, not as the files lie
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.03, weight_decay=5e-4, schedule="steps", epochs=400, batch_size=128
    )
    recipe_source = "scripts/cifar.sh; the rate falls at .6 and .8 of the run"
    variants: ClassVar[Mapping[str, Variant]] = {
        "cifar_script": Variant(
            {"round_robin": True, "schedule": "linear"}, "scripts/cifar.sh", "CIFAR, updates one head at a time"
        ),
        "alexnet": Variant(_IMAGENET, "scripts/alexnet.sh; main.py (its help says rate .05)", "ImageNet, for alexnet"),
        "resnet50": Variant(
            _IMAGENET, "scripts/resnet.sh, whose network is the pre-activation one", "ImageNet, for resnet50"
        ),
        "rotation": Variant(
            {**_IMAGENET, "rotation": True, **_RETRAIN},
            "retrain_with_rotnet.py; ours: the labels are made in the same run",
            "ImageNet, with RotNet's loss",
        ),
    }
    labels: Tensor  # (T, M) int64
    log_prices: Tensor  # (T, K)
    updates_done: Tensor  # () int64

    def __init__(self, encoder: Encoder, data: DataSpec, config: SeLaConfig) -> None:
        """Add the heads and random balanced labels."""
        super().__init__(encoder, data, config)
        self.config = config
        self.augmentation = preset(config.augmentation, data)
        self.heads = nn.Linear(encoder.dim, config.heads * config.clusters)
        balanced = [torch.randperm(data.num_train) % config.clusters for _ in range(config.heads)]
        self.register_buffer("labels", torch.stack(balanced))
        self.register_buffer("log_prices", torch.zeros(config.heads, config.clusters))
        self.register_buffer("updates_done", torch.zeros((), dtype=torch.int64))
        self.done = 0  # the same where the host sees it without waiting for the device, at every step
        self.turn_head = nn.Linear(encoder.dim, 4) if config.rotation else None

    def make_views(self, batch: Batch, rng: torch.Generator) -> SeLaViews:
        """One view of each image (N, C, H, W), with its position, by which its labels are found."""
        images = augment(batch.inputs, rng, self.augmentation)
        if self.config.rotation:
            images = torch.cat([images.rot90(turns, (2, 3)) for turns in range(4)])
        return SeLaViews(images, batch.index)

    def forward(self, views: SeLaViews, player: str = "main") -> Loss:
        """Cross-entropy with the labels, in nats, mean over heads; plus that of the quarter turns."""
        features = self.encoder(views.images)  # (N, D), or (4N, D): the first N are not turned
        labels = self.labels[:, views.positions]
        logits = self._logits(features[: len(views.positions)])  # (N, T, K)
        total = F.cross_entropy(logits.flatten(0, 1), labels.T.flatten())
        parts = {"label_entropy": label_entropy(labels, self.config.clusters)}
        if self.turn_head is not None:
            turns = torch.arange(4, device=labels.device).repeat_interleave(len(views.positions))
            parts |= {"label_loss": total, "turn_loss": F.cross_entropy(self.turn_head(features).float(), turns)}
            total = parts["label_loss"] + parts["turn_loss"]
        return Loss(total, parts, floors={"label_entropy": 0.5})

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Relabel the train split where the plan says so; returns how it went, {} where nothing was due."""
        return self._update(context) if self.config.schedule == "epochs" else {}

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """The same for the schedules that place updates within epochs."""
        return {} if self.config.schedule == "epochs" else self._update(context)

    @torch.no_grad()
    def assign(self, inputs: Tensor) -> Tensor:
        """Labels (T, N) of any images, at the prices of each head's last update."""
        logits = self._logits(self.encoder(inputs)).transpose(0, 1)  # (T, N, K)
        return (self.config.strength * logits + self.log_prices[:, None]).argmax(2)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SeLaConfig) -> str | None:
        """Views are augmented images; those that are turned must be square."""
        if not data.is_image:
            return "needs images"
        return "rotation needs square images" if config.rotation and data.shape[1] != data.shape[2] else None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.done = int(self.updates_done)

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.heads(features)
        return logits.float().view(-1, self.config.heads, self.config.clusters)

    def _update(self, context: EpochContext) -> dict[str, float]:
        """One update of the labels, of every head or of the one whose turn it is; {} where none is due."""
        if not self.config.relabel or not is_due(self.config.schedule, self.config.updates, self.done, context):
            return {}
        features = training_features(
            self.encoder,
            lambda batch: augment(batch.inputs, context.rng, self.augmentation),
            context,
            self.labels.shape[1],
            half=self.config.half,
        )
        # The turn is counted, not read off the epoch: else some heads are never served.
        turns = [self.done % self.config.heads] if self.config.round_robin else range(self.config.heads)
        numbers = [self._relabel(head, features) for head in turns]
        self.updates_done += 1
        self.done += 1
        return over_heads(numbers)

    @torch.no_grad()
    def _relabel(self, head: int, features: Tensor) -> dict[str, float]:
        """New labels of one head, from the features (M, D) of the whole train split."""
        config, numbers = self.config, dict[str, float]()
        mine, memory = slice(head * config.clusters, (head + 1) * config.clusters), (config.block_rows, config.half)
        blocks = head_logits(features, self.heads.weight[mine], self.heads.bias[mine], f"head {head}", *memory)
        if config.equipartition:
            start = self.log_prices[head] if self.done else None
            found = sinkhorn(blocks, config.strength, start=start, mixing=config.mixing)
            labels = found.labels
            self.log_prices[head] = found.log_prices.float().to(self.log_prices.device)
            numbers["sinkhorn_iterations"], numbers["sinkhorn_mass_error"] = found.iterations, found.mass_error
            numbers["sinkhorn_planned_gib"] = planned_bytes(len(features), config.clusters, *memory) / 2**30
        else:
            labels = torch.cat([block.argmax(1) for block in blocks])
        numbers |= describe_labels(labels, self.labels[head], config.clusters)
        self.labels[head] = labels
        return numbers


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"sela": SeLa}
