"""Accuracies of classifiers and of a constant answer."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.evaluation.classification import (
    class_items,
    classes_skip_reason,
    constant_accuracy,
    number_of_classes,
    top_accuracy,
    top_hits,
)

INF = math.inf


def slow_hits(scores: Tensor, labels: Tensor, top: int) -> list[float]:
    """Count how often the class is among the first `top` with a score, over all orders of the classes."""
    hits = []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        orders = list(itertools.permutations(range(len(row))))
        answers = ([c for c in sorted(order, key=lambda c: -row[c]) if row[c] > -INF][:top] for order in orders)
        hits.append(sum(label in answer for answer in answers) / len(orders))
    return hits


@pytest.mark.parametrize("top", [1, 2, 3, 5])
def test_hits_are_means_over_all_orders_of_the_classes(top: int) -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randint(-1, 3, (40, 6), generator=rng).double()
    scores[scores < 0] = -INF  # classes without a vote
    labels = torch.randint(6, (40,), generator=rng)
    assert top_hits(scores, labels, top).tolist() == pytest.approx(slow_hits(scores, labels, top))
    renumbered = torch.randperm(6, generator=rng)
    assert torch.equal(
        top_hits(scores[:, renumbered.argsort()], renumbered[labels], top), top_hits(scores, labels, top)
    )


def test_hits_by_hand() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.3, 0.1]] * 4 + [[0.5, -INF, -INF, -INF]] * 2)
    assert top_hits(scores, torch.tensor([0, 1, 2, 3, 0, 1]), top=2).tolist() == [1, 0.5, 0.5, 0, 1, 0]
    assert top_accuracy(scores, torch.tensor([0, 1, 2, 3, 0, 1]), top=2) == 0.5


@pytest.mark.parametrize("broken", [math.nan, INF, -INF])
def test_a_score_that_is_not_finite_is_no_answer(broken: float) -> None:
    assert top_hits(torch.full((2, 3), broken), torch.tensor([0, 2]), top=2).tolist() == [0, 0]


def test_items_are_hits_or_the_fractions_that_ties_and_repetitions_make() -> None:
    labels = torch.tensor([0, 1])
    clear, tied = torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    hits = class_items([clear], labels)["top1"].values
    assert (hits.dtype, hits.tolist()) == (torch.bool, [True, False])
    assert class_items([tied], labels)["top1"].values.tolist() == [0.5, 0]
    assert class_items([clear, tied], labels)["top1"].values.tolist() == [0.75, 0]
    assert class_items([clear, clear], labels)["top1"].values.dtype == torch.float64


def test_constant_accuracy_is_the_share_of_the_most_frequent_training_classes() -> None:
    train, test = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 2])
    assert constant_accuracy(train, test, 3) == pytest.approx(3 / 5)
    assert constant_accuracy(train, test, 3, top=2) == pytest.approx(3 / 5 + (1 / 5 + 1 / 5) / 2)


def test_constant_accuracy_of_balanced_training_labels_is_one_over_the_number_of_classes() -> None:
    assert constant_accuracy(torch.arange(40) % 10, torch.tensor([3, 3, 7]), 10) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"splits": {"train": 4}, "num_classes": 2}, "needs a test split"),
        ({"splits": {"train": 4, "test": 4}, "num_labels": 3}, "needs one class for each item, not several labels"),
        ({"splits": {"train": 4, "test": 4}}, "needs labels"),
        ({"splits": {"train": 4, "test": 4}, "num_classes": 1}, "needs at least two classes"),
        ({"splits": {"train": 4, "test": 4}, "num_classes": 2}, None),
    ],
)
def test_a_classifier_needs_a_train_and_a_test_split_of_two_classes(facts: dict[str, Any], reason: str | None) -> None:
    assert classes_skip_reason(DataSpec(shape=(1, 8, 8), **facts)) == reason


def test_the_number_of_classes_is_that_of_the_dataset() -> None:
    assert number_of_classes(DataSpec(shape=(4,), splits={"train": 4}, num_classes=3)) == 3
    with pytest.raises(AssertionError, match="skipped for data without classes"):
        number_of_classes(DataSpec(shape=(4,), splits={"train": 4}))
