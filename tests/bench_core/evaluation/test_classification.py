"""Accuracies of classifiers and of a constant answer."""

import pytest
import torch

from bench_core.evaluation.classification import constant_accuracy, top_accuracy, top_hits


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    scores = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    assert top_hits(scores, torch.tensor([0, 2])).tolist() == [True, False]
    assert top_accuracy(scores, torch.tensor([0, 2])) == 0.5
    assert top_accuracy(scores, torch.tensor([0, 2]), top=2) == 1


def test_constant_accuracy_is_the_share_of_the_most_frequent_training_classes() -> None:
    train, test = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 2])
    assert constant_accuracy(train, test, 3) == pytest.approx(3 / 5)
    assert constant_accuracy(train, test, 3, top=2) == pytest.approx(3 / 5 + (1 / 5 + 1 / 5) / 2)


def test_constant_accuracy_of_balanced_training_labels_is_one_over_the_number_of_classes() -> None:
    assert constant_accuracy(torch.arange(40) % 10, torch.tensor([3, 3, 7]), 10) == pytest.approx(0.1)
