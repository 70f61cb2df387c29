from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from torch import Tensor

from bench_core import DataSpec, Frozen, Objective
from bench_core.evaluation.linear_probe import LOGISTIC, standardise
from bench_core.evaluation.logistic_regression import LogisticProblem
from bench_core.store.per_item import items_error
from bench_evaluators import linear
from bench_evaluators.linear import Linear, LinearConfig

Freeze = Callable[..., Frozen]


def blobs(items: int, classes: int = 4, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 12, generator=torch.Generator().manual_seed(seed))
    return {"features": (F.one_hot(labels, 12) * 2 + noise) * torch.logspace(0, 2, 12)}, labels


def test_accuracy_is_that_of_scikit_learn_at_the_chosen_penalty(freeze: Freeze) -> None:
    splits = {"train": blobs(200), "test": blobs(120, seed=1)}
    evaluation = Linear(LinearConfig(grid=(0.02,))).evaluate(freeze(splits))
    train, test = standardise(splits["train"][0]["features"], splits["test"][0]["features"])
    reference = LogisticRegression(C=1 / (0.02 * 200), tol=1e-8, max_iter=10_000)
    reference.fit(train.numpy(), splits["train"][1].numpy())
    expected = reference.score(test.numpy(), splits["test"][1].numpy())
    assert evaluation.scores[0].value == pytest.approx(expected, abs=1 / 120)  # one item may lie on the border
    assert evaluation.scores[0].metric == "top1"
    assert evaluation.scores[0].chance == pytest.approx(0.25)


@pytest.mark.parametrize("labels_per_class", [None, 6])
def test_the_svm_predicts_as_scikit_learn_does_on_standardised_features(
    labels_per_class: int | None, freeze: Freeze
) -> None:
    splits = {"train": blobs(200 if labels_per_class is None else 24), "test": blobs(120, seed=1)}
    config = LinearConfig(
        solver="svm", grid=(0.02,), few_label_penalty=0.02, labels_per_class=labels_per_class, num_draws=1
    )
    evaluation = Linear(config).evaluate(freeze(splits))
    (train, labels), (test, test_labels) = ((part["features"], labels) for part, labels in splits.values())
    train, test = standardise(train, test)
    reference = LinearSVC(C=1 / (0.02 * len(labels)), dual=False, tol=1e-9, max_iter=10_000, intercept_scaling=100)
    reference.fit(train.numpy(), labels.numpy())
    expected = reference.score(test.numpy(), test_labels.numpy())
    assert evaluation.scores[0].value == pytest.approx(expected, abs=1 / 120)  # one item may lie on the border
    assert "linear SVM, each class against the rest" in evaluation.protocol
    assert "logistic" not in evaluation.protocol


@pytest.mark.parametrize(("labels_per_class", "values"), [(None, {0.0, 1.0}), (3, {0.0, 0.5, 1.0})])
def test_per_item_results_are_hits_or_their_mean_over_draws(
    freeze: Freeze, labels_per_class: int | None, values: set[float]
) -> None:
    frozen = freeze({"train": blobs(80), "test": blobs(120, seed=1)})
    evaluation = Linear(LinearConfig(labels_per_class=labels_per_class, num_draws=2)).evaluate(frozen)
    assert set(evaluation.items["top1"].values.double().tolist()) == values
    assert items_error(evaluation, frozen.data.splits) is None


def test_penalty_does_not_depend_on_the_test_split(freeze: Freeze) -> None:
    train = blobs(80)
    first = Linear(LinearConfig()).evaluate(freeze({"train": train, "test": blobs(40, seed=1)}))
    second = Linear(LinearConfig()).evaluate(freeze({"train": train, "test": blobs(40, seed=2)}))
    assert first.notes == second.notes
    assert first.scores != second.scores


def test_noisy_features_get_a_stronger_penalty_than_clean_ones(freeze: Freeze) -> None:
    labels = torch.arange(200) % 4
    noise = torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    clean = {"features": F.one_hot(labels, 50) * 20 + noise}, labels
    noisy = {"features": noise}, labels
    grid = LinearConfig(grid=(1.0, 1e-4))
    notes = [Linear(grid).evaluate(freeze({"train": part, "test": part})).notes[0] for part in (clean, noisy)]
    assert [note.removesuffix(", beyond which none was tried") for note in notes] == [
        "penalty 0.0001, chosen on 20 held-out training items; it is the weakest of the grid",
        "penalty 1, chosen on 20 held-out training items; it is the strongest of the grid",
    ]


def test_one_item_of_each_class_gets_the_penalty_of_few_labels(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(4), "test": blobs(40, seed=1)})
    evaluation = Linear(LinearConfig(few_label_penalty=0.3)).evaluate(frozen)
    assert evaluation.notes[0].startswith("penalty 0.3 fixed, not chosen")
    few = Linear(LinearConfig(few_label_penalty=0.3, labels_per_class=1, num_draws=1)).evaluate(frozen)
    assert evaluation.scores == few.scores


