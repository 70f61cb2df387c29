"""Linear probe: a linear classifier on standardised features, with the penalty chosen on a held-out part of train.

The classifier is logistic regression, a linear SVM, or one logistic regression for each of several labels an item.

Source: ours, like `bench_core.evaluation.logistic_regression`. The tasks that fit linear probes share this code.

Shapes: N items, D features, K classes or labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.data import ranks_in_class
from bench_core.errors import BenchError
from bench_core.evaluation.linear_svm import margin_loss, svm_problem
from bench_core.evaluation.logistic_regression import TOLERANCE, LogisticFit, LogisticProblem, sigmoid_loss
from bench_core.evaluation.rows import Features, Rows, blocks_of, is_small, scaling

GRID = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # penalties; scikit-learn's C is 1 / (penalty * N)
FIXED_PENALTY = 0.01  # where nothing can be held out; within 0.4 points of the best of 1e-4 to 10 with 5 to 20 labels
VALIDATION = 0.1  # fraction of each class that is held out
RISE = 0.05  # part of the least held-out loss by which a loss must exceed it to end the search
ALIKE = 0.002  # nats within which held-out losses count as equal: true classes get 0.2 % more probability
MAX_ITERATIONS = 1000
PROBLEM = "logistic regression (softmax), penalty/2 * |W|^2 beside the mean loss, bias free"  # for protocols
SOLVER = f"L-BFGS in whitened coordinates until the gradient's largest entry is at most {TOLERANCE:g} of the loss"


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A linear classifier that a probe may be.

    Attributes:
        text: What is minimised, for protocols.
        problem: Function that prepares features (N, D), labels (N,) and a number of classes to be solved, on a device.
        loss: Function that gives the mean loss of class scores (N, K) with labels (N,), by which the penalty is chosen.
        unit: Unit of the loss, as protocols name it after a number: " nats", or "".
    """

    text: str
    problem: Callable[[Features, Tensor, int, torch.device | str], LogisticProblem]
    loss: Callable[[Tensor, Tensor], float]
    unit: str


def _cross_entropy(scores: Tensor, labels: Tensor) -> float:
    return float(F.cross_entropy(scores, labels))


def _margin_loss(scores: Tensor, labels: Tensor) -> float:
    return float(margin_loss(scores.T, F.one_hot(labels, scores.shape[1]).T)[0])


def _several_labels_problem(
    features: Features, labels: Tensor, num_labels: int, device: torch.device | str = "cpu"
) -> LogisticProblem:
    return LogisticProblem(features, labels, num_labels, device, loss=sigmoid_loss, curvature=0.25)  # the largest one


def _several_labels_loss(scores: Tensor, labels: Tensor) -> float:
    return float(sigmoid_loss(scores.T, labels.T.to(scores))[0])


LOGISTIC = Classifier(text=PROBLEM, problem=LogisticProblem, loss=_cross_entropy, unit=" nats")
SVM = Classifier(
    text=(
        "linear SVM, each class against the rest: max(0, 1 - s * score)^2 with s = 1 for items of the class and -1 for "
        "others, summed over classes, mean over items, beside penalty/2 * |W|^2, bias free; scikit-learn's C is "
        "1 / (penalty * items)"
    ),
    problem=svm_problem,
    loss=_margin_loss,
    unit="",
)
SEVERAL_LABELS = Classifier(
    text=(
        "one logistic regression (sigmoid) for each label with one common penalty, penalty/2 * |W|^2 beside the loss "
        "summed over labels, mean over items, bias free"
    ),
    problem=_several_labels_problem,
    loss=_several_labels_loss,
    unit=" nats",
)


@dataclass(frozen=True, kw_only=True)
class ChosenFit:
    """A fit with the chosen penalty, and texts about the choice for a record.

    Attributes:
        fit: Fit on all of train with the chosen penalty.
        penalty: Penalty of the least loss on the held-out part, or the fixed one where nothing was held out.
        held_out_loss: Mean loss of the classifier on the held-out part (cross-entropy in nats), of the fit that was
            trained without it; None where nothing was held out.
        note: The penalty and the number of items on which it was chosen, for the notes of an Evaluation.
        protocol: The procedure of the choice, for the protocol of an Evaluation.
    """

    fit: LogisticFit
    penalty: float
    held_out_loss: float | None
    note: str
    protocol: str


