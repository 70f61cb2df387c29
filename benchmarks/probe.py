"""Measure the linear probe against scikit-learn's logistic regression: `python -m benchmarks.probe [--save]`."""

import warnings
from collections.abc import Sequence
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core.evaluation import logistic_regression as logistic
from bench_core.evaluation.linear_probe import standardise
from bench_core.evaluation.logistic_regression import LogisticFit, LogisticProblem
from benchmarks.contest import Contender, Contest, Goal, main
from benchmarks.toy_features import features

_STEPS = 100  # most steps of scikit-learn, its default
_WITHIN = 1e-3  # our loss must be this close to the least possible loss
_FINER = 2e-6  # tolerance of the fit that the lower bound is made of, in float64
_NEWTON = 30  # steps for the bias of the lower bound


def contests(items: int = 50_000, dims: int = 512, classes: int = 10) -> Sequence[Contest]:
    """Return four contests: two spectra against scikit-learn, and growth with images and with classes.

    C = 1 for both, which is a penalty of 1 / N for each item in our terms.
    """
    data = _standardised(items, dims, classes)
    flat = _standardised(items, dims, classes, decay=0.0, spread=20.0)
    more = [10, 30, 100] if classes == 10 else [classes, 2 * classes]
    sizes, few = [items // 4, items // 2, items], items // 4
    by_size = [Contender(f"{size:,} items", partial(ours, data[0][:size], data[1][:size], classes)) for size in sizes]
    by_class = [Contender(f"{count} classes", partial(ours, *_standardised(few, dims, count), count)) for count in more]
    return [
        _contest("a spectrum like an encoder's", data, classes, [Goal("ours, to the optimum", "scikit-learn", 2.0)]),
        _contest("a flat spectrum", flat, classes, []),
        Contest("linear probe as images grow", by_size, sizes=sizes),
        Contest(f"linear probe as classes grow: {few:,} items", by_class, sizes=more),
    ]


def ours(values: Tensor, labels: Tensor, classes: int, device: str = "cpu") -> LogisticFit:
    """Fit the probe for one penalty, as the task `linear` does."""
    return LogisticProblem(values, labels, classes, device).solve(1 / len(values))


def lower_bound(values: Tensor, labels: Tensor, fit: LogisticFit, penalty: float) -> float:
    """Return a loss that no weights can go below: the dual objective at the probabilities of a fit.

    log sum exp z >= <q, z> + H(q) for every distribution q. With q_i the probabilities of the fit and
    G = X^T (q - y) / N, the loss of any W, b is at least mean H(q_i) + <G, W> + penalty/2 |W|^2 >= mean H(q_i)
    - |G|^2 / (2 penalty), where the mean of q equals that of y; the bias is first moved until it does.
    """
    truth, scores = F.one_hot(labels).double(), fit.logits(values)
    bias = torch.zeros(scores.shape[1], dtype=torch.float64)
    for _ in range(_NEWTON):
        q = (scores + bias).softmax(1)
        slope = q.mean(0) - truth.mean(0)
        curvature = q.mean(0).diag() - q.T @ q / len(q)
        bias -= torch.linalg.pinv(curvature) @ slope
    gradient = values.double().T @ (q - truth) / len(q)
    return float(torch.special.entr(q).sum(1).mean() - gradient.square().sum() / (2 * penalty))


def _contest(spectrum: str, data: tuple[Tensor, Tensor], classes: int, goals: Sequence[Goal]) -> Contest:
    values, labels = data
    penalty, rows, answers = 1 / len(values), values.numpy(), labels.numpy()

    def theirs() -> LogisticRegression:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return LogisticRegression(C=1.0, max_iter=_STEPS).fit(rows, answers)

    def loss(weights: Tensor, bias: Tensor) -> float:
        fitted = F.cross_entropy(values.double() @ weights + bias, labels)
        return float(fitted) + penalty / 2 * float(weights.square().sum())

    fit, model = ours(values, labels, classes), theirs()
    with patch.multiple(logistic, TOLERANCE=_FINER, FLOAT64_LIMIT=values.numel()):  # the bound holds for any fit
        bound = lower_bound(values, labels, ours(values, labels, classes), penalty)
    our_loss = loss(fit.weights, fit.bias)
    their_loss = loss(torch.from_numpy(model.coef_.T).double(), torch.from_numpy(model.intercept_).double())
    if not bound - 1e-6 <= our_loss <= bound + _WITHIN:
        raise AssertionError(f"a loss of {our_loss} is not within {_WITHIN} of the optimum, which is at least {bound}")
    contenders = [
        Contender("ours, to the optimum", partial(ours, values, labels, classes)),
        Contender("scikit-learn", theirs),
    ]
    if torch.cuda.is_available():
        contenders.append(Contender("ours, on the GPU", partial(ours, values, labels, classes, "cuda")))
    return Contest(
        f"linear probe, {len(values):,} x {values.shape[1]}, {classes} classes, {spectrum}",
        contenders,
        goals,
        [
            f"loss: ours {our_loss:.5f} in {fit.iterations} steps, no more than {max(0.0, our_loss - bound):.1e} above "
            f"the optimum (duality gap); scikit-learn (lbfgs) {their_loss:.5f} in {int(model.n_iter_.max())} of "
            f"{_STEPS} steps",
            "before its first step ours turns the features into their principal directions, which takes as long as "
            "some 25 steps: a spectrum that decays repays that, a flat one does not",
        ],
    )


def _standardised(
    items: int, dims: int, classes: int, decay: float = 1.0, spread: float = 4.0
) -> tuple[Tensor, Tensor]:
    values, labels = features(items, dims, classes, seed=0, decay=decay, spread=spread)
    return standardise(values, values)[0], labels


if __name__ == "__main__":
    main("probe", contests, rounds=5)