def test_scale_and_shift_of_features_do_not_matter(freeze: Freeze) -> None:
    plain = {"train": blobs(80), "test": blobs(40, seed=1)}
    moved = {name: ({"features": e["features"] * 30 + 5}, labels) for name, (e, labels) in plain.items()}
    scores = [Linear(LinearConfig()).evaluate(freeze(splits)).scores for splits in (plain, moved)]
    assert scores[0] == scores[1]


def test_notes_tell_if_the_solver_converged(freeze: Freeze) -> None:
    splits = {"train": blobs(80), "test": blobs(40, seed=1)}
    assert Linear(LinearConfig()).evaluate(freeze(splits)).notes[1].startswith("converged in ")
    stopped = Linear(LinearConfig(max_iterations=2)).evaluate(freeze(splits))
    assert stopped.notes[1].startswith("NOT converged: stopped after 2 iterations")
    assert "L-BFGS" in stopped.protocol


def test_few_labels_are_the_same_items_for_all_methods(freeze: Freeze) -> None:
    config = LinearConfig(labels_per_class=2, num_draws=4)
    splits = {"train": blobs(80), "test": blobs(40, seed=1)}
    changed = {
        "train": ({"features": splits["train"][0]["features"].flip(1)}, splits["train"][1]),
        "test": splits["test"],
    }
    evaluation = Linear(config).evaluate(freeze(splits))
    again = Linear(config).evaluate(freeze(splits))
    assert evaluation == again
    assert Linear(config).evaluate(freeze(splits, seed=1)).scores != evaluation.scores
    assert Linear(config).evaluate(freeze(changed)).scores != evaluation.scores
    assert "2 labels of each class, mean of 4 seeded draws; penalty fixed at 0.01" in evaluation.protocol
    assert evaluation.scores[0].chance == pytest.approx(0.25)


