import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from bench_evaluators.mi.labels import classifier_information, entropy_of


def labelled(items: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (items,), generator=rng)
    return torch.randn(items, 2, generator=rng) + 2.0 * torch.eye(3)[labels][:, :2], labels


def test_classifier_information_is_the_entropy_minus_scikit_learns_loss() -> None:
    (x, seen), (z, labels) = labelled(500, 0), labelled(400, 1)
    fit = LogisticRegression().fit(x.numpy(), seen.numpy())
    logits = torch.from_numpy(fit.decision_function(z.numpy()))
    expected = entropy_of(labels) - log_loss(labels.numpy(), fit.predict_proba(z.numpy()))
    information = classifier_information(logits, labels)
    assert information == pytest.approx(expected)
    assert 0.2 < information < entropy_of(labels) <= math.log(3)


def test_sure_correct_classifier_has_the_entropy_and_a_constant_one_zero() -> None:
    labels = torch.tensor([0, 0, 1, 2])
    assert entropy_of(labels) == pytest.approx(1.5 * math.log(2))
    assert classifier_information(1000.0 * torch.eye(3)[labels], labels) == pytest.approx(1.5 * math.log(2))
    frequencies = torch.tensor([0.5, 0.25, 0.25]).log().expand(4, 3)
    assert classifier_information(frequencies, labels) == pytest.approx(0, abs=1e-7)
    assert classifier_information(1000.0 * torch.eye(3)[[1, 1, 0, 0]], labels) < -100
