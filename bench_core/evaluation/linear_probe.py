"""Linear probe: logistic regression on standardised features, with the penalty chosen on a held-out part of train.

Source: ours, like `bench_core.evaluation.logistic_regression`. The tasks that fit linear probes share this code.

Shapes: N items, D features, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.data import ranks_in_class
from bench_core.evaluation.logistic_regression import TOLERANCE, LogisticFit, LogisticProblem

GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # penalties; scikit-learn's C is 1 / (penalty * N)
VALIDATION = 0.1  # fraction of each class that is held out
MAX_ITERATIONS = 1000
PROBLEM = "logistic regression (softmax), penalty/2 * |W|^2 beside the mean loss, bias free"  # for protocols
SOLVER = f"L-BFGS in whitened coordinates until the gradient's largest entry is at most {TOLERANCE:g} of the loss"


@dataclass(frozen=True, kw_only=True)
class ChosenFit:
    """A fit with the chosen penalty, and texts about the choice for a record.

    Attributes:
        fit: Fit on all of train with the chosen penalty.
        penalty: Penalty with the smallest loss on the held-out part.
        held_out_loss: Mean cross-entropy on the held-out part, in nats, of the fit that was trained without it.
        note: The penalty and the number of items on which it was chosen, for the notes of an Evaluation.
        protocol: The procedure of the choice, for the protocol of an Evaluation.
    """

    fit: LogisticFit
    penalty: float
    held_out_loss: float
    note: str
    protocol: str


def fit_probe(
    train: Tensor,
    labels: Tensor,
    num_classes: int,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
    *,
    grid: Sequence[float] = GRID,
    validation_fraction: float = VALIDATION,
    max_iterations: int = MAX_ITERATIONS,
) -> ChosenFit:
    """Choose the penalty on a held-out part of train, then fit on all of train.

    Args:
        train: Standardised features (N, D).
        labels: Classes (N,) int64.
        num_classes: Number of classes K.
        rng: Generator on the CPU; it draws the held-out part.
        device: A CUDA device computes the products there; with any other device they are computed on the CPU.
        grid: Penalties to choose from, > 0.
        validation_fraction: Fraction of each class that is held out, in (0, 1); at least one item is left to train on.
        max_iterations: Largest number of L-BFGS steps of one fit.
    """
    device = device if torch.device(device).type == "cuda" else "cpu"
    held_out = held_out_part(labels, validation_fraction, num_classes, rng)
    problem = LogisticProblem(train[~held_out], labels[~held_out], num_classes, device)
    penalty, loss = _choose_penalty(problem, train[held_out], labels[held_out], grid, max_iterations)
    end = " (at the end of the grid)" if penalty in (min(grid), max(grid)) else ""
    return ChosenFit(
        fit=LogisticProblem(train, labels, num_classes, device).solve(penalty, max_iterations),
        penalty=penalty,
        held_out_loss=loss,
        note=f"penalty {penalty:g}{end}, chosen on {int(held_out.sum()):,} held-out training items",
        protocol=(
            f"penalty chosen of {', '.join(f'{p:g}' for p in grid)} by the loss on "
            f"{validation_fraction:.0%} of each training class, from strong to weak until it rises; "
            "refitted on all of train"
        ),
    )


def _choose_penalty(
    problem: LogisticProblem, held_out: Tensor, labels: Tensor, grid: Sequence[float], max_iterations: int
) -> tuple[float, float]:
    """Try penalties from strong to weak until the held-out loss rises; return the best penalty and its loss."""
    best, least, fit = 0.0, float("inf"), None
    for penalty in sorted(grid, reverse=True):
        fit = problem.solve(penalty, max_iterations, fit)
        loss = float(F.cross_entropy(fit.logits(held_out), labels))
        if loss >= least:
            break
        best, least = penalty, loss
    return best, least


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
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    constant = std <= 1e-6 * mean.abs()  # the deviation of a constant is float32 rounding
    scale = torch.where(constant, 0.0, 1 / std.where(~constant, torch.ones_like(std)))
    return ((train - mean) * scale).to(train), ((test - mean) * scale).to(test)


def convergence(fits: Sequence[LogisticFit]) -> str:
    """Say in words if the solver converged, for the notes of an Evaluation."""
    iterations, gradient = max(fit.iterations for fit in fits), max(fit.gradient for fit in fits)
    reached = f"gradient {gradient:.1e} of the loss"
    if all(fit.converged for fit in fits):
        return f"converged in {iterations} iterations, {reached}"
    return f"NOT converged: stopped after {iterations} iterations, {reached}"
