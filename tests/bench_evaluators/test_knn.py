from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Frozen, Objective
from bench_core.evaluation.knn import knn_answers
from bench_core.store.per_item import items_error
from bench_evaluators.knn import KNN, KNNConfig

Freeze = Callable[..., Frozen]


def blobs(items: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 8, generator=torch.Generator().manual_seed(seed))
    return F.one_hot(labels, 8) * 1.5 + noise, labels


def test_accuracy_equals_that_of_the_votes(freeze: Freeze) -> None:
    bank, labels = blobs(60)
    queries, truth = blobs(30, seed=1)
    frozen = freeze({"train": ({"features": bank}, labels), "test": ({"features": queries}, truth)})
    score = KNN(KNNConfig(k=9)).evaluate(frozen).scores[0]
    answers = knn_answers(queries, bank, labels, 3, k=9, temperature=0.1).argmax(1)
    assert score.metric == "top1"
    assert score.value == pytest.approx(float((answers == truth).float().mean()))
    assert 0.34 < score.value < 1
    assert score.chance == pytest.approx(1 / 3)
    assert score.n == 30


def test_per_item_results_are_hits_in_the_order_of_the_test_split(freeze: Freeze) -> None:
    bank, labels = blobs(60)
    queries, truth = blobs(30, seed=1)
    frozen = freeze({"train": ({"features": bank}, labels), "test": ({"features": queries}, truth)})
    evaluation = KNN(KNNConfig(k=9)).evaluate(frozen)
    hits = knn_answers(queries, bank, labels, 3, k=9, temperature=0.1).argmax(1) == truth
    assert evaluation.items["top1"].values.tolist() == hits.tolist()
    assert items_error(evaluation, frozen.data.splits) is None


def test_the_nearest_neighbour_of_a_training_item_is_itself(freeze: Freeze) -> None:
    part = {"features": torch.randn(50, 8, generator=torch.Generator().manual_seed(0))}, torch.arange(50) % 5
    assert KNN(KNNConfig(k=1)).evaluate(freeze({"train": part, "test": part})).scores[0].value == 1


def test_lengths_of_features_do_not_matter(freeze: Freeze) -> None:
    (bank, labels), (queries, truth) = blobs(60), blobs(30, seed=1)
    scale = torch.rand(60, 1, generator=torch.Generator().manual_seed(2)) + 0.1
    plain = freeze({"train": ({"features": bank}, labels), "test": ({"features": queries}, truth)})
    scaled = freeze({"train": ({"features": bank * scale}, labels), "test": ({"features": queries * 7}, truth)})
    knn = KNN(KNNConfig(k=9))
    assert knn.evaluate(plain).scores == knn.evaluate(scaled).scores


def test_features_of_length_0_give_a_number(freeze: Freeze) -> None:
    part = {"features": torch.zeros(20, 4)}, torch.arange(20) % 2
    assert 0 <= KNN(KNNConfig(temperature=1e-4)).evaluate(freeze({"train": part, "test": part})).scores[0].value <= 1


def test_k_is_the_size_of_the_smallest_class_with_a_note(freeze: Freeze) -> None:
    part = {"features": blobs(31)[0]}, blobs(31)[1]  # classes of 11, 10 and 10 items
    evaluation = KNN(KNNConfig()).evaluate(freeze({"train": part, "test": part}))
    assert evaluation.notes == ["k = 10, the size of the smallest training class: more neighbours cannot all be of it"]
    assert "k=10" in evaluation.protocol
    assert evaluation.scores == KNN(KNNConfig(k=10)).evaluate(freeze({"train": part, "test": part})).scores


def test_k_that_is_set_is_capped_at_the_number_of_train_items_with_a_note(freeze: Freeze) -> None:
    part = {"features": blobs(30)[0]}, blobs(30)[1]
    evaluation = KNN(KNNConfig(k=200)).evaluate(freeze({"train": part, "test": part}))
    assert evaluation.notes[0] == "k capped at 30, the size of the bank (asked: 200)"
    assert "k=30" in evaluation.protocol


def test_the_numbers_of_classes_do_not_matter(freeze: Freeze) -> None:
    rng = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(120, 3, generator=rng) > 0, torch.randn(70, 3, generator=rng) > 0  # many equal votes
    labels, truth = torch.arange(120) % 12, torch.randint(12, (70,), generator=rng)
    truth[:12] = torch.arange(12)
    scores = []
    for order in (torch.arange(12), torch.arange(12).flip(0), torch.randperm(12, generator=rng)):
        frozen = freeze({"train": ({"code": bank}, order[labels]), "test": ({"code": queries}, order[truth])})
        evaluation = KNN(KNNConfig(k=8, embedding="code")).evaluate(frozen)
        assert items_error(evaluation, frozen.data.splits) is None
        scores.append([score.value for score in evaluation.scores])
    assert scores[1] == pytest.approx(scores[0])
    assert scores[2] == pytest.approx(scores[0])


def test_more_than_10_classes_have_top5_too(freeze: Freeze) -> None:
    part = {"features": torch.eye(12)}, torch.arange(12)
    scores = KNN(KNNConfig(k=12)).evaluate(freeze({"train": part, "test": part})).scores
    assert [(s.metric, s.value) for s in scores] == [("top1", 1.0), ("top5", 1.0)]
    assert scores[1].chance == pytest.approx(5 / 12)


def test_the_named_embedding_is_read(freeze: Freeze) -> None:
    features, labels = torch.zeros(20, 4), torch.arange(20) % 2
    part = {"features": features, "code": F.one_hot(labels).bool()}, labels
    score = KNN(KNNConfig(k=3, embedding="code")).evaluate(freeze({"train": part, "test": part})).scores[0]
    assert (score.value, score.embedding) == (1, "code")
    with pytest.raises(BenchError, match=r"no embedding named 'cod'. This method has: code, features."):
        KNN(KNNConfig(embedding="cod")).evaluate(freeze({"train": part, "test": part}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_classes": None}, "needs labels"),
        ({"num_classes": None, "num_labels": 3}, "needs one class for each item, not several labels"),
        ({"splits": {"train": 5}}, "needs a test split"),
        ({}, None),
    ],
)
def test_data_without_classes_is_skipped_with_a_reason(changes: dict[str, object], reason: str | None) -> None:
    spec = {"shape": (1, 8, 8), "splits": {"train": 5, "test": 5}, "num_classes": 2} | changes
    assert KNN(KNNConfig()).skip_reason(DataSpec(**spec), Objective) == reason  # type: ignore[arg-type, type-abstract]  # not read


def test_k_and_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        KNNConfig(k=0)
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        KNNConfig(temperature=0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_accuracy(freeze: Freeze) -> None:
    splits = {"train": ({"features": blobs(600)[0]}, blobs(600)[1]), "test": ({"features": blobs(90)[0]}, blobs(90)[1])}
    knn = KNN(KNNConfig(k=9))
    assert knn.evaluate(freeze(splits, device="cuda")).scores == knn.evaluate(freeze(splits)).scores
