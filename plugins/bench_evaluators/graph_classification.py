"""Task graph_classification: linear classifiers on embeddings of graphs, by ten-fold cross-validation.

A linear SVM and logistic regression learn from nine folds and are tested on the tenth, for each fold in turn, so that
every graph is tested once. The penalty is chosen by cross-validation within the nine folds. On a dataset with a test
part (`--set mutag.fold=3`), they learn from `train` and are tested on `test`.

Paper: Sun, Hoffmann, Verma, Tang, ICLR 2020, Sec. 4.1, https://arxiv.org/abs/1908.01000 (10 folds, C of 1e-3 to 1e3)
Code:  https://github.com/fanyun-sun/InfoGraph/blob/673a065/unsupervised/evaluate_embedding.py
Note:  Features are not standardised, as in the code. The code draws new folds for each classifier and epoch, stops its
    linear SVM after 1,000 steps, and fits logistic regression by 100 steps of Adam without a penalty; here both are
    solved to their optimum, on the folds of the dataset. Its SVM with a Gaussian kernel and its random forest are left
    out. Its table has the best of several epochs on the tested folds; here it is always the last.

Shapes: N graphs, D features, K classes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    PerItem,
    Score,
    hookimpl,
    param,
)
from bench_core.data import stratified_folds
from bench_core.evaluation.classification import classes_skip_reason, constant_accuracy, number_of_classes, top_hits
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.linear_svm import svm_problem
from bench_core.evaluation.logistic_regression import TOLERANCE, LogisticProblem

Problem = Callable[[Tensor, Tensor, int], LogisticProblem]
CLASSIFIERS: dict[str, Problem] = {"svm": svm_problem, "logistic": LogisticProblem}
SOLVER = f"L-BFGS in whitened coordinates until the gradient's largest entry is at most {TOLERANCE:g} of the loss"


@dataclass(frozen=True, kw_only=True)
class GraphClassificationConfig(Config):
    """Parameters of the classifiers and of the choice of their penalty."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    grid: tuple[float, ...] = param(
        (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3),
        "values of C to choose from: the weight of the summed loss beside half the squared weights",
        "section 4.1",
        gt=0,
    )
    inner_folds: int = param(
        5, "folds of the training graphs by which C is chosen", "code, evaluate_embedding.py: 5", ge=2
    )
    max_iterations: int = param(300, "maximal number of L-BFGS steps of one fit", "ours: 20 to 300 are needed", ge=1)

    def __post_init__(self) -> None:
        """Check ranges, and that there is a C to choose."""
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid must have one value of C or more, got ()")


