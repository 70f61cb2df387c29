"""The solver reaches the optimum that scikit-learn reaches."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core.evaluation import logistic_regression as logistic
from bench_core.evaluation.logistic_regression import LogisticProblem


def problem(items: int, dim: int, classes: int = 4, overlap: float = 1.0) -> tuple[Tensor, Tensor]:
    """Make features whose scales span two orders of magnitude, on which plain gradient descent is slow."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(items) % classes
    centres, mixing = torch.randn(classes, dim, generator=rng), torch.randn(dim, dim, generator=rng) / dim**0.5
    features = (centres[labels] + overlap * torch.randn(items, dim, generator=rng)) @ mixing
    return (features + 1) * torch.logspace(0, -2, dim), labels


def slow_loss(weights: Tensor, bias: Tensor, features: Tensor, labels: Tensor, penalty: float) -> float:
    total = 0.0
    for x, y in zip(features.double(), labels, strict=True):
        logits = x @ weights + bias
        total += float(torch.logsumexp(logits, 0) - logits[y])
    return total / len(labels) + penalty / 2 * float((weights**2).sum())


@pytest.mark.parametrize(("items", "dim"), [(120, 20), (30, 60)])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3, 1e-5])
def test_loss_equals_the_optimum_of_scikit_learn(items: int, dim: int, penalty: float) -> None:
    features, labels = problem(items, dim)
    fit = LogisticProblem(features, labels, 4).solve(penalty)
    reference = LogisticRegression(C=1 / (penalty * items), tol=1e-9, solver="newton-cholesky", max_iter=1000)
    reference.fit(features.double().numpy(), labels.numpy())
    weights, bias = torch.from_numpy(np.asarray(reference.coef_)).T, torch.from_numpy(np.asarray(reference.intercept_))
    optimum = slow_loss(weights, bias, features, labels, penalty)
    assert fit.converged
    assert fit.loss == pytest.approx(optimum, rel=1e-4)
    assert fit.loss == pytest.approx(slow_loss(fit.weights, fit.bias, features, labels, penalty), rel=1e-6)


def test_float32_reaches_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = problem(400, 24)
    exact = LogisticProblem(features, labels, 4).solve(1e-4)
    monkeypatch.setattr(logistic, "FLOAT64_LIMIT", 0)
    single = LogisticProblem(features, labels, 4)
    assert single.coordinates.dtype == torch.float32
    assert single.solve(1e-4).loss == pytest.approx(exact.loss, rel=1e-4)


def test_loss_of_constant_features_is_the_entropy_of_the_labels() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    fit = LogisticProblem(torch.ones(4, 3), labels, 2).solve(1e-3)
    assert fit.loss == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-6)
    assert fit.logits(torch.ones(1, 3)).softmax(1)[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-3)


def test_optimum_does_not_depend_on_the_start_or_on_a_shift_of_the_features() -> None:
    features, labels = problem(100, 10)
    plain = LogisticProblem(features, labels, 4)
    cold, warm = plain.solve(1e-2), plain.solve(1e-2, start=plain.solve(1.0))
    assert plain.solve(1e-2, start=cold).iterations <= 1
    shifted = LogisticProblem(features + 5, labels, 4).solve(1e-2)
    assert warm.loss == pytest.approx(cold.loss, rel=1e-5)
    assert shifted.loss == pytest.approx(cold.loss, rel=1e-5)
    torch.testing.assert_close(shifted.logits(features + 5), cold.logits(features), atol=0.02, rtol=0)


def test_fit_with_too_few_iterations_is_not_converged() -> None:
    fit = LogisticProblem(*problem(100, 10), 4).solve(1e-3, max_iterations=2)
    assert not fit.converged
    assert fit.iterations == 2
    assert fit.gradient > logistic.TOLERANCE
