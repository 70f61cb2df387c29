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
    assert next(iter(single.parts))[0].dtype == torch.float32
    assert single.solve(1e-4).loss == pytest.approx(exact.loss, rel=1e-4)


def test_several_labels_reach_the_optimum_of_each_label_by_scikit_learn() -> None:
    features, classes = problem(120, 20)
    labels = torch.stack([classes == 0, classes > 1, classes != 3], 1)
    fit = LogisticProblem(features, labels, 3, loss=logistic.sigmoid_loss, curvature=0.25).solve(1e-2)
    assert fit.converged
    total = 0.0
    for k in range(3):
        reference = LogisticRegression(C=1 / (1e-2 * 120), tol=1e-9, solver="newton-cholesky", max_iter=1000)
        reference.fit(features.double().numpy(), labels[:, k].numpy())
        expected = reference.decision_function(features.double().numpy())
        torch.testing.assert_close(fit.logits(features)[:, k], torch.from_numpy(expected), atol=5e-3, rtol=0)
        for score, hot in zip(expected, labels[:, k].tolist(), strict=True):
            total += float(np.log1p(np.exp(-score if hot else score))) / 120
        total += 1e-2 / 2 * float(np.square(reference.coef_).sum())
    assert fit.loss == pytest.approx(total, rel=1e-4)


def test_a_rare_label_is_solved_as_closely_as_a_frequent_one() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(600, 8, generator=rng)
    labels = features @ torch.randn(8, 20, generator=rng) + 2 * torch.randn(600, 20, generator=rng) > 1
    labels[:, 0] &= torch.arange(600) % 20 == 0
    fit = LogisticProblem(features, labels, 20, loss=logistic.sigmoid_loss, curvature=0.25).solve(1e-3)
    alone = LogisticRegression(C=1 / (1e-3 * 600), tol=1e-9, solver="newton-cholesky", max_iter=1000)
    expected = torch.from_numpy(alone.fit(features.numpy(), labels[:, 0].numpy()).decision_function(features.numpy()))
    assert 5 < int(labels[:, 0].sum()) < 20
    assert float((fit.logits(features)[:, 0] - expected).abs().mean() / expected.std()) < 5e-3


def test_sigmoid_loss_by_hand_and_its_slope() -> None:
    scores = torch.tensor([[0.0, 30.0], [-30.0, 2.0]], requires_grad=True)  # (K, N)
    hot = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    loss, slope = logistic.sigmoid_loss(scores, hot)
    assert loss.item() == pytest.approx((np.log(2) + 0 + 30 + np.log1p(np.exp(2))) / 2)
    torch.testing.assert_close(slope, torch.autograd.grad(loss, scores)[0])


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
