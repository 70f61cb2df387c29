"""Linear probe: logistic regression on standardised features, its penalty chosen on a held-out part of train.

Source: ours, as `bench_core.evaluation.logistic_regression`; what probes of a method's own and of other data share.

Shapes: N items, D features, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.data import ranks_in_class
from bench_core.evaluation.logistic_regression import TOLERANCE, LogisticFit, LogisticProblem

GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # penalties per item, 1 / (C * N) in scikit-learn's terms
VALIDATION = 0.1
MAX_ITERATIONS = 1000
PROBLEM = "logistic regression (softmax), penalty/2 * |W|^2 beside the mean loss, bias free"  # for protocols
SOLVER = f"L-BFGS in whitened coordinates until the gradient's largest entry is at most {TOLERANCE:g} of the loss"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A fit at the chosen penalty, and a note that says which.

    Attributes:
        fit: On all of train.
        penalty: The one of least loss on the held-out part.
        held_out_loss: Mean cross-entropy there in nats, of the fit without it.
        note: The penalty, and on how many items it was chosen.
        protocol: How it was chosen.
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
) -> Chosen:
    """Choose the penalty on a part of train, refit on all of it.

    Args:
        train: (N, D) floats, standardised.
        labels: (N,) int64.
        num_classes: K.
        rng: On the CPU; draws the held-out part.
        device: CUDA does the products itself; anything else leaves them to the CPU.
        grid: Penalties, > 0.
        validation_fraction: Of each class, in (0, 1); one item at least stays to train on.
        max_iterations: L-BFGS steps of one fit at most.
    """
    device = device if torch.device(device).type == "cuda" else "cpu"
    held_out = held_out_part(labels, validation_fraction, num_classes, rng)
    problem = LogisticProblem(train[~held_out], labels[~held_out], num_classes, device)
    penalty, loss = _choose(problem, train[held_out], labels[held_out], grid, max_iterations)
    end = " (at the end of the grid)" if penalty in (min(grid), max(grid)) else ""
    return Chosen(
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


def _choose(
    problem: LogisticProblem, held_out: Tensor, labels: Tensor, grid: Sequence[float], max_iterations: int
) -> tuple[float, float]:
    """The penalty of least loss on held-out items, and that loss; from strong to weak, until it rises."""
    best, least, fit = 0.0, float("inf"), None
    for penalty in sorted(grid, reverse=True):
        fit = problem.solve(penalty, max_iterations, fit)
        loss = float(F.cross_entropy(fit.logits(held_out), labels))
        if loss >= least:
            break
        best, least = penalty, loss
    return best, least


def held_out_part(labels: Tensor, fraction: float, num_classes: int, rng: torch.Generator) -> Tensor:
    """A random part of each class, at least one item and never all: (N,) bool.

    Args:
        labels: (N,) int64.
        fraction: Of each class, in (0, 1).
        num_classes: K.
        rng: On the CPU.
    """
    sizes = torch.bincount(labels, minlength=num_classes)
    part = (sizes * fraction).round().clamp(min=1).minimum(sizes - 1)  # one at least stays
    return shuffled_ranks(labels, rng) < part[labels]


def shuffled_ranks(labels: Tensor, rng: torch.Generator) -> Tensor:
    """How many of its class stand before each item (N,) in a random order: `< m` takes m random items of each class."""
    order = torch.randperm(len(labels), generator=rng)
    rank = torch.empty_like(labels)
    rank[order] = torch.from_numpy(ranks_in_class(labels[order].numpy()))
    return rank


def standardise(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Give each feature mean 0 and deviation 1 on train; those that are constant there become 0.

    Args:
        train: (N, D) floats.
        test: (M, D) floats.
    """
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    constant = std <= 1e-6 * mean.abs()  # what is left of a constant in float32
    scale = torch.where(constant, 0.0, 1 / std.where(~constant, torch.ones_like(std)))
    return ((train - mean) * scale).to(train), ((test - mean) * scale).to(test)


def convergence(fits: Sequence[LogisticFit]) -> str:
    """How far the solver came, for people."""
    iterations, gradient = max(fit.iterations for fit in fits), max(fit.gradient for fit in fits)
    reached = f"gradient {gradient:.1e} of the loss"
    if all(fit.converged for fit in fits):
        return f"converged in {iterations} iterations, {reached}"
    return f"NOT converged: stopped after {iterations} iterations, {reached}"
