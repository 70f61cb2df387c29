"""Labelled embeddings, as probes read them, and the scores of probes that answer with a class."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Frozen, PerItem, Score
from bench_core.embeddings import embedding_of
from bench_core.errors import BenchError
from bench_core.metrics import constant_accuracy, top_accuracy, top_hits


def why_no_classes(data: DataSpec) -> str | None:
    """Why a classifier cannot be scored on this data, or None."""
    if missing := [split for split in ("train", "test") if split not in data.splits]:
        return f"needs a {missing[0]} split"
    if data.num_labels is not None:
        return "several labels an item are not supported yet"
    if data.num_classes is None:
        return "needs labels"
    return None if data.num_classes > 1 else "needs at least two classes"


def labelled(frozen: Frozen, split: str, embedding: str) -> tuple[Tensor, Tensor]:
    """One embedding of one split, with its labels.

    Args:
        frozen: The trained method.
        split: Name of the split.
        embedding: Name of the embedding.

    Returns:
        (N, D) float32, and labels (N,) int64 or (N, L) bool.

    Raises:
        BenchError: The method has no such embedding, or the split no labels.
    """
    part = frozen.splits[split]
    values = embedding_of(part, embedding)
    if part.labels is None:
        raise BenchError(f"the {split} split has no labels")
    return values.float(), part.labels


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