def test_few_labels_are_the_given_number_of_each_class(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(features: Any, labels: Tensor, *rest: Any) -> LogisticProblem:
        seen.append((features, labels))
        return LogisticProblem(features, labels, *rest)

    monkeypatch.setitem(linear.CLASSIFIERS, "logistic", replace(LOGISTIC, problem=watched))
    splits = {"train": blobs(80), "test": blobs(40, seed=1)}
    Linear(LinearConfig(labels_per_class=3, num_draws=2)).evaluate(freeze(splits))
    assert [torch.bincount(labels).tolist() for _, labels in seen] == [[3] * 4] * 2
    assert not torch.equal(seen[0][0], seen[1][0])


def test_deviation_over_draws_is_noted(freeze: Freeze) -> None:
    splits = {"train": blobs(80), "test": blobs(40, seed=1)}
    notes = Linear(LinearConfig(labels_per_class=99, num_draws=2)).evaluate(freeze(splits)).notes
    assert notes[1] == "top1 over draws: deviation 0.0000"  # each draw takes all there is


def test_more_than_10_classes_have_top5_too(freeze: Freeze) -> None:
    part = {"features": torch.eye(12).repeat(5, 1)}, torch.arange(12).repeat(5)
    scores = Linear(LinearConfig()).evaluate(freeze({"train": part, "test": part})).scores
    assert [(s.metric, s.value) for s in scores] == [("top1", 1.0), ("top5", 1.0)]


def labelled_blobs(items: int, labels: int = 4, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Make features with a direction for each of several labels, of which an item has any number."""
    rng = torch.Generator().manual_seed(seed)
    hot = torch.rand(items, labels, generator=rng) < torch.linspace(0.2, 0.6, labels)
    features = torch.randn(items, 12, generator=rng) + F.pad(2.0 * hot, (0, 12 - labels))
    return {"features": features * torch.logspace(0, 2, 12)}, hot


def test_several_labels_get_the_scores_of_one_logistic_regression_each(freeze: Freeze) -> None:
    splits = {"train": labelled_blobs(200), "test": labelled_blobs(120, seed=1)}
    frozen = freeze(splits)
    evaluation = Linear(LinearConfig(grid=(0.02,))).evaluate(frozen)
    (train, labels), (test, test_labels) = ((part["features"], labels) for part, labels in splits.values())
    train, test = standardise(train, test)
    reference = LogisticRegression(C=1 / (0.02 * 200), tol=1e-8, max_iter=10_000)
    classifier = OneVsRestClassifier(reference).fit(train.numpy(), labels.numpy())
    expected = average_precision_score(test_labels.numpy(), classifier.predict_proba(test.numpy()), average="macro")
    answers = classifier.predict(test.numpy())
    precision, f1 = evaluation.scores
    assert (precision.metric, precision.n) == ("mean_average_precision", 120)
    assert precision.value == pytest.approx(expected, abs=5e-3)  # two items may change places
    assert precision.chance == pytest.approx(float(test_labels.double().mean()))
    assert f1.metric == "micro_f1"
    assert f1.value == pytest.approx(f1_score(test_labels.numpy(), answers, average="micro"), abs=5e-3)
    assert evaluation.items == {}  # neither score is a mean over items
    assert "one logistic regression (sigmoid) for each label" in evaluation.protocol
    assert "20 held-out training items" in evaluation.notes[0]
    assert items_error(evaluation, frozen.data.splits) is None


def test_a_label_without_items_is_left_out_and_said_so(freeze: Freeze) -> None:
    splits = {"train": labelled_blobs(80), "test": labelled_blobs(60, seed=1)}
    empty = {name: (part, F.pad(labels, (0, 1))) for name, (part, labels) in splits.items()}
    plain, extra = (Linear(LinearConfig(grid=(0.02,))).evaluate(freeze(each)) for each in (splits, empty))
    assert extra.scores[0].value == pytest.approx(plain.scores[0].value, abs=1e-2)  # two items may change places
    assert extra.notes[-1] == "1 of 5 labels left out of mean_average_precision: no test item has them"
    assert "converged in" in plain.notes[-1]
    assert not any("NOT" in note for note in extra.notes)  # its bias falls without end, but its loss soon is 0


def test_the_penalty_of_several_labels_is_chosen_without_the_test_split(freeze: Freeze) -> None:
    train = labelled_blobs(200)
    first, second = (
        Linear(LinearConfig()).evaluate(freeze({"train": train, "test": labelled_blobs(60, seed=seed)}))
        for seed in (1, 2)
    )
    assert first.notes == second.notes
    assert first.scores != second.scores
    noise = {"features": torch.randn(200, 12, generator=torch.Generator().manual_seed(3))}, train[1]
    noisy = Linear(LinearConfig()).evaluate(freeze({"train": noise, "test": labelled_blobs(60, seed=1)}))
    assert float(noisy.notes[0].split()[1].strip(",")) > float(first.notes[0].split()[1].strip(","))


def test_several_labels_on_features_that_say_nothing_score_chance(freeze: Freeze) -> None:
    constant = {
        name: ({"features": torch.ones(n, 3)}, labelled_blobs(n)[1]) for name, n in (("train", 80), ("test", 60))
    }
    for score in Linear(LinearConfig()).evaluate(freeze(constant)).scores:
        assert score.value == pytest.approx(score.chance)


def test_one_training_item_with_several_labels_gets_the_fixed_penalty(freeze: Freeze) -> None:
    frozen = freeze({"train": labelled_blobs(1), "test": labelled_blobs(30, seed=1)})
    evaluation = Linear(LinearConfig(few_label_penalty=0.3)).evaluate(frozen)
    assert evaluation.notes[0].startswith("penalty 0.3 fixed, not chosen: there are not two training items")


@pytest.mark.parametrize(
    ("config", "splits", "reason"),
    [
        (LinearConfig(), ("train", "test"), None),
        (LinearConfig(), ("train", "query", "database"), "needs a test split"),
        (
            LinearConfig(labels_per_class=5),
            ("train", "test"),
            "labels_per_class needs one class for each item, not several labels",
        ),
        (LinearConfig(solver="svm"), ("train", "test"), "solver=svm needs one class for each item, not several labels"),
    ],
)
def test_several_labels_are_skipped_where_a_class_is_needed(
    config: LinearConfig, splits: tuple[str, ...], reason: str | None
) -> None:
    data = DataSpec(shape=(1, 8, 8), splits=dict.fromkeys(splits, 5), num_labels=3)
    assert Linear(config).skip_reason(data, Objective) == reason  # type: ignore[type-abstract]  # not read


def test_data_without_labels_is_refused() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5, "test": 5})
    assert Linear(LinearConfig()).skip_reason(data, Objective) == "needs labels"  # type: ignore[type-abstract]  # not read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": ()}, r"grid must have one penalty or more, got \(\)"),
        ({"few_label_penalty": 0.0}, "few_label_penalty must be > 0, got 0.0"),
        ({"validation_fraction": 1.0}, r"validation_fraction must be in \(0, 1\), got 1.0"),
        ({"labels_per_class": 0}, "labels_per_class must be >= 1, got 0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearConfig(**changes)  # type: ignore[arg-type]  # changes of any kind


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_accuracy(freeze: Freeze) -> None:
    splits = {"train": blobs(400), "test": blobs(100, seed=1)}
    scores = [Linear(LinearConfig()).evaluate(freeze(splits, device=d)).scores[0].value for d in ("cpu", "cuda")]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
