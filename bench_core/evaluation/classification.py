"""Labelled embeddings, as probes read them, and the scores of probes that answer with a class."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, PerItem, Score


def why_no_classes(data: DataSpec) -> str | None:
    """Why a classifier cannot be scored on this data, or None."""
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
    """`top1`, and `top5` where there are more than 10 classes, with the accuracy of a constant answer as chance.

    Args:
        answers: Scores (N, K) of each class, from each repetition; accuracies are averaged over these.
        labels: (N,) int64.
        train_labels: (M,) int64, what the classifier learned from.
        num_classes: K.
        embedding: What was read.
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
    """Of the `top1` of `class_scores` on the whole test split: hits, or each item's share of them over repetitions.

    Args:
        answers: As for `class_scores`.
        labels: (N,) int64.
    """
    hits = [top_hits(scores, labels) for scores in answers]
    return {"top1": PerItem(hits[0] if len(hits) == 1 else torch.stack(hits).double().mean(0))}


def top_hits(scores: Tensor, labels: Tensor, top: int = 1) -> Tensor:
    """Whether each item's class is among its `top` highest scores; of equal scores the lower class comes first.

    Args:
        scores: (N, K).
        labels: (N,) int64.
        top: Answers that an item has.

    Returns:
        (N,) bool.
    """
    answers = scores.sort(dim=1, descending=True, stable=True).indices[:, :top]
    return (answers == labels[:, None]).any(1)


def top_accuracy(scores: Tensor, labels: Tensor, top: int = 1) -> float:
    """Part of the items that are hit; arguments as in `top_hits`."""
    return float(top_hits(scores, labels, top).double().mean())


def constant_accuracy(train_labels: Tensor, labels: Tensor, num_classes: int, top: int = 1) -> float:
    """Accuracy of always answering the `top` most frequent training classes; among equals the mean is taken.

    Args:
        train_labels: (M,) int64.
        labels: (N,) int64, of the items answered for.
        num_classes: K > top.
        top: Answers that an item has.
    """
    seen = torch.bincount(train_labels, minlength=num_classes)
    share = torch.bincount(labels, minlength=num_classes).double() / len(labels)
    last = seen.sort(descending=True).values[top - 1]
    sure, tied = seen > last, seen == last
    return float(share[sure].sum() + (top - sure.sum()) / tied.sum() * share[tied].sum())
