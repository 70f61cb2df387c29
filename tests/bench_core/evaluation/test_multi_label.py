"""Mean average precision and micro F1 of classifiers for several labels an item."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor

from bench_core import BenchError
from bench_core.evaluation.multi_label import (
    label_scores,
    micro_f1,
    threshold_average_precision,
    uncounted_labels,
)
from bench_core.evaluation.ranking import average_precision


def answers(items: int = 60, labels: int = 5) -> tuple[Tensor, Tensor]:
    """Return scores and labels that go together a little, with labels of different frequency."""
    rng = torch.Generator().manual_seed(0)
    hot = torch.rand(items, labels, generator=rng) < torch.linspace(0.1, 0.7, labels)
    return torch.randn(items, labels, generator=rng, dtype=torch.float64) + 2 * hot - 1, hot


def slow_average_precision(scores: Tensor, positive: Tensor) -> float:
    """Add up precision times the rise of recall, from the highest threshold to the lowest."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = [hit for score, hit in zip(scores.tolist(), positive.tolist(), strict=True) if score >= threshold]
        total += sum(above) / len(above) * (sum(above) / int(positive.sum()) - recall)
        recall = sum(above) / int(positive.sum())
    return total


@pytest.mark.parametrize("digits", [0, 1, 9])  # rounding makes ties
def test_average_precision_is_that_of_scikit_learn_and_of_the_slow_sum(digits: int) -> None:
    scores, labels = answers()
    for k in range(labels.shape[1]):
        rounded, positive = scores[:, k].round(decimals=digits), labels[:, k]
        value = threshold_average_precision(rounded, positive)
        assert value == pytest.approx(average_precision_score(positive.numpy(), rounded.numpy()), abs=1e-12)
        assert value == pytest.approx(slow_average_precision(rounded, positive), abs=1e-12)


def test_average_precision_by_hand() -> None:
    scores, positive = torch.tensor([0.9, 0.8, 0.8, 0.1]), torch.tensor([True, False, True, True])
    assert threshold_average_precision(scores, positive) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert threshold_average_precision(torch.zeros(8), torch.arange(8) < 3) == pytest.approx(3 / 8)
    assert threshold_average_precision(torch.arange(8.0), torch.arange(8) > 5) == 1


def test_without_equal_scores_it_is_the_average_precision_of_searches() -> None:
    scores, labels = answers()
    for k in range(labels.shape[1]):
        pair = scores[:, k], labels[:, k]
        assert threshold_average_precision(*pair) == pytest.approx(average_precision(*pair))


def test_micro_f1_is_that_of_scikit_learn() -> None:
    scores, labels = answers()
    assert micro_f1(scores > 0, labels) == pytest.approx(
        f1_score(labels.numpy(), (scores > 0).numpy(), average="micro")
    )


def test_micro_f1_by_hand() -> None:
    labels = torch.tensor([[True, False, True], [False, False, True]])
    given = torch.tensor([[True, True, False], [False, False, False]])
    assert micro_f1(given, labels) == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))
    assert micro_f1(labels, labels) == 1
    assert micro_f1(~labels, labels) == 0
    assert micro_f1(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.bool)) == 0


def test_mean_average_precision_is_the_macro_mean_of_scikit_learn() -> None:
    scores, labels = answers()
    first, second = label_scores(scores, labels, labels, "features")
    expected = average_precision_score(labels.numpy(), scores.numpy(), average="macro")
    assert (first.metric, first.n) == ("mean_average_precision", 60)
    assert first.value == pytest.approx(expected)
    assert (second.metric, second.value, second.n) == ("micro_f1", micro_f1(scores > 0, labels), 60)


def test_chance_is_what_equal_scores_of_all_items_get() -> None:
    _, labels = answers()
    _, train = answers(items=400)
    share = train.double().mean(0)
    constant = torch.special.logit(share).expand(labels.shape)
    assert share.min() < 0.5 < share.max()
    for score in label_scores(constant, labels, train, "features"):
        assert score.value == pytest.approx(score.chance)
        assert 0 < score.value < 1
    rare = label_scores(constant, labels, torch.zeros_like(train), "features")[1]
    assert rare.chance == 0  # no label is likelier than not, so none is given


def test_labels_that_no_test_item_has_are_left_out_of_the_mean_only() -> None:
    scores, labels = answers()
    more_scores = torch.cat([scores, torch.ones(60, 2, dtype=torch.float64)], 1)
    more_labels = torch.cat([labels, torch.zeros(60, 2, dtype=torch.bool)], 1)
    plain, extra = label_scores(scores, labels, labels, "f"), label_scores(more_scores, more_labels, more_labels, "f")
    assert extra[0] == plain[0]
    assert extra[1].value < plain[1].value  # answers of these labels are wrong answers
    assert uncounted_labels(labels) == []
    assert uncounted_labels(more_labels) == ["2 of 7 labels left out of mean_average_precision: no test item has them"]


def test_order_of_items_and_of_labels_does_not_matter() -> None:
    scores, labels = answers()
    rng = np.random.default_rng(0)
    items, columns = rng.permutation(60), rng.permutation(5)
    moved = label_scores(scores[items][:, columns], labels[items][:, columns], labels[:, columns], "features")
    plain = label_scores(scores, labels, labels, "features")
    assert [score.value for score in moved] == pytest.approx([score.value for score in plain])
    assert [score.chance for score in moved] == pytest.approx([score.chance for score in plain])


def test_a_test_split_without_any_label_is_refused() -> None:
    scores, labels = answers()
    with pytest.raises(BenchError, match="no item of the test split has a label"):
        label_scores(scores, torch.zeros_like(labels), labels, "features")
