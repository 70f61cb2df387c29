"""SeLa: train on labels, relabel the whole data set so that all clusters are equally large, and so on in turns.

Paper: Asano, Rupprecht, Vedaldi, ICLR 2020, https://arxiv.org/abs/1911.05371
Code:  https://github.com/yukimasano/self-label/blob/3891e37/scripts/cifar.sh
Note:  as in the code, an update sees training views, one of each image, in train mode: batch norm uses the batch and
       moves its running statistics. An update takes place before an epoch, never within one, and for every head at
       once (the code's CIFAR script: one head at a time, `round_robin`). Every head starts from random balanced labels.

Shapes: N images in a batch, M in the train split; C channels, H x W pixels, D features, T heads, K clusters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, Objective, Recipe, hookimpl, param
from bench_core.errors import TrainingError
from bench_core.sinkhorn import sinkhorn
from bench_core.views import augment, check_preset, preset


@dataclass(frozen=True, kw_only=True)
class SeLaConfig:
    """Defaults are those of CIFAR-10."""

    clusters: int = param(128, "of each head", "scripts/cifar.sh")
    heads: int = param(10, "each with labels of its own", "scripts/cifar.sh")
    strength: float = param(10.0, "> 0, lambda: large is closer to hard labels", "code, CIFAR; ImageNet: 25")
    updates: int = param(400, "of the labels, evenly over the run, the first before it", "scripts/cifar.sh")
    round_robin: bool = param(False, "an update serves one head, in turns", "ours: the paper's; CIFAR script: True")
    equipartition: bool = param(True, "False: the likeliest cluster, which collapses (a control)", "ours: control")
    relabel: bool = param(True, "False: the first, random labels stay (a control)", "ours: control")
    augmentation: str = param("sela", "preset of the views", "code, CIFAR training transform")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("clusters", "heads", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.strength > 0:
            raise ValueError(f"strength must be > 0, got {self.strength}")
        check_preset(self.augmentation)


class SeLaViews(NamedTuple):
    """Images (N, C, H, W) and their positions (N,) in the train split."""

    images: Tensor
    positions: Tensor


class SeLa(Objective):
    """The encoder under study, T linear heads, and T labels of every training image."""

    Config = SeLaConfig
    recipe = Recipe(
        optimizer="sgd", learning_rate=0.03, weight_decay=5e-4, schedule="steps", epochs=400, batch_size=128
    )
    recipe_source = "scripts/cifar.sh; the rate falls at .6 and .8 of the run"
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

    def make_views(self, batch: Batch, rng: torch.Generator) -> SeLaViews:
        """One view of each image (N, C, H, W), with its position, by which its labels are found."""
        return SeLaViews(augment(batch.inputs, rng, self.augmentation), batch.index)

    def forward(self, views: SeLaViews, player: str = "main") -> Loss:
        """Cross-entropy with the labels, in nats, mean over heads."""
        logits = self._logits(self.encoder(views.images))  # (N, T, K)
        return Loss(F.cross_entropy(logits.flatten(0, 1), self.labels[:, views.positions].T.flatten()))

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Relabel the train split where the plan says so; returns how it went, {} where nothing was due."""
        done = int(self.updates_done)
        due = 1 + context.epoch * self.config.updates // max(context.num_epochs, 1)
        if not self.config.relabel or done >= min(due, self.config.updates):
            return {}
        features = self._features(context)
        # The turn is counted, not read off the epoch: else some heads are never served.
        turns = [done % self.config.heads] if self.config.round_robin else range(self.config.heads)
        numbers = [self._relabel(head, features) for head in turns]
        self.updates_done += 1
        worst = {name: max(n[name] for n in numbers) for name in numbers[0]}
        return worst | {
            "labels_smallest_cluster": min(n["labels_smallest_cluster"] for n in numbers),
            "labels_changed": sum(n["labels_changed"] for n in numbers) / len(numbers),
        }

    @torch.no_grad()
    def assign(self, inputs: Tensor) -> Tensor:
        """Labels (T, N) of any images, at the prices of each head's last update."""
        logits = self._logits(self.encoder(inputs)).transpose(0, 1)  # (T, N, K)
        return (self.config.strength * logits + self.log_prices[:, None]).argmax(2)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: SeLaConfig) -> str | None:
        """Views are augmented images."""
        return None if data.is_image else "needs images"

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.heads(features)
        return logits.float().view(-1, self.config.heads, self.config.clusters)

    @torch.no_grad()
    def _features(self, context: EpochContext) -> Tensor:
        """Features (M, D) of one training view of each image."""
        features = torch.empty(self.labels.shape[1], self.encoder.dim, device=self.labels.device)
        training = self.encoder.training
        for batch in context.batches():
            self.encoder.train(len(batch.index) > 1)  # batch norm refuses a last batch of one
            views = self.make_views(batch, context.rng)
            features[batch.index] = self.encoder(views.images).float()
        self.encoder.train(training)
        return features

    @torch.no_grad()
    def _relabel(self, head: int, features: Tensor) -> dict[str, float]:
        """New labels of one head, from the features (M, D) of the whole train split."""
        size = self.config.clusters
        mine = slice(head * size, (head + 1) * size)
        with torch.autocast(features.device.type, enabled=False):
            logits = F.linear(features, self.heads.weight[mine], self.heads.bias[mine])  # (M, K)
        if not bool(torch.isfinite(logits).all()):
            raise TrainingError(f"cannot relabel head {head}: its logits are not finite")
        numbers: dict[str, float] = {}
        if self.config.equipartition:
            start = self.log_prices[head] if int(self.updates_done) else None
            found = sinkhorn(logits, self.config.strength, start=start)
            labels = found.labels
            self.log_prices[head] = found.log_prices.float().to(self.log_prices.device)
            numbers = {"sinkhorn_iterations": found.iterations, "sinkhorn_mass_error": found.mass_error}
        else:
            labels = logits.argmax(1)
        counts = torch.bincount(labels, minlength=size)
        numbers |= {
            "labels_smallest_cluster": int(counts.min()),
            "labels_largest_cluster": int(counts.max()),
            "labels_empty_clusters": int((counts == 0).sum()),
            "labels_changed": float((labels != self.labels[head]).float().mean()),
        }
        self.labels[head] = labels
        return numbers


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"sela": SeLa}
