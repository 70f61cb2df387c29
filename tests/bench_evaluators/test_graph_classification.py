from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.svm import LinearSVC
from torch import Tensor

from bench_core import DataSpec, Frozen, Objective
from bench_core.data import stratified_folds
from bench_core.store.per_item import items_error
from bench_evaluators.graph_classification import GraphClassification, GraphClassificationConfig, bench_evaluators

Freeze = Callable[..., Frozen]
GRID = (1e-3, 1e-1, 1e1)


def blobs(items: int, seed: int = 0, classes: int = 2) -> tuple[dict[str, Tensor], Tensor]:
    """Features of 6 dimensions, in which classes overlap, with labels."""
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 6, generator=torch.Generator().manual_seed(seed))
    return {"features": F.one_hot(labels, 6) * 1.2 + noise}, labels


def folded(freeze: Freeze, part: tuple[dict[str, Tensor], Tensor], folds: int = 4) -> Frozen:
    frozen = freeze({"train": part})
    return replace(frozen, data=replace(frozen.data, kind="graphs", folds=folds))


def task(**values: Any) -> GraphClassification:
    return GraphClassification(GraphClassificationConfig(**{"grid": GRID, "inner_folds": 3, **values}))


@pytest.mark.parametrize(
    ("number", "model"),
    [
        # LinearSVC penalises the bias, too, which this factor makes small.
        (0, LinearSVC(dual=False, tol=1e-8, intercept_scaling=1000, max_iter=20_000)),
        (1, LogisticRegression(solver="newton-cholesky", tol=1e-8)),
    ],
)
def test_accuracy_equals_that_of_scikit_learn_in_nested_cross_validation(
    number: int, model: Any, freeze: Freeze
) -> None:
    embeddings, labels = blobs(60)
    x, y, folds = embeddings["features"].double().numpy(), labels.numpy(), stratified_folds(labels, 4).numpy()
    hits = np.zeros(60, bool)
    for fold in range(4):
        train, test = folds != fold, folds == fold
        inner = PredefinedSplit(stratified_folds(labels[torch.from_numpy(train)], 3).numpy())
        search = GridSearchCV(model, {"C": list(GRID)}, cv=inner).fit(x[train], y[train])
        hits[test] = search.predict(x[test]) == y[test]
    evaluation = task().evaluate(folded(freeze, (embeddings, labels)))
    score = evaluation.scores[number]
    assert score.metric == ("top1_svm", "top1_logistic")[number]
    assert evaluation.items[score.metric].values.tolist() == hits.tolist()
    assert score.value == pytest.approx(hits.mean())
    assert 0.55 < score.value < 0.95


def test_every_graph_is_tested_once_and_items_belong_to_train(freeze: Freeze) -> None:
    frozen = folded(freeze, blobs(33, classes=3))
    evaluation = task().evaluate(frozen)
    assert [(score.n, score.embedding) for score in evaluation.scores] == [(33, "features")] * 2
    assert evaluation.scores[0].chance == pytest.approx(1 / 3)
    assert items_error(evaluation, frozen.data.splits) is None
    assert evaluation.items["top1_svm"].split == "train"
    assert "4-fold cross-validation over train" in evaluation.protocol


def test_with_a_test_split_the_classifiers_learn_from_train(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(60), "test": blobs(20, seed=1)})
    frozen = replace(frozen, data=replace(frozen.data, kind="graphs"))
    evaluation = task(grid=(0.1,)).evaluate(frozen)
    (train, labels), (test, truth) = blobs(60), blobs(20, seed=1)
    model = LogisticRegression(solver="newton-cholesky", tol=1e-8, C=0.1).fit(train["features"], labels)
    assert evaluation.scores[1].value == pytest.approx(model.score(test["features"], truth))
    assert evaluation.items["top1_logistic"].split == "test"
    assert items_error(evaluation, frozen.data.splits) is None
    assert "trained on train, tested on test" in evaluation.protocol


def test_labels_of_tested_graphs_choose_nothing(freeze: Freeze) -> None:
    test, truth = blobs(20, seed=1)
    results = []
    for labels in (truth, 1 - truth):
        frozen = freeze({"train": blobs(60), "test": (test, labels)})
        results.append(task().evaluate(replace(frozen, data=replace(frozen.data, kind="graphs"))))
    assert results[0].notes == results[1].notes
    assert results[0].scores[0].value == pytest.approx(1 - results[1].scores[0].value)


def test_rotated_features_give_the_same_hits(freeze: Freeze) -> None:
    embeddings, labels = blobs(40)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]
    rotated = {"features": embeddings["features"] @ rotation}
    plain, turned = (task().evaluate(folded(freeze, (part, labels))) for part in (embeddings, rotated))
    assert torch.equal(plain.items["top1_svm"].values, turned.items["top1_svm"].values)
    assert plain.notes == turned.notes


def test_of_equal_accuracies_the_smallest_c_is_chosen(freeze: Freeze) -> None:
    labels = torch.arange(40) % 2
    evaluation = task(grid=(10.0, 0.1)).evaluate(folded(freeze, ({"features": F.one_hot(labels).float() * 9}, labels)))
    assert [score.value for score in evaluation.scores] == [1, 1]
    assert evaluation.notes == ["svm: C = 0.1 (4 x)", "logistic: C = 0.1 (4 x)"]


def test_fits_that_are_stopped_early_are_noted(freeze: Freeze) -> None:
    notes = task(max_iterations=1, grid=(10.0,)).evaluate(folded(freeze, blobs(40))).notes
    # Four rounds, each with three inner folds and a last fit.
    assert "svm: fits NOT converged after 1 steps: 16, all with C >= 10" in notes


def test_the_named_embedding_is_read(freeze: Freeze) -> None:
    embeddings, labels = blobs(40)
    known = embeddings | {"unsupervised": F.one_hot(labels).float() * 9}
    score = task(embedding="unsupervised", grid=(10.0,)).evaluate(folded(freeze, (known, labels))).scores[0]
    assert (score.value, score.embedding) == (1, "unsupervised")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"folds": None, "splits": {"train": 20, "test": 4}}, None),
        ({"kind": "vector"}, "needs graphs"),
        ({"folds": None}, "needs folds or a test split"),
        ({"num_classes": None}, "needs labels"),
        ({"num_classes": 1}, "needs at least two classes"),
        ({"num_classes": None, "num_labels": 3}, "needs one class for each item, not several labels"),
    ],
)
def test_data_that_do_not_fit_are_skipped_with_a_reason(changes: dict[str, object], reason: str | None) -> None:
    spec = {"shape": (5,), "splits": {"train": 20}, "num_classes": 2, "kind": "graphs", "folds": 10} | changes
    assert task().skip_reason(DataSpec(**spec), Objective) == reason  # type: ignore[arg-type, type-abstract]  # not read


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="grid must have one value of C or more"):
        GraphClassificationConfig(grid=())


def test_it_is_registered() -> None:
    assert bench_evaluators() == {"graph_classification": GraphClassification}
