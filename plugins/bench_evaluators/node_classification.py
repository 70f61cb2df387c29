"""Task node_classification: a linear classifier of nodes, trained on the few labelled nodes of a public split.

Paper: Velickovic et al., "Deep graph infomax", ICLR 2019, Sec. 4.2, https://arxiv.org/abs/1809.10341
Code:  https://github.com/PetarV-/DGI/blob/61baf67d/execute.py: 50 classifiers, 100 steps of Adam, features as they are
Note:  100 steps do not reach the optimum, so the lengths of the features count. `probe = "optimum"` solves the problem
    to its optimum instead, on standardised features, with a penalty chosen on the validation split.

Shapes: N items, D features, K classes, R runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, hookimpl, param, stream
from bench_core.evaluation.classification import (
    class_items,
    class_scores,
    classes_skip_reason,
    number_of_classes,
    top_accuracy,
)
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.linear_probe import GRID, PROBLEM, SOLVER, convergence, standardise
from bench_core.evaluation.logistic_regression import LogisticFit, LogisticProblem


@dataclass(frozen=True, kw_only=True)
class NodeClassificationConfig(Config):
    """Parameters of the classifier."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    probe: Literal["adam", "optimum"] = param(
        "adam", "train by a fixed number of steps, or to the optimum with a penalty", "code at 61baf67d"
    )
    runs: int = param(50, "probe 'adam': classifiers whose accuracies are averaged", "code at 61baf67d", ge=1)
    steps: int = param(100, "probe 'adam': steps, each on all labelled nodes", "code at 61baf67d", ge=1)
    learning_rate: float = param(0.01, "probe 'adam': learning rate", "code at 61baf67d", gt=0)
    grid: tuple[float, ...] = param(
        GRID, "probe 'optimum': penalties to choose from, per item", "as the task linear", gt=0
    )

    def __post_init__(self) -> None:
        """Check ranges, and that there is a penalty to choose."""
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid must have one penalty or more, got ()")


class NodeClassification(Evaluator):
    """Linear classifier of nodes (Velickovic 2019).

    A linear layer is trained on the frozen features of the train split, 50 times from random weights; the score is the
    mean top-1 accuracy on the test split. Needs nodes with one class each, and a train and a test split.
    """

    Config = NodeClassificationConfig
    family = "classification"

    def __init__(self, config: NodeClassificationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data that are not nodes with one class each, or lack a split."""
        if data.kind != "nodes":
            return "needs the nodes of one graph"
        if self.config.probe == "optimum" and "validation" not in data.splits:
            return "needs a validation split to choose the penalty"
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Train on train, score on test."""
        name, num_classes = self.config.embedding, number_of_classes(frozen.data)
        train, train_labels = labelled_embedding(frozen, "train", name)
        test, labels = labelled_embedding(frozen, "test", name)
        if self.config.probe == "adam":
            answers, protocol, notes = self._by_adam(train, train_labels, test, num_classes, frozen.seed)
            if len(answers) > 1:
                deviation = stdev(top_accuracy(scores, labels) for scores in answers)
                notes.append(f"top1 over runs: deviation {deviation:.4f}")
        else:
            answers, protocol, notes = self._at_optimum(train, train_labels, test, num_classes, frozen)
        return Evaluation(
            scores=class_scores(answers, labels, train_labels, num_classes, name),
            protocol=(
                f"test split, classifier trained on the {len(train_labels)} nodes of train; {protocol}; chance: always "
                "the most frequent training class"
            ),
            notes=notes,
            items=class_items(answers, labels),
        )

    def _by_adam(
        self, train: Tensor, labels: Tensor, test: Tensor, num_classes: int, seed: int
    ) -> tuple[Sequence[Tensor], str, list[str]]:
        """Return the answers (N, K) of each run on the test split, the protocol, and no notes."""
        config, rng = self.config, stream(seed, "node_classification")
        weights, biases = train_by_adam(
            train, labels, num_classes, config.runs, config.steps, config.learning_rate, rng
        )
        protocol = (
            f"softmax of a linear layer on features as they are, {config.steps} steps of Adam on all of train, rate "
            f"{config.learning_rate:g}, no penalty; mean of {config.runs} runs from random weights"
        )
        return answers_of(test, weights, biases).unbind(1), protocol, []

    def _at_optimum(
        self, train: Tensor, labels: Tensor, test: Tensor, num_classes: int, frozen: Frozen
    ) -> tuple[Sequence[Tensor], str, list[str]]:
        """Return the answers (N, K) of the fit that does best on the validation split, the protocol, and notes."""
        validation, truth = labelled_embedding(frozen, "validation", self.config.embedding)
        _, validation = standardise(train, validation)
        train, test = standardise(train, test)
        problem, fits = LogisticProblem(train, labels, num_classes), dict[float, LogisticFit]()
        for penalty in sorted(self.config.grid, reverse=True):
            fits[penalty] = problem.solve(penalty)
        right = {penalty: top_accuracy(fit.logits(validation), truth) for penalty, fit in fits.items()}
        best = max(right, key=lambda penalty: right[penalty])  # the strongest of equals
        protocol = (
            f"features standardised on train; {PROBLEM}; penalty chosen of "
            f"{', '.join(f'{penalty:g}' for penalty in fits)} by the accuracy on the {len(truth)} nodes of validation, "
            f"the strongest of equals; {SOLVER}"
        )
        notes = [f"penalty {best:g}, accuracy on validation {right[best]:.3f}", convergence([fits[best]])]
        return [fits[best].logits(test)], protocol, notes


def train_by_adam(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    runs: int,
    steps: int,
    learning_rate: float,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Train several linear classifiers side by side, each as if it were alone.

    Args:
        features: Features (N, D).
        labels: Classes (N,) int64.
        num_classes: Number of classes K.
        runs: Number of classifiers R.
        steps: Steps of Adam, each on all items.
        learning_rate: Rate of each step.
        rng: Generator on the CPU; it draws the first weights from Glorot's uniform distribution.

    Returns:
        Weights (D, R, K) and biases (R, K), which start at 0.
    """
    dim = features.shape[1]
    bound = (6 / (dim + num_classes)) ** 0.5
    weights = (torch.rand(dim, runs, num_classes, generator=rng) * 2 - 1).mul_(bound).requires_grad_()
    biases = torch.zeros(runs, num_classes, requires_grad=True)
    optimizer = torch.optim.Adam([weights, biases], lr=learning_rate)
    labels_of_runs = labels.repeat_interleave(runs)  # (N * R,)
    for _ in range(steps):
        scores = answers_of(features, weights, biases).flatten(0, 1)
        # The sum over runs: the gradient of each is that of its own mean over items.
        loss = F.cross_entropy(scores, labels_of_runs, reduction="sum") / len(labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return weights.detach(), biases.detach()


def answers_of(features: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Return the scores (N, R, K) of features (N, D), by one product for all classifiers."""
    return (features @ weights.flatten(1)).view(len(features), *biases.shape) + biases


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"node_classification": NodeClassification}
