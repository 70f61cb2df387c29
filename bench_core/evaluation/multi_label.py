"""Scores of classifiers for data with several labels an item: mean average precision and micro F1.

Source: both are scikit-learn's, `average_precision_score` of each label and `f1_score(average="micro")`.

Shapes: N test items, M training items, L labels.
"""

import torch
from torch import Tensor

from bench_core.contracts import Score
from bench_core.errors import BenchError

SCORES = (  # for protocols
    "average precision of each label at every threshold, mean over the labels that some test item has; micro F1 of the "
    "labels with a probability above 1/2"
)


def label_scores(scores: Tensor, labels: Tensor, train_labels: Tensor, embedding: str) -> list[Score]:
    """Return `mean_average_precision` and `micro_f1`; chance is what a probe on constant features gets.

    Such a probe ranks no item above another, which gives each label an average precision equal to its share of items.
    It answers with the labels that more than half of the training items have, often none: then its F1 is 0.

    Args:
        scores: Scores (N, L) of the labels; above 0, a label is more likely than not.
        labels: Labels (N, L) bool of the test items.
        train_labels: Labels (M, L) bool of the items that the classifier was trained on.
        embedding: Name of the embedding that was read.

    Raises:
        BenchError: No test item has a label.
    """
    counted = labels.any(0)
    if not counted.any():
        raise BenchError("no item of the test split has a label, so there is no average precision to take the mean of")
    precisions = [threshold_average_precision(scores[:, k], labels[:, k]) for k in counted.nonzero()[:, 0].tolist()]
    usual = (train_labels.double().mean(0) > 0.5).expand_as(labels)
    return [
        Score(
            metric="mean_average_precision",
            value=float(torch.tensor(precisions, dtype=torch.float64).mean()),
            chance=float(labels[:, counted].double().mean()),
            embedding=embedding,
            n=len(labels),
        ),
        Score(
            metric="micro_f1",
            value=micro_f1(scores > 0, labels),
            chance=micro_f1(usual, labels),
            embedding=embedding,
            n=len(labels),
        ),
    ]


def uncounted_labels(labels: Tensor) -> list[str]:
    """Say for the notes of an Evaluation how many labels (N, L) bool no test item has: a list of one note, or none."""
    missing = int((~labels.any(0)).sum())
    if not missing:
        return []
    return [f"{missing} of {labels.shape[1]} labels left out of mean_average_precision: no test item has them"]


def threshold_average_precision(scores: Tensor, positive: Tensor) -> float:
    """Return the mean, over positive items, of the precision of all items with at least the score of each.

        scores     0.9  0.8  0.8  0.1
        positive    1    0    1    1      (1/1 + 2/3 + 3/4) / 3 = 0.806

    Items of equal scores pass a threshold together, as in scikit-learn. Searches take the mean over the orders of such
    items instead (`bench_core.evaluation.ranking`); the two differ only where scores are equal.

    Args:
        scores: (N,) finite.
        positive: (N,) bool, at least one is true.

    Returns:
        A number in (0, 1]; the share of positive items if all scores are equal.
    """
    ranked, hits = scores.sort().values, scores[positive].sort().values
    items_from, hits_from = len(ranked) - torch.searchsorted(ranked, hits), len(hits) - torch.searchsorted(hits, hits)
    return float((hits_from.double() / items_from).mean())


def micro_f1(answers: Tensor, labels: Tensor) -> float:
    """Return the F1 of all pairs of an item and a label: 2 TP / (2 TP + FP + FN), 0 if there are none.

    Args:
        answers: Labels (N, L) bool that a classifier gives.
        labels: True labels (N, L) bool.
    """
    positives = int(answers.sum()) + int(labels.sum())  # 2 TP + FP + FN
    return 2 * int((answers & labels).sum()) / positives if positives else 0.0
