"""SeLa: alternate between training on labels and relabelling the whole dataset into clusters of equal size.

Paper: Asano, Rupprecht, Vedaldi, ICLR 2020, https://arxiv.org/abs/1911.05371
Code:  https://github.com/yukimasano/self-label/tree/3891e37 (cifar.py, main.py, retrain_with_rotnet.py and scripts/)
Note:  as in the code, an update reads one training view of each image, in train mode. By default it comes before an
       epoch and is for every head. The code's scripts place updates within epochs (`schedule`), and the one for CIFAR
       updates one head at a time (`round_robin`). Here updates are counted to choose that head; the code takes it from
       the epoch's number, which can leave heads out. Every head starts from random balanced labels. The variant
       `rotation` makes its labels in the same run; the code keeps those of an earlier run, which here is
       `relabel = false` with that run's buffer `labels`.

Shapes: N images in a batch, M in the train split; C channels, H x W pixels, D features, T heads, K clusters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import (
    Batch,
    Config,
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
from bench_core.nn.sinkhorn import planned_bytes, sinkhorn
from bench_core.views import PRESET_NAMES, augment, preset

from .relabelling import (
    describe_labels,
    head_logits,
    is_due,
    label_entropy,
    over_heads,
    training_features,
)


@dataclass(frozen=True, kw_only=True)
class SeLaConfig(Config):
    """Parameters of SeLa; defaults for CIFAR-10."""

    clusters: int = param(128, "number of clusters of each head", "scripts/cifar.sh", ge=1)
    heads: int = param(10, "number of linear heads, each with labels of its own", "scripts/cifar.sh", ge=1)
    strength: float = param(
        10.0,
        "lambda: multiplies the logits in Sinkhorn; larger values give harder labels",
        "code, CIFAR; ImageNet: 25",
        gt=0,
        tune=log(1.0, 100.0),
    )
    updates: int = param(
        400, "number of updates of the labels in a run; the first comes before the first step", "scripts/cifar.sh", ge=1
    )
    round_robin: bool = param(
        False, "update one head at a time, in turns; False: every head", "ours: as main.py; CIFAR script: True"
    )
    equipartition: bool = param(
        True, "make clusters equally large; False takes the likeliest, which collapses (a control)", "ours: control"
    )
    relabel: bool = param(True, "update the labels; False keeps the first, random ones (a control)", "ours: control")
    augmentation: str = param("sela", "preset of the views", "code, CIFAR training transform", choices=PRESET_NAMES)
    schedule: Literal["epochs", "linear", "quadratic"] = param(
        "epochs",
        "times of updates: before epochs, or within them, evenly or more often at first",
        "ours; code: the others",
        added=True,
    )
    rotation: bool = param(
        False, "also classify the quarter turns of an image, as RotNet does", "ours: off", added=True
    )
    block_rows: int | None = param(
        None,
        "images that Sinkhorn reads at once; fewer need less memory; none: all",
        "ours: all is fastest",
        ge=1,
        added=True,
    )
    mixing: int = param(
        0,
        "earlier steps that Sinkhorn extrapolates from, to converge faster; 0: plain",
        "ours: plain",
        ge=0,
        added=True,
    )
    half: bool = param(
        False, "keep features and logits of the split in float16, in half the memory", "ours: exact", added=True
    )


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
    """Views and positions of one batch.

    Attributes:
        images: (N, C, H, W); with `rotation` (4N, C, H, W), where the first N are not turned.
        positions: (N,) int64, positions of the images in the train split.
    """

    images: Tensor
    positions: Tensor


class SeLa(Objective):
    """Label by balanced clustering (Asano 2020).

    Trains the encoder and T linear heads on T labels for every training image. `assign` gives the labels of any images;
    tasks on `features` read the encoder.
    """

    Config = SeLaConfig
    revision = 2  # 2: an update passes over the data in random order, not as the files lie
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.03, weight_decay=5e-4, schedule="steps", epochs=400, batch_size=128
    )
    recipe_source = "scripts/cifar.sh; the rate falls at .6 and .8 of the run"
    variants: ClassVar[Mapping[str, Variant]] = {
        "cifar_script": Variant(
            {"round_robin": True, "schedule": "linear"},
            "scripts/cifar.sh",
            "the CIFAR script: updates one head at a time",
        ),
        "alexnet": Variant(
            _IMAGENET, "scripts/alexnet.sh; main.py (its help says rate .05)", "ImageNet settings for AlexNet"
        ),
        "resnet50": Variant(
            _IMAGENET, "scripts/resnet.sh, whose network is the pre-activation one", "ImageNet settings for ResNet-50"
        ),
        "rotation": Variant(
            {**_IMAGENET, "rotation": True, **_RETRAIN},
            "retrain_with_rotnet.py; ours: the labels are made in the same run",
            "ImageNet settings with RotNet's loss, 90 epochs",
        ),
    }
    labels: Tensor  # (T, M) int64 in [0, K)
    log_prices: Tensor  # (T, K), from Sinkhorn: added to scaled logits they balance the clusters
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
        self.done = 0  # copy of `updates_done` on the host, so that reading it at each step does not wait for the GPU
        self.turn_head = nn.Linear(encoder.dim, 4) if config.rotation else None

    def make_views(self, batch: Batch, rng: torch.Generator) -> SeLaViews:
        """Augment each image once, and keep its position, which finds its labels; with `rotation` add quarter turns."""
        images = augment(batch.inputs, rng, self.augmentation)
        if self.config.rotation:
            images = torch.cat([images.rot90(turns, (2, 3)) for turns in range(4)])
        return SeLaViews(images, batch.index)

    def forward(self, views: SeLaViews, player: str = "main") -> Loss:
        """Return the cross-entropy with the labels in nats, a mean over heads; plus that of quarter turns, if any."""
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
        """Relabel the train split if an update is due; return numbers for the log, {} if none is due."""
        return self._update(context) if self.config.schedule == "epochs" else {}

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Relabel in the same way, for the schedules with updates within epochs."""
        return {} if self.config.schedule == "epochs" else self._update(context)

    @torch.no_grad()
    def assign(self, inputs: Tensor) -> Tensor:
        """Return labels (T, N) int64 of any images, with the prices of each head's last update."""
        logits = self._logits(self.encoder(inputs)).transpose(0, 1)  # (T, N, K)
        return (self.config.strength * logits + self.log_prices[:, None]).argmax(2)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SeLaConfig) -> str | None:
        """Return a reason unless the data are images, and square ones if they are turned."""
        if not data.is_image:
            return "needs images"
        return "rotation needs square images" if config.rotation and data.shape[1] != data.shape[2] else None

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Load buffers as torch does, and copy the number of updates to the host."""
        super()._load_from_state_dict(*args, **kwargs)
        self.done = int(self.updates_done)

    def _logits(self, features: Tensor) -> Tensor:
        """Return the logits (N, T, K) of all heads for features (N, D), in float32."""
        logits: Tensor = self.heads(features)
        return logits.float().view(-1, self.config.heads, self.config.clusters)

    def _update(self, context: EpochContext) -> dict[str, float]:
        """Update the labels of every head, or of the next one (`round_robin`); return {} if no update is due."""
        if not self.config.relabel or not is_due(self.config.schedule, self.config.updates, self.done, context):
            return {}
        features = training_features(
            self.encoder,
            lambda batch: augment(batch.inputs, context.rng, self.augmentation),
            context,
            self.labels.shape[1],
            half=self.config.half,
        )
        # The head follows from the number of updates. From the epoch's number, some heads might never have a turn.
        heads = [self.done % self.config.heads] if self.config.round_robin else range(self.config.heads)
        numbers = [self._relabel(head, features) for head in heads]
        self.updates_done += 1
        self.done += 1
        return over_heads(numbers)

    @torch.no_grad()
    def _relabel(self, head: int, features: Tensor) -> dict[str, float]:
        """Set new labels of one head from the features (M, D) of the whole train split; return numbers for the log."""
        config = self.config
        numbers: dict[str, float] = {}
        units = slice(head * config.clusters, (head + 1) * config.clusters)  # of this head, in the layer of all heads
        weight, bias = self.heads.weight[units], self.heads.bias[units]
        blocks = head_logits(features, weight, bias, f"head {head}", config.block_rows, config.half)
        if config.equipartition:
            start = self.log_prices[head] if self.done else None
            plan = sinkhorn(blocks, config.strength, start=start, mixing=config.mixing)
            labels = plan.labels
            self.log_prices[head] = plan.log_prices.float().to(self.log_prices.device)
            numbers["sinkhorn_iterations"] = plan.iterations
            numbers["sinkhorn_mass_error"] = plan.mass_error
            planned = planned_bytes(len(features), config.clusters, config.block_rows, config.half)
            numbers["sinkhorn_planned_gib"] = planned / 2**30
        else:
            labels = torch.cat([block.argmax(1) for block in blocks])
        numbers |= describe_labels(labels, self.labels[head], config.clusters)
        self.labels[head] = labels
        return numbers


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"sela": SeLa}