class GraphClassification(Evaluator):
    """Ten-fold accuracy of linear classifiers of graphs.

    A linear SVM (first score) and logistic regression learn from nine folds of the features and are tested on the
    tenth, in turn. Their C is chosen within the nine. With a test split they learn from `train`. Needs graphs with one
    class each, and a dataset with folds or a test split.
    """

    Config = GraphClassificationConfig
    family = "classification"

    def __init__(self, config: GraphClassificationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data that are not graphs, have no class for each, or neither folds nor a test split."""
        if data.kind != "graphs":
            return "needs graphs"
        if data.folds is None and "test" not in data.splits:
            return "needs folds or a test split"
        return classes_skip_reason(replace(data, splits={"test": data.num_train, **data.splits}))

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit each classifier in each round, and score the graphs that are tested, each once."""
        rounds, truth, split = self._rounds(frozen)
        num_classes = number_of_classes(frozen.data)
        scores, items, notes = list[Score](), dict[str, PerItem](), list[str]()
        for classifier, problem in CLASSIFIERS.items():
            answers = torch.empty(len(truth), num_classes, dtype=torch.float64)
            chosen, lost = Counter[float](), list[float]()
            for part in rounds:
                C, stopped = self._choose(problem, part, num_classes)
                prepared = problem(part.train, part.labels, num_classes)
                fit = prepared.solve(1 / (C * len(part.labels)), self.config.max_iterations)
                answers[part.positions] = fit.logits(part.test)
                chosen[C] += 1
                lost += stopped if fit.converged else [*stopped, C]
            hits = top_hits(answers, truth)
            metric = f"top1_{classifier}"
            scores.append(
                Score(
                    metric=metric,
                    value=float(hits.mean()),
                    chance=constant_accuracy(torch.cat([part.labels for part in rounds]), truth, num_classes),
                    embedding=self.config.embedding,
                    n=len(truth),
                )
            )
            whole = bool(((hits == 0) | (hits == 1)).all())
            items[metric] = PerItem(hits.bool() if whole else hits, split=split)
            notes.append(f"{classifier}: C = {', '.join(f'{C:g} ({n} x)' for C, n in sorted(chosen.items()))}")
            if lost:
                limit = f"{self.config.max_iterations:,} steps"
                notes.append(
                    f"{classifier}: fits NOT converged after {limit}: {len(lost):,}, all with C >= {min(lost):g}"
                )
        return Evaluation(scores=scores, protocol=self._protocol(frozen), notes=notes, items=items)

    def _rounds(self, frozen: Frozen) -> tuple[list["_Round"], Tensor, str]:
        """Return the rounds of training and test, the labels (N,) of all tested graphs, and their split."""
        train, labels = labelled_embedding(frozen, "train", self.config.embedding)
        if "test" in frozen.splits:
            test, truth = labelled_embedding(frozen, "test", self.config.embedding)
            return [_Round(train, labels, test, torch.arange(len(test)))], truth, "test"
        assert frozen.data.folds is not None, "the task is skipped for data without folds or a test split"
        folds = stratified_folds(labels, frozen.data.folds)
        rounds = []
        for fold in range(frozen.data.folds):
            tested = folds == fold
            rounds.append(_Round(train[~tested], labels[~tested], train[tested], tested.nonzero().squeeze(1)))
        return rounds, labels, "train"

    def _choose(self, problem: Problem, part: "_Round", num_classes: int) -> tuple[float, list[float]]:
        """Return the C of the highest accuracy over the inner folds, of ties the smallest; and the C not converged."""
        grid = sorted(self.config.grid)
        inner = stratified_folds(part.labels, min(self.config.inner_folds, len(part.labels)))
        hits, stopped = torch.zeros(len(grid), dtype=torch.float64), list[float]()
        for fold in range(int(inner.max()) + 1):
            held_out = inner == fold
            prepared = problem(part.train[~held_out], part.labels[~held_out], num_classes)
            fit = None
            for number, C in enumerate(grid):
                fit = prepared.solve(1 / (C * int((~held_out).sum())), self.config.max_iterations, fit)
                stopped += [] if fit.converged else [C]
                hits[number] += top_hits(fit.logits(part.train[held_out]), part.labels[held_out]).sum()
        return grid[int(hits.argmax())], stopped

    def _protocol(self, frozen: Frozen) -> str:
        folds = frozen.data.folds
        tested = (
            "trained on train, tested on test"
            if "test" in frozen.splits
            else f"{folds}-fold cross-validation over train, folds stratified by class and the same for all rows; mean "
            "over graphs, each tested once"
        )
        grid = ", ".join(f"{C:g}" for C in sorted(self.config.grid))
        return (
            f"{tested}; features as they are, not standardised; svm: each class against the rest, squared hinge loss; "
            "logistic: softmax; C times the summed loss beside |W|^2 / 2, bias free; "
            f"C of {grid} by accuracy over {self.config.inner_folds} stratified folds of the training graphs, of ties "
            f"the smallest, then refitted on all of them; {SOLVER}; chance: always the most frequent class"
        )


class _Round(NamedTuple):
    """Graphs to learn from and graphs to test.

    Attributes:
        train: Features (M, D) of the training graphs.
        labels: Their classes (M,) int64.
        test: Features (n, D) of the tested graphs.
        positions: Positions (n,) int64 of these in their split.
    """

    train: Tensor
    labels: Tensor
    test: Tensor
    positions: Tensor


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"graph_classification": GraphClassification}
