"""Scores of classifiers that probes train: top-1 and top-5 accuracy, chance level, and per-item hits.

Shapes: N test items, M training items, K classes.
"""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, PerItem, Score


def splits_skip_reason(data: DataSpec) -> str | None:
    """Return the reason why a probe cannot be trained and tested on this dataset, or None if both splits are there."""
    missing = [split for split in ("train", "test") if split not in data.splits]
    return f"needs a {missing[0]} split" if missing else None


def classes_skip_reason(data: DataSpec) -> str | None:
    """Return the reason why a classifier cannot be scored on this dataset, or None if it can."""
    if reason := splits_skip_reason(data):
        return reason
    if data.num_labels is not None:
        return "needs one class for each item, not several labels"
    if data.num_classes is None:
        return "needs labels"
    return None if data.num_classes > 1 else "needs at least two classes"


def number_of_classes(data: DataSpec) -> int:
    """Return the number of classes K of a dataset for which `classes_skip_reason` is None."""
    assert data.num_classes is not None, "the task is skipped for data without classes"
    return data.num_classes


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

    They are hits, bool; or fractions, where equal scores or several repetitions make an item a hit in part.

    Args:
        answers: Class scores (N, K) of each repetition.
        labels: Classes (N,) int64 of the test items.
    """
    hits = torch.stack([top_hits(scores, labels) for scores in answers]).mean(0)
    whole = len(answers) == 1 and bool(((hits == 0) | (hits == 1)).all())
    return {"top1": PerItem(hits.bool() if whole else hits)}


def top_hits(scores: Tensor, labels: Tensor, top: int = 1) -> Tensor:
    """Tell for each item if its class is among the `top` highest scores.

        scores of four classes    the item is of    hit at top = 2
        0.5  0.3  0.3  0.1        the first         1
        0.5  0.3  0.3  0.1        the second        1/2: it shares the second place with the third
        0.5  -inf -inf -inf       the second        0: -inf is no answer

    Of equal scores each is first equally often, so that the order in which classes are numbered does not matter. A
    score that is not finite is no answer: a class without a vote, or a NaN, is never a hit.

    Args:
        scores: Class scores (N, K).
        labels: Classes (N,) int64.
        top: Number of classes that count as an answer.

    Returns:
        Hits (N,) float64: 1 or 0, and between them where equal scores share the last place.
    """
    own = scores.gather(1, labels[:, None])
    places = top - (scores > own).sum(1).double()  # left for the classes of this score
    hits = (places / (scores == own).sum(1)).clamp(0, 1)
    return hits.where(own.squeeze(1).isfinite(), torch.zeros_like(hits))


def top_accuracy(scores: Tensor, labels: Tensor, top: int = 1) -> float:
    """Return the fraction of items that are hit; arguments as for `top_hits`."""
    return float(top_hits(scores, labels, top).mean())


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