def fit_probe(
    train: Features,
    labels: Tensor,
    num_classes: int,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
    *,
    grid: Sequence[float] = GRID,
    validation_fraction: float = VALIDATION,
    fixed_penalty: float = FIXED_PENALTY,
    max_iterations: int = MAX_ITERATIONS,
    classifier: Classifier = LOGISTIC,
) -> ChosenFit:
    """Choose the penalty on a held-out part of train, then fit on all of train.

    Where no class has two items, nothing can be held out, and the penalty is fixed. With several labels an item the
    held-out part is drawn from all items alike.

    Args:
        train: Standardised features (N, D); `Rows` are read in blocks, see `scaled`.
        labels: Classes (N,) int64, or several labels an item, (N, K) bool.
        num_classes: Number of classes or labels K.
        rng: Generator on the CPU; it draws the held-out part.
        device: A CUDA device computes the products there; with any other device they are computed on the CPU.
        grid: Penalties to choose from, > 0.
        validation_fraction: Fraction of each class, or of all items with several labels, that is held out, in (0, 1);
            at least one item is left to train on.
        fixed_penalty: Penalty where nothing can be held out, > 0.
        max_iterations: Largest number of L-BFGS steps of one fit.
        classifier: `LOGISTIC` or `SVM`; `SEVERAL_LABELS` for several labels an item, and only for these.

    Raises:
        BenchError: The features, or the loss on the held-out part, are not finite.
    """
    if not (train.is_finite() if isinstance(train, Rows) else bool(train.isfinite().all())):
        raise BenchError("a linear probe needs finite features, these have NaN or infinity: has the training diverged?")
    device = device if torch.device(device).type == "cuda" else "cpu"
    if labels.ndim == 1:
        held_out, part = held_out_part(labels, validation_fraction, num_classes, rng), "each training class"
        too_few, where_too_few = "no class has two training items", "no class has an item to hold out"
    else:
        alike = torch.zeros(len(labels), dtype=torch.int64)
        held_out, part = held_out_part(alike, validation_fraction, 1, rng), "the training items"
        too_few, where_too_few = "there are not two training items", "there is only one"
    if held_out.any():
        problem = classifier.problem(train[~held_out], labels[~held_out], num_classes, device)
        penalty, loss, lost, chosen = _choose_penalty(
            problem, train[held_out], labels[held_out], grid, max_iterations, classifier.loss
        )
        note = f"penalty {penalty:g}, chosen on {int(held_out.sum()):,} held-out training items{_at_end(penalty, grid)}"
        note += f"; NOT converged when it was chosen: {', '.join(f'{p:g}' for p in lost)}" if lost else ""
        problem.forget()  # the next one may keep the coordinates of all items
    else:
        penalty, loss, chosen = fixed_penalty, None, None
        note = f"penalty {penalty:g} fixed, not chosen: {too_few}, so none can be held out"
    # The optimum is the same from any start. A step on many items is dear, so those start where the choice ended.
    start = chosen if isinstance(train, Rows) else None
    return ChosenFit(
        fit=classifier.problem(train, labels, num_classes, device).solve(penalty, max_iterations, start),
        penalty=penalty,
        held_out_loss=loss,
        note=note,
        protocol=(
            f"penalty chosen of {', '.join(f'{p:g}' for p in grid)} by the loss on "
            f"{validation_fraction:.0%} of {part}, from strong to weak until it is {RISE:.0%} above the least, the "
            f"strongest within {ALIKE:g}{classifier.unit} of the least; {fixed_penalty:g} where {where_too_few}; "
            "refitted on all of train"
        ),
    )


def _at_end(penalty: float, grid: Sequence[float]) -> str:
    """Say for a note that the chosen penalty is at an end of its grid, so that one beyond it might be better."""
    if len(set(grid)) > 1 and penalty in (min(grid), max(grid)):
        end = "weakest" if penalty == min(grid) else "strongest"
        return f"; it is the {end} of the grid, beyond which none was tried"
    return ""


