"""Linear probe: multinomial logistic regression on frozen, standardised features, solved to its optimum.

The penalty is chosen on a held-out part of the training split, then the probe is refitted on all of it. With
`labels_per_class` the probe sees a few labels only, several times over, at a fixed penalty: a handful of
labels leaves no part for choosing one.

Source: ours, for the solver and the choice of the penalty (`bench_core.logistic`); the task is that of Zhang, Isola,
        Efros, ECCV 2016, https://arxiv.org/abs/1603.08511, on pooled features.

Shapes: N items, D features, K classes.
"""

from dataclasses import dataclass
from statistics import stdev

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param
from bench_core.labelled import class_scores, labelled, why_no_classes
from bench_core.logistic import TOLERANCE, LogisticFit, LogisticProblem
from bench_core.metrics import top_accuracy
from bench_core.seeds import stream
from bench_core.subsets import ranks


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Penalties are per item: 1 / (C * N) in scikit-learn's terms."""

    embedding: str = param("features", "what is read", "usual")
    labels_per_class: int | None = param(None, "labels drawn of each class; none for all", "usual")
    num_draws: int = param(
        10, "with labels_per_class: draws that are averaged", "ours: one draw moves by some per cent"
    )
    grid: tuple[float, ...] = param(
        (1e-1, 1e-2, 1e-3, 1e-4, 1e-5), "penalties to choose from", "ours: from too strong to too weak for most"
    )
    validation_fraction: float = param(0.1, "part of each training class on which the penalty is chosen", "ours")
    few_label_penalty: float = param(
        0.01, "penalty with labels_per_class", "ours: within 0.4 points of the best of 1e-4 to 10 with 5 to 20 labels"
    )
    max_iterations: int = param(1000, "L-BFGS steps of one fit at most", "ours: some 30 to 300 are needed")

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.grid or min(self.grid) <= 0 or self.few_label_penalty <= 0:
            raise ValueError(f"penalties must be > 0, got {self.grid} and {self.few_label_penalty}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in (0, 1), got {self.validation_fraction}")
        for name in ("labels_per_class", "num_draws", "max_iterations"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")


class Linear(Evaluator):
    """Test accuracy of logistic regression on frozen features, with all labels or with a few."""

    Config = LinearConfig

    def __init__(self, config: LinearConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Single labels, train and test."""
        return why_no_classes(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit on train, score on test."""
        name = self.config.embedding
        train, train_labels = labelled(frozen, "train", name)
        test, labels = labelled(frozen, "test", name)
        train, test = standardise(train, test)
        num_classes = frozen.data.num_classes or int(train_labels.max()) + 1
        fit = self._fit_all if self.config.labels_per_class is None else self._fit_few
        probe = fit(train, train_labels, num_classes, frozen)
        answers = [fit.logits(test) for fit in probe.fits]
        notes = [*probe.notes, _convergence(probe.fits)]
        if len(answers) > 1:
            notes.append(f"top1 over draws: deviation {stdev(top_accuracy(a, labels) for a in answers):.4f}")
        return Evaluation(
            scores=class_scores(answers, labels, probe.labels, num_classes, name),
            protocol=(
                "test split; features standardised on train; logistic regression (softmax), penalty/2 * |W|^2 beside "
                f"the mean loss, bias free; {probe.protocol}; L-BFGS in whitened coordinates until the gradient's "
                f"largest entry is at most {TOLERANCE:g} of the loss; chance: always the most frequent training class"
            ),
            notes=notes,
        )

    def _fit_all(self, train: Tensor, labels: Tensor, num_classes: int, frozen: Frozen) -> "_Probe":
        """Choose the penalty on a part of train, refit on all of it."""
        config = self.config
        sizes = torch.bincount(labels, minlength=num_classes)
        part = (sizes * config.validation_fraction).round().clamp(min=1).minimum(sizes - 1)  # one at least stays
        held_out = _shuffled_ranks(labels, stream(frozen.seed, "linear", "validation")) < part[labels]
        problem = LogisticProblem(train[~held_out], labels[~held_out], num_classes, _device(frozen))
        penalty = self._choose(problem, train[held_out], labels[held_out])
        end = " (at the end of the grid)" if penalty in (min(config.grid), max(config.grid)) else ""
        fit = LogisticProblem(train, labels, num_classes, _device(frozen)).solve(penalty, config.max_iterations)
        return _Probe(
            fits=[fit],
            labels=labels,
            protocol=(
                f"penalty chosen of {', '.join(f'{p:g}' for p in config.grid)} by the loss on "
                f"{config.validation_fraction:.0%} of each training class, from strong to weak until it rises; "
                "refitted on all of train"
            ),
            notes=[f"penalty {penalty:g}{end}, chosen on {int(held_out.sum()):,} held-out training items"],
        )

    def _choose(self, problem: LogisticProblem, held_out: Tensor, labels: Tensor) -> float:
        """The penalty of least loss on held-out items; from strong to weak, until that loss rises."""
        best, least, fit = 0.0, float("inf"), None
        for penalty in sorted(self.config.grid, reverse=True):
            fit = problem.solve(penalty, self.config.max_iterations, fit)
            loss = float(F.cross_entropy(fit.logits(held_out), labels))
            if loss >= least:
                break
            best, least = penalty, loss
        return best

    def _fit_few(self, train: Tensor, labels: Tensor, num_classes: int, frozen: Frozen) -> "_Probe":
        """A few labels of each class, drawn several times; the same items for all methods at a seed."""
        config, count = self.config, self.config.labels_per_class or 0
        fits = []
        for draw in range(config.num_draws):
            seen = _shuffled_ranks(labels, stream(frozen.seed, "linear", "draw", str(draw))) < count
            problem = LogisticProblem(train[seen], labels[seen], num_classes)
            fits.append(problem.solve(config.few_label_penalty, config.max_iterations))
        return _Probe(
            fits=fits,
            labels=labels[seen],
            protocol=(
                f"{count} labels of each class, mean of {config.num_draws} seeded draws; "
                f"penalty fixed at {config.few_label_penalty:g}, nothing is chosen"
            ),
            notes=[],
        )


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What was fitted: once for each draw, on these labels (of the last draw; all draws have as many of each class)."""

    fits: list[LogisticFit]
    labels: Tensor
    protocol: str
    notes: list[str]


def _shuffled_ranks(labels: Tensor, rng: torch.Generator) -> Tensor:
    """How many of its class stand before each item (N,) in a random order: `< m` takes m random items of each class."""
    order = torch.randperm(len(labels), generator=rng)
    rank = torch.empty_like(labels)
    rank[order] = torch.from_numpy(ranks(labels[order].numpy()))
    return rank


def _device(frozen: Frozen) -> torch.device:
    return frozen.device if frozen.device.type == "cuda" else torch.device("cpu")


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


def _convergence(fits: list[LogisticFit]) -> str:
    iterations, gradient = max(fit.iterations for fit in fits), max(fit.gradient for fit in fits)
    reached = f"gradient {gradient:.1e} of the loss"
    if all(fit.converged for fit in fits):
        return f"converged in {iterations} iterations, {reached}"
    return f"NOT converged: stopped after {iterations} iterations, {reached}"


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"linear": Linear}
