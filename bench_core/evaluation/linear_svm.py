"""Linear support vector machine, one class against the rest, solved to its optimum.

    minimise  mean_i sum_k max(0, 1 - s_ik f_k(x_i))^2  +  penalty / 2 * |W|^2,      f_k(x) = w_k^T x + b_k

with s_ik = 1 where item i is of class k, else -1, and free biases. It is a sum of one problem for each class, and these
are solved together. An item costs nothing for a class where its score is at least 1 on the right side, so only the
other items shape the plane. The square makes the loss smooth, so the solver of logistic regression solves it, too.

scikit-learn's `LinearSVC` minimises the same with C = 1 / (penalty * N), but puts its penalty on the biases, too.

Paper: Cortes, Vapnik, Machine Learning 20, 1995, https://doi.org/10.1007/BF00994018
Code:  none followed.

Shapes: N items, D features, K classes.
"""

import torch
from torch import Tensor

from bench_core.evaluation.logistic_regression import LogisticProblem
from bench_core.evaluation.rows import Features

CURVATURE = 1.0  # between 0, where an item is beyond the margin, and 2


def svm_problem(
    features: Features, labels: Tensor, num_classes: int, device: torch.device | str = "cpu"
) -> LogisticProblem:
    """Return the problem of a linear SVM; its `solve` finds the optimum for one penalty.

    Args:
        features: Features (N, D).
        labels: Classes (N,) int64 in [0, K).
        num_classes: Number of classes K.
        device: CPU or CUDA device, for the products.
    """
    return LogisticProblem(features, labels, num_classes, device, loss=margin_loss, curvature=CURVATURE)


def margin_loss(scores: Tensor, onehot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over items of the squared distances to the right side of each margin, and its slope (K, N).

    Args:
        scores: Class scores (K, N).
        onehot: Labels (K, N), 0 or 1.
    """
    sides = 2 * onehot - 1
    missing = (1 - sides * scores).clamp_(min=0)
    return missing.square().sum(0).double().mean(), missing.mul_(sides).mul_(-2 / scores.shape[1])