def _choose_penalty(
    problem: LogisticProblem,
    held_out: Features,
    labels: Tensor,
    grid: Sequence[float],
    max_iterations: int,
    loss_of: Callable[[Tensor, Tensor], float],
) -> tuple[float, float, list[float], LogisticFit]:
    """Try penalties from strong to weak until the held-out loss has risen, and take the least loss.

    It has risen when it is `RISE` above the least: few held-out items make small bumps in it. Where it is flat, as with
    few features of many items or with classes far apart, the strongest penalty within `ALIKE` of the least loss is
    taken, not the end of the grid. A loss that is not finite ends the search, too, and is never the least.

    Returns:
        The best penalty, its loss, the penalties at which the solver did not converge, and the fit.
    """
    losses, lost, fit = dict[float, float](), list[float](), None
    fits = dict[float, LogisticFit]()
    for penalty in sorted(grid, reverse=True):
        fits[penalty] = fit = problem.solve(penalty, max_iterations, fit)
        if not fit.converged:
            lost.append(penalty)
        loss = _mean_loss(fit, held_out, labels, loss_of)
        if not math.isfinite(loss):
            break
        losses[penalty] = loss
        if loss > (1 + RISE) * min(losses.values()) or loss <= ALIKE:  # no loss is below 0
            break
    if not losses:
        raise BenchError(
            f"the probe's loss on held-out items is {loss} at penalty {penalty:g}; it must be finite to choose a "
            "penalty by it: set a grid of other penalties."
        )
    best = max(penalty for penalty, loss in losses.items() if loss <= min(losses.values()) + ALIKE)
    return best, losses[best], lost, fits[best]


def _mean_loss(
    fit: LogisticFit, features: Features, labels: Tensor, loss_of: Callable[[Tensor, Tensor], float]
) -> float:
    """Return the mean loss of a fit on features (N, D), by which `Rows` are read in blocks."""
    losses = (
        loss_of(fit.logits(block), labels[start:end]) * ((end - start) / len(labels))
        for start, end, block in blocks_of(features)
    )
    return sum(losses)


def held_out_part(labels: Tensor, fraction: float, num_classes: int, rng: torch.Generator) -> Tensor:
    """Draw a random part of each class, at least one item and never all.

    Args:
        labels: Classes (N,) int64.
        fraction: Fraction of each class, in (0, 1).
        num_classes: Number of classes K.
        rng: Generator on the CPU.

    Returns:
        Mask (N,) bool of the drawn items.
    """
    sizes = torch.bincount(labels, minlength=num_classes)
    num_held_out = (sizes * fraction).round().clamp(min=1).minimum(sizes - 1)  # leaves at least one item
    return shuffled_ranks(labels, rng) < num_held_out[labels]


def shuffled_ranks(labels: Tensor, rng: torch.Generator) -> Tensor:
    """Count, for each item, the items of its class before it in a random order.

        shuffled_ranks(labels, rng) < m   # selects m random items of each class

    Args:
        labels: Classes (N,) int64.
        rng: Generator on the CPU.
    """
    order = torch.randperm(len(labels), generator=rng)
    rank = torch.empty_like(labels)
    rank[order] = torch.from_numpy(ranks_in_class(labels[order].numpy()))
    return rank


def standardise(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Give each feature mean 0 and standard deviation 1 on train; features that are constant on train become 0.

    Args:
        train: Features (N, D).
        test: Features (M, D), standardised with the mean and deviation of train.
    """
    mean, scale = scaling(train.double().mean(0), train.double().std(0, correction=0))
    return ((train - mean) * scale).to(train), ((test - mean) * scale).to(test)


def scaled(train: Tensor, test: Tensor, memory: int | None = None) -> tuple[Features, Features]:
    """Standardise as `standardise` does; as `Rows`, of which no copy is made, where there are too many for one block.

    Args:
        train: Features (N, D) float32.
        test: Features (M, D) float32.
        memory: Bytes that a probe on these features may use to keep what it computes from them; None for any number.
            Results do not depend on it.
    """
    if is_small(*train.shape) and is_small(*test.shape):
        return standardise(train, test)
    rows, others = (Rows(values, memory=memory) for values in (train, test))
    return rows.standardised_as(rows), others.standardised_as(rows)


def convergence(fits: Sequence[LogisticFit]) -> str:
    """Say in words if the solver converged, for the notes of an Evaluation."""
    iterations, gradient = max(fit.iterations for fit in fits), max(fit.gradient for fit in fits)
    reached = f"gradient {gradient:.1e} of the loss"
    if all(fit.converged for fit in fits):
        return f"converged in {iterations} iterations, {reached}"
    return f"NOT converged: stopped after {iterations} iterations, {reached}"
