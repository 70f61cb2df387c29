"""Task linear: logistic regression or a linear SVM on frozen, standardised features, solved to its optimum.

The penalty is chosen on a held-out part of the training split, then the probe is refitted on the whole split. With
`labels_per_class` the probe is fitted to a few labels, once for each of several draws, with a fixed penalty: a handful
of labels leaves no part for choosing one. With several labels an item it is one logistic regression for each label.

Source: ours, for the solver and the choice of the penalty (`bench_core.evaluation.logistic_regression`); the task is
        that of Zhang, Isola, Efros, ECCV 2016, https://arxiv.org/abs/1603.08511, on pooled features.

Shapes: N items, D features, K classes or labels.
"""

from dataclasses import dataclass
from statistics import stdev
from typing import Literal

from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param, stream
from bench_core.evaluation.classification import (
    class_items,
    class_scores,
    classes_skip_reason,
    number_of_classes,
    splits_skip_reason,
    top_accuracy,
)
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.linear_probe import (
    FIXED_PENALTY,
    GRID,
    LOGISTIC,
    MAX_ITERATIONS,
    SEVERAL_LABELS,
    SOLVER,
    SVM,
    VALIDATION,
    Classifier,
    convergence,
    fit_probe,
    scaled,
    shuffled_ranks,
)
from bench_core.evaluation.logistic_regression import LogisticFit
from bench_core.evaluation.multi_label import SCORES, label_scores, uncounted_labels
from bench_core.evaluation.rows import Features

CLASSIFIERS = {"logistic": LOGISTIC, "svm": SVM}


