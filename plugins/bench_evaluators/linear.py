"""Linear probe: multinomial logistic regression on frozen, standardised features, solved to its optimum.

The penalty is chosen on a held-out part of the training split, then the probe is refitted on all of it. With
`labels_per_class` the probe sees a few labels only, several times over, at a fixed penalty: a handful of
labels leaves no part for choosing one.

Source: ours, for the solver and the choice of the penalty (`bench_core.evaluation.logistic_regression`); the task is
that of Zhang, Isola,
        Efros, ECCV 2016, https://arxiv.org/abs/1603.08511, on pooled features.

Shapes: N items, D features, K classes.
"""

from dataclasses import dataclass
from statistics import stdev

from torch import Tensor

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param, stream
from bench_core.evaluation.classification import class_items, class_scores, top_accuracy, why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.linear_probe import (
    GRID,
    MAX_ITERATIONS,
    PROBLEM,
    SOLVER,
    VALIDATION,
    convergence,
    fit_probe,
    shuffled_ranks,
    standardise,
)
from bench_core.evaluation.logistic_regression import LogisticFit, LogisticProblem


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Penalties are per item: 1 / (C * N) in scikit-learn's terms."""

    embedding: str = param("features", "what is read", "usual")
    labels_per_class: int | None = param(None, "labels drawn of each class; none for all", "usual")
    num_draws: int = param(
        10, "with labels_per_class: draws that are averaged", "ours: one draw moves by some per cent"
    )
    grid: tuple[float, ...] = param(GRID, "penalties to choose from", "ours: from too strong to too weak for most")
    validation_fraction: float = param(VALIDATION, "part of each training class on which the penalty is chosen", "ours")
    few_label_penalty: float = param(
        0.01, "penalty with labels_per_class", "ours: within 0.4 points of the best of 1e-4 to 10 with 5 to 20 labels"
    )
    max_iterations: int = param(MAX_ITERATIONS, "L-BFGS steps of one fit at most", "ours: some 30 to 300 are needed")

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
        notes = [*probe.notes, convergence(probe.fits)]
        if len(answers) > 1:
            notes.append(f"top1 over draws: deviation {stdev(top_accuracy(a, labels) for a in answers):.4f}")
        return Evaluation(
            scores=class_scores(answers, labels, probe.labels, num_classes, name),
            protocol=(
                f"test split; features standardised on train; {PROBLEM}; {probe.protocol}; {SOLVER}; chance: always "
                "the most frequent training class"
            ),
            notes=notes,
            items=class_items(answers, labels),
        )

    def _fit_all(self, train: Tensor, labels: Tensor, num_classes: int, frozen: Frozen) -> "_Probe":
        """Choose the penalty on a part of train, refit on all of it."""
        config, rng = self.config, stream(frozen.seed, "linear", "validation")
        chosen = fit_probe(
            train,
            labels,
            num_classes,
            rng,
            frozen.device,
            grid=config.grid,
            validation_fraction=config.validation_fraction,
            max_iterations=config.max_iterations,
        )
        return _Probe(fits=[chosen.fit], labels=labels, protocol=chosen.protocol, notes=[chosen.note])

    def _fit_few(self, train: Tensor, labels: Tensor, num_classes: int, frozen: Frozen) -> "_Probe":
        """A few labels of each class, drawn several times; the same items for all methods at a seed."""
        config, count = self.config, self.config.labels_per_class or 0
        fits = []
        for draw in range(config.num_draws):
            seen = shuffled_ranks(labels, stream(frozen.seed, "linear", "draw", str(draw))) < count
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


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"linear": Linear}
