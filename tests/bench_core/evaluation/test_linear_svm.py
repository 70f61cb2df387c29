"""The linear SVM reaches the optimum that scikit-learn's LinearSVC reaches."""

import pytest
import torch
from sklearn.svm import LinearSVC
from torch import Tensor

from bench_core.evaluation.linear_probe import SVM, fit_probe
from bench_core.evaluation.linear_svm import margin_loss, svm_problem


def problem(items: int, dim: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(items) % classes
    centres, mixing = torch.randn(classes, dim, generator=rng), torch.randn(dim, dim, generator=rng) / dim**0.5
    return (centres[labels] + torch.randn(items, dim, generator=rng)) @ mixing, labels


def slow_loss(weights: Tensor, bias: Tensor, features: Tensor, labels: Tensor, penalty: float) -> float:
    total = 0.0
    for x, y in zip(features.double(), labels.tolist(), strict=True):
        for k in range(weights.shape[1]):
            score = float(x @ weights[:, k] + bias[k])
            total += max(0.0, 1 - (score if k == y else -score)) ** 2
    return total / len(labels) + penalty / 2 * float((weights**2).sum())


@pytest.mark.parametrize(("items", "dim", "classes"), [(120, 20, 4), (30, 60, 4), (80, 6, 2)])
@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_loss_equals_the_optimum_of_scikit_learn(items: int, dim: int, classes: int, penalty: float) -> None:
    features, labels = problem(items, dim, classes)
    fit = svm_problem(features, labels, classes).solve(penalty)
    reference = LinearSVC(C=1 / (penalty * items), dual=False, tol=1e-9, max_iter=10_000, intercept_scaling=1000)
    reference.fit(features.double().numpy(), labels.numpy())  # so large a scaling takes the penalty from its biases
    weights, bias = torch.from_numpy(reference.coef_).T, torch.from_numpy(reference.intercept_)
    if classes == 2:  # scikit-learn has one plane for two classes, of which the first is the negative side
        weights, bias = torch.cat([-weights, weights], 1), torch.cat([-bias, bias])
    optimum = slow_loss(weights, bias, features, labels, penalty)
    assert fit.converged
    assert fit.loss == pytest.approx(optimum, rel=1e-4)
    assert fit.loss == pytest.approx(slow_loss(fit.weights, fit.bias, features, labels, penalty), rel=1e-6)
    predicted = fit.logits(features).argmax(1)
    assert (predicted == torch.from_numpy(reference.predict(features.double().numpy()))).double().mean() > 0.98


def test_a_loss_by_hand_and_its_slope() -> None:
    scores = torch.tensor([[2.0, 0.5], [-0.5, 0.0]])  # (K, N)
    onehot = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss, slope = margin_loss(scores, onehot)
    # Item 1 is beyond the margin of class 1, and lacks 1 - 0.5 on the side of "not class 2"; item 2 lacks 0.5 and 1.
    assert float(loss) == pytest.approx((0 + 0.5**2 + 0.5**2 + 1**2) / 2)
    torch.testing.assert_close(slope, torch.tensor([[0.0, -0.5], [0.5, 1.0]]))


def test_the_slope_is_the_derivative_of_the_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 7, generator=rng, dtype=torch.float64).requires_grad_()
    onehot = torch.eye(3, dtype=torch.float64)[:, torch.arange(7) % 3]
    loss, slope = margin_loss(scores.detach(), onehot)
    differentiable = (1 - (2 * onehot - 1) * scores).relu().square().sum() / 7
    (expected,) = torch.autograd.grad(differentiable, scores)
    torch.testing.assert_close(loss, differentiable.detach())
    torch.testing.assert_close(slope, expected)


def test_items_beyond_the_margin_do_not_move_the_planes() -> None:
    features, labels = problem(60, 5, 2)
    fit = svm_problem(features, labels, 2).solve(1e-2)
    side = 2.0 * (labels == 1) - 1
    beyond = (fit.logits(features)[:, 1] * side > 1.01).nonzero().squeeze(1)
    assert len(beyond) > 5
    direction = fit.weights[:, 1].float() / fit.weights[:, 1].float().norm()
    moved = features.clone()
    moved[beyond] += (side[beyond] * 3)[:, None] * direction
    again = svm_problem(moved, labels, 2).solve(1e-2)
    torch.testing.assert_close(again.weights, fit.weights, rtol=0, atol=2e-3)


def test_a_shift_of_the_features_changes_no_score() -> None:
    features, labels = problem(100, 10)
    fit, shifted = (svm_problem(features + shift, labels, 4).solve(1e-2) for shift in (0, 5))
    assert shifted.loss == pytest.approx(fit.loss, rel=1e-5)
    torch.testing.assert_close(shifted.logits(features + 5), fit.logits(features), atol=0.02, rtol=0)


def test_a_single_class_is_scored_without_an_error() -> None:
    features, _ = problem(20, 3)
    fit = svm_problem(features, torch.zeros(20, dtype=torch.long), 2).solve(1e-2)
    assert fit.converged
    assert bool((fit.logits(features).argmax(1) == 0).all())


def test_the_penalty_is_chosen_by_the_loss_of_the_svm_on_held_out_items() -> None:
    features, labels = problem(200, 30)
    grid = (1.0, 1e-1, 1e-2, 1e-3)
    chosen = fit_probe(features, labels, 4, torch.Generator().manual_seed(0), grid=grid, classifier=SVM)
    assert chosen.held_out_loss is not None
    assert chosen.note.startswith(f"penalty {chosen.penalty:g}, chosen on 20 held-out training items")
    assert "the strongest within 0.002 of the least" in chosen.protocol
    again = svm_problem(features, labels, 4).solve(chosen.penalty)
    torch.testing.assert_close(chosen.fit.logits(features), again.logits(features))
