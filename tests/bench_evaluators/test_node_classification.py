import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import DataSpec, Frozen
from bench_core.conformance.toys import Untrained
from bench_core.evaluation.linear_probe import standardise
from bench_core.store.per_item import items_error
from bench_evaluators.node_classification import (
    NodeClassification,
    NodeClassificationConfig,
    answers_of,
    bench_evaluators,
    train_by_adam,
)

Freeze = Callable[..., Frozen]
NODES = DataSpec(shape=(4,), splits={"train": 20, "validation": 30, "test": 60}, num_classes=3, kind="nodes")


def blobs(items: int, seed: int, classes: int = 3) -> tuple[dict[str, Tensor], Tensor]:
    """Features of overlapping classes."""
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 6, generator=torch.Generator().manual_seed(seed))
    return {"features": torch.eye(classes, 6)[labels] + 0.6 * noise}, labels


@pytest.fixture
def frozen(freeze: Freeze) -> Frozen:
    return freeze({"train": blobs(20, 0), "validation": blobs(30, 1), "test": blobs(60, 2)})


def evaluate(frozen: Frozen, **config: Any) -> Any:
    return NodeClassification(NodeClassificationConfig(**config)).evaluate(frozen)


def adam_slowly(x: Tensor, y: Tensor, weights: Tensor, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """One classifier by Adam's update rule and the gradient of softmax regression, written out."""
    parameters = [weights.double().clone(), torch.zeros(weights.shape[1], dtype=torch.double)]
    first, second = [[torch.zeros_like(p) for p in parameters] for _ in range(2)]
    for step in range(1, steps + 1):
        probability = (x.double() @ parameters[0] + parameters[1]).softmax(1)
        for i, label in enumerate(y.tolist()):
            probability[i, label] -= 1
        gradients = [x.double().T @ probability / len(x), probability.mean(0)]
        for k, gradient in enumerate(gradients):
            first[k] = 0.9 * first[k] + 0.1 * gradient
            second[k] = 0.999 * second[k] + 0.001 * gradient**2
            mean, square = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
            parameters[k] = parameters[k] - rate * mean / (square.sqrt() + 1e-8)
    return parameters[0], parameters[1]


def test_each_of_several_classifiers_is_trained_as_if_it_were_alone() -> None:
    features, labels = blobs(20, 0)
    x, rng = features["features"], torch.Generator().manual_seed(5)
    bound = math.sqrt(6 / (6 + 3))
    first = torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(5)) * 2 * bound - bound
    weights, biases = train_by_adam(x, labels, 3, runs=4, steps=12, learning_rate=0.05, rng=rng)
    for run in range(4):
        expected = adam_slowly(x, labels, first[:, run], steps=12, rate=0.05)
        torch.testing.assert_close(weights[:, run].double(), expected[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(biases[run].double(), expected[1], atol=1e-5, rtol=1e-4)


def test_answers_of_all_classifiers_equal_those_of_each() -> None:
    x, weights, biases = torch.randn(5, 6), torch.randn(6, 4, 3), torch.randn(4, 3)
    answers = answers_of(x, weights, biases)
    for run in range(4):
        torch.testing.assert_close(answers[:, run], x @ weights[:, run] + biases[run])


def test_the_score_is_the_mean_accuracy_of_50_runs_and_hits_are_its_items(frozen: Frozen) -> None:
    evaluation = evaluate(frozen)
    (score,) = evaluation.scores
    assert (score.metric, score.n, score.embedding) == ("top1", 60, "features")
    hits = evaluation.items["top1"].values
    assert float(hits.double().mean()) == pytest.approx(score.value)
    assert torch.allclose(hits * 50, (hits * 50).round(), atol=1e-6)  # parts of 50 runs
    assert 0.5 < score.value < 1
    assert items_error(evaluation, frozen.data.splits) is None
    assert "100 steps of Adam on all of train, rate 0.01, no penalty; mean of 50 runs" in evaluation.protocol
    assert evaluation.notes[0].startswith("top1 over runs: deviation 0.0")


def test_chance_by_hand_is_the_share_of_the_most_frequent_training_class(freeze: Freeze) -> None:
    train = {"features": torch.randn(5, 2)}, torch.tensor([0, 1, 1, 1, 0])
    test = {"features": torch.randn(4, 2)}, torch.tensor([0, 0, 0, 1])
    assert evaluate(freeze({"train": train, "test": test}), runs=2).scores[0].chance == pytest.approx(1 / 4)


@pytest.mark.parametrize("probe", ["adam", "optimum"])
def test_classes_that_lie_apart_are_told_apart_without_error(probe: str, freeze: Freeze) -> None:
    parts = {name: blobs(30, seed) for seed, name in enumerate(("train", "validation", "test"))}
    apart = {name: ({"features": 10 * torch.eye(3, 6)[y] + x["features"]}, y) for name, (x, y) in parts.items()}
    assert evaluate(freeze(apart), probe=probe, learning_rate=0.1).scores[0].value == 1


@pytest.mark.parametrize("probe", ["adam", "optimum"])
def test_a_seed_gives_the_same_answers_twice_and_the_optimum_needs_none(probe: str, frozen: Frozen) -> None:
    evaluations = [evaluate(replace(frozen, seed=seed), probe=probe, runs=3, steps=5) for seed in (0, 0, 1)]
    first, again, other = (evaluation.items["top1"].values for evaluation in evaluations)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (probe == "optimum")


@pytest.mark.parametrize("probe", ["adam", "optimum"])
def test_labels_of_validation_and_test_do_not_train_the_classifier(probe: str, freeze: Freeze) -> None:
    parts = {"train": blobs(20, 0), "validation": blobs(30, 1), "test": blobs(60, 2)}
    shifted = {**parts, "test": (parts["test"][0], (parts["test"][1] + 1) % 3)}
    ours, theirs = (evaluate(freeze(p), probe=probe, runs=1).items["top1"].values for p in (parts, shifted))
    assert not bool((ours.bool() & theirs.bool()).any())  # the same answers, so no item is right under both


def test_the_scale_of_features_counts_after_few_steps_and_not_at_the_optimum(freeze: Freeze) -> None:
    parts = {"train": blobs(20, 0), "validation": blobs(30, 1), "test": blobs(60, 2)}
    small = {name: ({"features": x["features"] / 1000}, y) for name, (x, y) in parts.items()}
    for probe, same in (("adam", False), ("optimum", True)):
        values = [evaluate(freeze(p), probe=probe).scores[0].value for p in (parts, small)]
        assert (values[0] == pytest.approx(values[1], abs=1e-9)) == same


def test_the_optimum_is_scikit_learns_and_its_penalty_the_best_on_validation(frozen: Frozen) -> None:
    x = {name: part.embeddings["features"] for name, part in frozen.splits.items()}
    y = {name: np.asarray(part.labels) for name, part in frozen.splits.items()}
    train, validation = standardise(x["train"], x["validation"])
    _, test = standardise(x["train"], x["test"])
    best: tuple[float, float] = (0.0, 0.0)
    for penalty in (1.0, 0.1, 0.01, 0.001):
        fit = LogisticRegression(C=1 / (penalty * len(train)), tol=1e-10, max_iter=10_000)
        fit.fit(train.numpy(), y["train"])
        right = fit.score(validation.numpy(), y["validation"])
        if right > best[0]:
            best, answers = (right, penalty), fit.predict(test.numpy())
    evaluation = evaluate(frozen, probe="optimum", grid=(0.01, 1.0, 0.001, 0.1))
    assert evaluation.notes[0] == f"penalty {best[1]:g}, accuracy on validation {best[0]:.3f}"
    assert evaluation.items["top1"].values.tolist() == (answers == y["test"]).tolist()
    assert "penalty chosen of 1, 0.1, 0.01, 0.001 by the accuracy on the 30 nodes of validation" in evaluation.protocol


@pytest.mark.parametrize(
    ("data", "probe", "reason"),
    [
        (NODES, "adam", None),
        (NODES, "optimum", None),
        (replace(NODES, splits={"train": 2, "test": 2}), "adam", None),
        (replace(NODES, splits={"train": 2, "test": 2}), "optimum", "needs a validation split to choose the penalty"),
        (replace(NODES, splits={"train": 2}), "adam", "needs a test split"),
        (replace(NODES, num_classes=None), "adam", "needs labels"),
        (DataSpec(shape=(1, 8, 8), splits={"train": 2}, num_classes=2), "adam", "needs the nodes of one graph"),
    ],
)  # fmt: skip
def test_data_that_it_cannot_score_are_skipped_with_a_reason(data: DataSpec, probe: Any, reason: str | None) -> None:
    task = NodeClassification(NodeClassificationConfig(probe=probe))
    assert task.skip_reason(data, Untrained) == reason


def test_a_grid_without_a_penalty_is_refused() -> None:
    with pytest.raises(ValueError, match="grid must have one penalty or more"):
        NodeClassificationConfig(grid=())


def test_it_is_registered_in_the_family_of_classifiers() -> None:
    assert bench_evaluators() == {"node_classification": NodeClassification}
    assert (NodeClassification.family, NodeClassification.ranks) == ("classification", True)
