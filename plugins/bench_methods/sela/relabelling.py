"""Labels of the whole train split that a method makes for itself: when they are renewed, from what, how they spread.

Code:  https://github.com/yukimasano/self-label/blob/3891e37/cifar.py ("linear") and main.py ("quadratic")
Shapes: N items of the train split, D features, T heads, K clusters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Batch,
    Encoder,
    EpochContext,
)
from bench_core.errors import TrainingError
from bench_core.nn.sinkhorn import halved

_FEWEST = ("labels_smallest_cluster",)  # the worst of several heads has the least of these, the most of the others
_MEAN = ("labels_changed",)


def is_due(schedule: Literal["epochs", "linear", "quadratic"], updates: int, done: int, context: EpochContext) -> bool:
    """Whether the next update of the labels takes place here; ask before each epoch ("epochs") or step (the others).

    "epochs" spreads updates evenly, at most one an epoch. With E epochs, update k of n is due after
    (E + 1.0001) k / (n - 1) epochs ("linear") or (E + 1.01) (k / (n - 1))^2 ("quadratic": dense in the beginning), at
    most one a step; k counts from 0, so the first comes before the first step. The last time lies behind the run's end,
    and so do others of a short run: with these two, about n E / (E + 1) or n sqrt(E / (E + 1)) updates take place.

    Args:
        schedule: Which.
        updates: n, of the whole run.
        done: k: how many took place already.
        context: Steps count as parts of a run of E epochs: what a last short batch leaves out is not missed.
    """
    if schedule == "epochs":
        return done < min(updates, 1 + context.epoch * updates // max(context.num_epochs, 1))
    part = done / max(updates - 1, 1)
    when = (context.num_epochs + 1.0001) * part if schedule == "linear" else (context.num_epochs + 1.01) * part**2
    return done < updates and context.step * context.num_epochs >= when * context.num_steps


@torch.no_grad()
def training_features(
    encoder: Encoder, view: Callable[[Batch], Tensor], context: EpochContext, items: int, *, half: bool = False
) -> Tensor:
    """Features (N, D) of one view of each image.

    In train mode: batch norm uses the batch and moves its running statistics.

    Args:
        encoder: Left in the mode it was in.
        view: Batch -> images (n, C, H, W).
        context: Its batches are passed over once.
        items: N.
        half: Whether they are kept in float16; else float32.
    """
    features = torch.empty(0)
    training = encoder.training
    for batch in context.batches():
        encoder.train(len(batch.index) > 1)  # batch norm refuses a last batch of one
        found = encoder(view(batch))
        if not len(features):
            features = found.new_empty(items, found.shape[1], dtype=torch.float16 if half else torch.float32)
        features[batch.index] = found.to(features.dtype)
    encoder.train(training)
    return features


def head_logits(
    features: Tensor, weight: Tensor, bias: Tensor, name: str, block_rows: int | None = None, half: bool = False
) -> list[Tensor]:
    """Logits of one linear head over all features, in blocks (n, K) as `sinkhorn` takes them.

    Args:
        features: (N, D), float32 or float16; the product is float32.
        weight: (K, D).
        bias: (K,).
        name: Of the head, for the error.
        block_rows: Items in a block; None is one block of all.
        half: Whether blocks are kept in float16, less their row's maximum.

    Raises:
        TrainingError: Logits that are not finite.
    """
    blocks = []
    for part in torch.split(features, block_rows or len(features)):
        with torch.autocast(features.device.type, enabled=False):
            logits = F.linear(part.float(), weight, bias)
        if not bool(torch.isfinite(logits).all()):
            raise TrainingError(f"cannot relabel {name}: its logits are not finite")
        blocks.append(halved(logits) if half else logits)
    return blocks


def describe_labels(labels: Tensor, before: Tensor, clusters: int) -> dict[str, float]:
    """How one head's labels (N,) fill its clusters, and the part that differs from those before."""
    counts = torch.bincount(labels, minlength=clusters)
    return {
        "labels_smallest_cluster": int(counts.min()),
        "labels_largest_cluster": int(counts.max()),
        "labels_empty_clusters": int((counts == 0).sum()),
        "labels_changed": float((labels != before).float().mean()),
    }


def over_heads(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """One line for several heads: of each number the worst, of `labels_changed` the mean."""
    lines: dict[str, float] = {}
    for name in numbers[0]:
        values = [n[name] for n in numbers]
        lines[name] = sum(values) / len(values) if name in _MEAN else (min if name in _FEWEST else max)(values)
    return lines


def label_entropy(labels: Tensor, clusters: int) -> Tensor:
    """How evenly labels spread over the clusters, in the head where they do so least.

    Args:
        labels: (T, N) int64, of the train split or of a batch.
        clusters: K.

    Returns:
        () entropy as a part of the most that N labels in K clusters can have: 1 where clusters are equally large, 0
        where one has all; 1 where there is nothing to choose.
    """
    most = min(labels.shape[1], clusters)
    if most == 1:
        return torch.ones((), device=labels.device)
    counts = torch.zeros(len(labels), clusters, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=counts.dtype))
    entropy: Tensor = torch.special.entr(counts / labels.shape[1]).sum(1).amin()
    return entropy / math.log(most)