@dataclass(frozen=True, kw_only=True)
class LinearConfig(Config):
    """Parameters of the probe. Penalties are per item: 1 / (C * N) in scikit-learn's terms."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    labels_per_class: int | None = param(
        None, "number of labelled training items drawn from each class; none uses all", "usual", ge=1
    )
    num_draws: int = param(
        10,
        "with labels_per_class: number of random draws whose accuracies are averaged",
        "ours: one draw moves by some per cent",
        ge=1,
    )
    grid: tuple[float, ...] = param(
        GRID, "penalties to choose from, per item", "ours: from too strong to too weak for almost all", gt=0
    )
    validation_fraction: float = param(
        VALIDATION,
        "part of each training class that is held out to choose the penalty; of all items if they have several labels",
        "ours",
        gt=0,
        lt=1,
    )
    few_label_penalty: float = param(
        FIXED_PENALTY,
        "the penalty per item, which is fixed, with labels_per_class and where nothing can be held out",
        "ours: within 0.4 points of the best of 1e-4 to 10 with 5 to 20 labels",
        gt=0,
    )
    max_iterations: int = param(
        MAX_ITERATIONS, "maximal number of L-BFGS steps of one fit", "ours: some 30 to 300 are needed", ge=1
    )
    solver: Literal["logistic", "svm"] = param(
        "logistic",
        "the classifier: logistic regression, or a linear SVM of each class against the rest",
        "usual; svm: as for stacked autoencoders and graphs",
        added=True,
    )

    def __post_init__(self) -> None:
        """Check ranges, and that there is a penalty to choose."""
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid must have one penalty or more, got ()")


class Linear(Evaluator):
    """Linear probe: logistic regression on the features.

    The probe is trained on frozen, standardised features until it converges; its penalty is chosen on held-out
    training items. `solver=svm` makes it a linear SVM. The score is top-1 accuracy on the test split (and top-5 with
    more than 10 classes). With `labels_per_class` it learns from a few labels, averaged over random draws.

    With several labels an item there is one logistic regression for each label. The scores are the mean of the labels'
    average precisions and the micro F1 of all answers; a label is answered where its probability is above 1/2. Needs a
    train and a test split.
    """

    Config = LinearConfig
    revision = 2  # 2: the grid of penalties goes from 1 to 1e-7; nothing is chosen where nothing can be held out
    family = "classification"

    def __init__(self, config: LinearConfig) -> None:
        """Keep the config."""
        self.config, self.classifier = config, CLASSIFIERS[config.solver]

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without labels, without a train or test split, or without a class where one is needed."""
        if data.num_labels is None:
            return classes_skip_reason(data)
        if self.config.labels_per_class is not None:
            return "labels_per_class needs one class for each item, not several labels"
        if self.config.solver == "svm":
            return "solver=svm needs one class for each item, not several labels"
        return splits_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit on train, score on test."""
        name = self.config.embedding
        train, train_labels = labelled_embedding(frozen, "train", name)
        test, labels = labelled_embedding(frozen, "test", name)
        scaled_train, scaled_test = scaled(train, test, frozen.memory)
        if frozen.data.num_labels is not None:
            return self._several_labels(scaled_train, train_labels, scaled_test, labels, frozen)
        num_classes = number_of_classes(frozen.data)
        if self.config.labels_per_class is None:
            probe = self._fit_all(scaled_train, train_labels, num_classes, frozen, self.classifier)
        else:
            probe = self._fit_few(scaled_train, train_labels, num_classes, frozen, self.config.labels_per_class)
        logits = [fit.logits(scaled_test) for fit in probe.fits]
        notes = [*probe.notes, convergence(probe.fits)]
        if len(logits) > 1:
            deviation = stdev(top_accuracy(draw_logits, labels) for draw_logits in logits)
            notes.append(f"top1 over draws: deviation {deviation:.4f}")
        return Evaluation(
            scores=class_scores(logits, labels, probe.labels, num_classes, name),
            protocol=(
                f"test split; features standardised on train; {self.classifier.text}; {probe.protocol}; {SOLVER}; "
                "chance: always the most frequent training class"
            ),
            notes=notes,
            items=class_items(logits, labels),
        )

    def _several_labels(
        self, train: Features, train_labels: Tensor, test: Features, labels: Tensor, frozen: Frozen
    ) -> Evaluation:
        """Fit one logistic regression for each label on train, and score them on test."""
        probe = self._fit_all(train, train_labels, labels.shape[1], frozen, SEVERAL_LABELS)
        return Evaluation(
            scores=label_scores(probe.fits[0].logits(test), labels, train_labels, self.config.embedding),
            protocol=(
                f"test split; features standardised on train; {SEVERAL_LABELS.text}; {probe.protocol}; {SOLVER}, "
                f"which is a mean over labels here; {SCORES}; chance: the same probe on constant features"
            ),
            notes=[*probe.notes, convergence(probe.fits), *uncounted_labels(labels)],
        )

    def _fit_all(
        self, train: Features, labels: Tensor, num_classes: int, frozen: Frozen, classifier: Classifier
    ) -> "_Probe":
        """Choose the penalty on a part of train, then refit on the whole split."""
        config, rng = self.config, stream(frozen.seed, "linear", "validation")
        chosen = fit_probe(
            train,
            labels,
            num_classes,
            rng,
            frozen.device,
            grid=config.grid,
            validation_fraction=config.validation_fraction,
            fixed_penalty=config.few_label_penalty,
            max_iterations=config.max_iterations,
            classifier=classifier,
        )
        return _Probe(fits=[chosen.fit], labels=labels, protocol=chosen.protocol, notes=[chosen.note])

    def _fit_few(self, train: Features, labels: Tensor, num_classes: int, frozen: Frozen, count: int) -> "_Probe":
        """Fit one probe to each draw of `count` labels of each class; a seed draws the same items for all methods."""
        config = self.config
        fits = []
        for draw in range(config.num_draws):
            drawn = shuffled_ranks(labels, stream(frozen.seed, "linear", "draw", str(draw))) < count
            problem = self.classifier.problem(train[drawn], labels[drawn], num_classes, "cpu")
            fits.append(problem.solve(config.few_label_penalty, config.max_iterations))
        return _Probe(
            fits=fits,
            labels=labels[drawn],
            protocol=(
                f"{count} labels of each class, mean of {config.num_draws} seeded draws; "
                f"penalty fixed at {config.few_label_penalty:g}, nothing is chosen"
            ),
            notes=[],
        )


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Fitted probes and how they were made.

    Attributes:
        fits: One probe, or one for each draw.
        labels: Training labels of the last draw; every draw has equally many of each class.
        protocol: Choice of labels and penalty, for the protocol.
        notes: Notes for the record.
    """

    fits: list[LogisticFit]
    labels: Tensor
    protocol: str
    notes: list[str]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"linear": Linear}
