"""Steps of an update of the train split's labels: when it is due, the logits that it reads, numbers for the log.

Code:  https://github.com/yukimasano/self-label/blob/3891e37/cifar.py ("linear") and main.py ("quadratic")
Shapes: N items of the train split, D features, T heads, K clusters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, Encoder, EpochContext
from bench_core.errors import TrainingError
from bench_core.nn.sinkhorn import halved

# Of several heads the log shows the least of these numbers, the mean of those, and the largest of all others.
_LEAST = ("labels_smallest_cluster",)
_MEAN = ("labels_changed",)


def is_due(schedule: Literal["epochs", "linear", "quadratic"], updates: int, done: int, context: EpochContext) -> bool:
    """Say if the next update of the labels is due.

    Call it before each epoch with "epochs", before each step with the other schedules. "epochs" spreads n updates
    evenly over the run of E epochs, at most one before each epoch. The others allow one before each step. They place
    update k, counted from 0, after so many epochs:

        "linear"     (E + 1.0001) k / (n - 1)
        "quadratic"  (E + 1.01) (k / (n - 1))^2, more often at first

    The first update comes before the first step. The last one would come after the end of the run, and in a short run
    others too: about n E / (E + 1) ("linear") or n sqrt(E / (E + 1)) ("quadratic") updates take place.

    Args:
        schedule: Name of the schedule.
        updates: n, updates of the whole run.
        done: k, updates that have taken place.
        context: Epoch and step. Steps are counted as parts of E epochs, so it does not matter that a last short batch
            is left out.
    """
    if schedule == "epochs":
        return done < min(updates, 1 + context.epoch * updates // max(context.num_epochs, 1))
    part = done / max(updates - 1, 1)
    if schedule == "linear":
        due_epoch = (context.num_epochs + 1.0001) * part
    else:
        due_epoch = (context.num_epochs + 1.01) * part**2
    return done < updates and context.step * context.num_epochs >= due_epoch * context.num_steps


@torch.no_grad()
def training_features(
    encoder: Encoder, view: Callable[[Batch], Tensor], context: EpochContext, items: int, *, half: bool = False
) -> Tensor:
    """Return features (N, D) of one view of each image, in the order of the train split.

    The encoder is in train mode: batch norm uses the batch's statistics and moves its running ones.

    Args:
        encoder: Returned to the mode that it was in.
        view: Makes images (n, C, H, W) of a batch.
        context: Gives one pass over the batches.
        items: N.
        half: Keep the features in float16 instead of float32.
    """
    features = torch.empty(0)
    training = encoder.training
    for batch in context.batches():
        encoder.train(len(batch.index) > 1)  # batch norm refuses a last batch of one
        outputs = encoder(view(batch))
        if not len(features):
            features = outputs.new_empty(items, outputs.shape[1], dtype=torch.float16 if half else torch.float32)
        features[batch.index] = outputs.to(features.dtype)
    encoder.train(training)
    return features


def head_logits(
    features: Tensor, weight: Tensor, bias: Tensor, name: str, block_rows: int | None = None, half: bool = False
) -> list[Tensor]:
    """Return the logits of one linear head for all features, as a list of blocks (n, K) that `sinkhorn` reads.

    Args:
        features: (N, D), float32 or float16; products are float32.
        weight: (K, D).
        bias: (K,).
        name: Name of the head in the error message.
        block_rows: Items in a block; None makes one block of all.
        half: Keep blocks in float16, minus the maximum of each row.

    Raises:
        TrainingError: A logit is not finite.
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
    """Return sizes of the clusters of labels (N,), and the part of labels that differs from `before` (N,)."""
    counts = torch.bincount(labels, minlength=clusters)
    return {
        "labels_smallest_cluster": int(counts.min()),
        "labels_largest_cluster": int(counts.max()),
        "labels_empty_clusters": int((counts == 0).sum()),
        "labels_changed": float((labels != before).float().mean()),
    }


def over_heads(numbers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Summarise the numbers of several heads: the worst value of each, of `labels_changed` the mean."""
    summary: dict[str, float] = {}
    for name in numbers[0]:
        values = [of_head[name] for of_head in numbers]
        if name in _MEAN:
            summary[name] = sum(values) / len(values)
        elif name in _LEAST:
            summary[name] = min(values)
        else:
            summary[name] = max(values)
    return summary


def label_entropy(labels: Tensor, clusters: int) -> Tensor:
    """Return the relative entropy of the labels, in the head where it is lowest.

    Args:
        labels: (T, N) int64, of the train split or of a batch.
        clusters: K.

    Returns:
        () entropy divided by the largest that N labels in K clusters can have: 1 if clusters are equally large, 0 if
        one cluster has all labels, 1 also if there is one label or one cluster.
    """
    most = min(labels.shape[1], clusters)
    if most == 1:
        return torch.ones((), device=labels.device)
    counts = torch.zeros(len(labels), clusters, device=labels.device)
    counts.scatter_add_(1, labels, torch.ones_like(labels, dtype=counts.dtype))
    entropy: Tensor = torch.special.entr(counts / labels.shape[1]).sum(1).amin()
    return entropy / math.log(most)
