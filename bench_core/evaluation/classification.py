"""Scores of classifiers that probes train: top-1 and top-5 accuracy, chance level, and per-item hits.

Shapes: N test items, M training items, K classes.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, PerItem, Score


def classes_skip_reason(data: DataSpec) -> str | None:
    """Return the reason why a classifier cannot be scored on this dataset, or None if it can."""
    if missing := [split for split in ("train", "test") if split not in data.splits]:
        return f"needs a {missing[0]} split"
    if data.num_labels is not None:
        return "several labels an item are not supported yet"
    if data.num_classes is None:
        return "needs labels"
    return None if data.num_classes > 1 else "needs at least two classes"


def class_scores(
    answers: Sequence[Tensor], labels: Tensor, train_labels: Tensor, num_classes: int, embedding: str
) -> list[Score]:
    """Return `top1`, and `top5` if there are more than 10 classes; chance is the accuracy of a constant answer.

    Args:
        answers: Class scores (N, K) of each repetition; accuracies are averaged over repetitions.
        labels: Classes (N,) int64 of the test items.
        train_labels: Classes (M,) int64 of the items that the classifier was trained on.
        num_classes: Number of classes K.
        embedding: Name of the embedding that was read.
    """
    return [
        Score(
            metric=f"top{top}",
            value=fmean(top_accuracy(scores, labels, top) for scores in answers),
            chance=constant_accuracy(train_labels, labels, num_classes, top),
            embedding=embedding,
            n=len(labels),
        )
        for top in ((1, 5) if num_classes > 10 else (1,))
    ]


def class_items(answers: Sequence[Tensor], labels: Tensor) -> dict[str, PerItem]:
    """Return the per-item results of `top1` on the whole test split, to go with `class_scores`.

    They are hits, or for several repetitions the fraction of repetitions in which an item was hit.

    Args:
        answers: Class scores (N, K) of each repetition.
        labels: Classes (N,) int64 of the test items.
    """
    hits = [top_hits(scores, labels) for scores in answers]
    return {"top1": PerItem(hits[0] if len(hits) == 1 else torch.stack(hits).double().mean(0))}


def top_hits(scores: Tensor, labels: Tensor, top: int = 1) -> Tensor:
    """Tell for each item if its class is among the `top` highest scores; of equal scores the lower class is first.

    Args:
        scores: Class scores (N, K).
        labels: Classes (N,) int64.
        top: Number of classes that count as an answer.

    Returns:
        Hits (N,) bool.
    """
    answers = scores.sort(dim=1, descending=True, stable=True).indices[:, :top]
    return (answers == labels[:, None]).any(1)


def top_accuracy(scores: Tensor, labels: Tensor, top: int = 1) -> float:
    """Return the fraction of items that are hit; arguments as for `top_hits`."""
    return float(top_hits(scores, labels, top).double().mean())


def constant_accuracy(train_labels: Tensor, labels: Tensor, num_classes: int, top: int = 1) -> float:
    """Return the accuracy of always answering the `top` most frequent training classes, averaged over ties.

    Args:
        train_labels: Classes (M,) int64 of the training items.
        labels: Classes (N,) int64 of the test items.
        num_classes: Number of classes K, more than `top`.
        top: Number of classes that count as an answer.
    """
    frequency = torch.bincount(train_labels, minlength=num_classes)
    share = torch.bincount(labels, minlength=num_classes).double() / len(labels)
    last = frequency.sort(descending=True).values[top - 1]
    certain, tied = frequency > last, frequency == last
    return float(share[certain].sum() + (top - certain.sum()) / tied.sum() * share[tied].sum())
