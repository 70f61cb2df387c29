from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Embedded, Evaluation, Frozen, NoConfig, Objective, Split, stream
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.errors import BenchError
from bench_evaluators.clustering.evaluator import Clustering, ClusteringConfig

METRICS = ["accuracy", "nmi", "ari", "ami", "purity", "majority_accuracy", "clusters", "perplexity"]
MORE_CLUSTERS = ["majority_accuracy", "nmi", "ari", "ami", "purity", "clusters", "perplexity"]


class Heads(Untrained):
    """Method with own clusters: each head reads the cluster of an image from one of its pixels."""

    heads = 2

    def assign(self, inputs: Tensor) -> Tensor:
        return (255 * inputs.flatten(1)[:, : self.heads]).round().long().T


def frozen(
    features: Sequence[Tensor],
    labels: Sequence[Tensor],
    method_clusters: Sequence[Tensor] | None = None,
    seed: int = 0,
    **embeddings: Any,
) -> Frozen:
    """Make a frozen method from features, labels and own clusters (T, N), each of train and test."""
    count = {"train": len(features[0]), "test": len(features[1])}
    spec = DataSpec(shape=(1, 8, 8), splits=count, num_classes=1 + int(max(part.max() for part in labels)))
    images = {name: torch.zeros(n, 1, 8, 8, dtype=torch.uint8) for name, n in count.items()}
    for part, own in zip(images.values(), method_clusters or (), strict=method_clusters is not None):
        part.view(len(part), -1)[:, : len(own)] = own.T.to(torch.uint8)
    cls = Untrained if method_clusters is None else type("Own", (Heads,), {"heads": len(method_clusters[0])})
    splits = {n: Embedded({"features": f, **embeddings}, y) for n, f, y in zip(count, features, labels, strict=True)}
    method = cls(TinyEncoder(spec), spec, NoConfig()).eval()
    return Frozen(splits, spec, seed, torch.device("cpu"), lambda: method, lambda name: Split(images[name]))


def blobs(noise: float, n: int = 300, k: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % k
    return F.one_hot(labels, 8) + noise * torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)), labels


def two_sides(noise: float, method_clusters: Sequence[Tensor] | None = None) -> Frozen:
    (train, train_labels), (test, labels) = blobs(noise), blobs(noise, 200, seed=1)
    return frozen([train, test], [train_labels, labels], method_clusters)


def evaluate(trained: Frozen, **config: Any) -> Evaluation:
    return Clustering(ClusteringConfig(**config)).evaluate(trained)


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_separated_classes_are_found_and_noise_is_not() -> None:
    separated, noise = evaluate(two_sides(0.1)), evaluate(two_sides(30))
    assert list(values(separated)) == METRICS
    assert not separated.notes
    assert values(separated) == pytest.approx({m: 5.0 if m in ("clusters", "perplexity") else 1.0 for m in METRICS})
    assert values(noise)["accuracy"] < 0.35
    assert abs(values(noise)["ami"]) < 0.05
    scores = values(evaluate(two_sides(0.7)))
    assert values(noise)["accuracy"] < scores["accuracy"] < 1


def test_the_classes_of_the_train_split_are_read_for_the_majority_alone() -> None:
    (train, labels), (test, truth) = blobs(0.1), blobs(0.1, 200, seed=1)
    same = values(evaluate(frozen([train, test], [labels, truth])))
    moved = values(evaluate(frozen([train, test], [(labels + 1) % 5, truth])))
    assert (same.pop("majority_accuracy"), moved.pop("majority_accuracy")) == (1, 0)
    assert same == moved


def test_chance_is_that_of_one_cluster_and_of_shuffled_ones() -> None:
    test, _ = blobs(0.1, 200, seed=1)
    labels = (torch.arange(200) % 10 > 6).long()  # 70 and 30 per cent
    evaluation = evaluate(frozen([blobs(0.1)[0], test], [torch.arange(300) % 2, labels]))
    chance = {score.metric: score.chance for score in evaluation.scores}
    assert chance["accuracy"] == pytest.approx(0.7)
    assert (chance["ari"], chance["ami"]) == (0, 0)
    assert chance["purity"] == pytest.approx(0.7, abs=0.02)
    assert chance["nmi"] == pytest.approx(1 / 400 / 0.65, abs=0.004)  # (K - 1) (C - 1) / 2N nats of I, mean entropy
    assert chance["majority_accuracy"] == pytest.approx(0.7)  # class 0, the first of two equal ones of train
    assert chance["clusters"] is None
    best = {score.metric: score.best for score in evaluation.scores}
    assert best == dict.fromkeys(METRICS) | {"ari": 1, "ami": 1}


def test_own_clusters_are_scored_as_a_mean_over_heads() -> None:
    own = [torch.stack([(torch.arange(n) + 3) % 5, torch.full((n,), 4)]) for n in (300, 200)]
    evaluation = evaluate(two_sides(30, own))
    scores = values(evaluation)
    assert list(scores) == METRICS + [f"own_{metric}" for metric in METRICS]
    assert scores["own_accuracy"] == scores["own_majority_accuracy"] == pytest.approx((1 + 0.2) / 2)
    assert scores["own_nmi"] == scores["own_ari"] == pytest.approx(0.5)
    assert (scores["own_clusters"], scores["own_perplexity"]) == pytest.approx(((5 + 1) / 2, (5 + 1) / 2))
    assert {s.embedding for s in evaluation.scores if s.metric.startswith("own_")} == {"own_labels"}
    assert evaluation.scores[0].metric == "accuracy"
    assert scores["accuracy"] < 0.4


def test_own_clusters_beyond_the_classes_are_named_by_train_and_have_a_chance_level() -> None:
    """A one-to-one match of 60 perfect clusters to 5 classes gets 5 of them right: less than one cluster for all."""
    own = [torch.arange(n)[None] % 60 for n in (300, 240)]
    labels = [torch.arange(n) % 5 for n in (300, 240)]
    features = [blobs(0.1, n)[0] for n in (300, 240)]
    evaluation = evaluate(frozen(features, labels, own))
    scores = {score.metric: score for score in evaluation.scores}
    assert list(scores) == METRICS + [f"own_{metric}" for metric in MORE_CLUSTERS]
    assert scores["own_majority_accuracy"].value == scores["own_purity"].value == 1
    assert scores["own_majority_accuracy"].chance == pytest.approx(0.2)
    assert 0.2 < (scores["own_purity"].chance or 0) < 0.7  # 4 items a cluster: shuffled ones are purer than one cluster
    shuffled = [part[:, torch.randperm(part.shape[1], generator=torch.Generator().manual_seed(1))] for part in own]
    chance = values(evaluate(frozen(features, labels, shuffled)))
    assert chance["own_majority_accuracy"] == pytest.approx(0.2, abs=0.08)


def test_own_clusters_of_train_are_those_of_the_items_that_were_drawn() -> None:
    own = [torch.arange(n)[None] % 60 for n in (300, 240)]
    labels = [torch.arange(n) % 5 for n in (300, 240)]
    trained = frozen([blobs(0.1, n)[0] for n in (300, 240)], labels, own)
    few = values(evaluate(trained, fit_items=30))["own_majority_accuracy"]
    drawn = torch.randperm(300, generator=stream(0, "clustering", "items"))[:30]
    assert few == pytest.approx(len(torch.unique(drawn % 60)) / 60)  # clusters without a train item are wrong


def test_other_numbers_of_clusters_have_other_metric_names() -> None:
    scores = values(evaluate(two_sides(0.1), clusters=20))
    assert list(scores) == [f"{metric}_20_clusters" for metric in MORE_CLUSTERS]
    assert scores["clusters_20_clusters"] > 15
    assert scores["purity_20_clusters"] == 1
    assert scores["majority_accuracy_20_clusters"] == 1
    fewer = evaluate(two_sides(0.1), clusters=3)
    assert list(values(fewer)) == [f"{metric}_3_clusters" for metric in METRICS]
    assert values(fewer)["accuracy_3_clusters"] == pytest.approx(0.6)  # the items of two classes have no cluster
    assert fewer.scores[0].chance == pytest.approx(0.2)
    assert list(values(evaluate(two_sides(0.1), clusters=5))) == METRICS


@pytest.mark.parametrize("features", [torch.zeros(300, 8), torch.full((300, 8), 0.1), torch.ones(300, 1)])
def test_equal_features_score_chance(features: Tensor) -> None:
    labels = torch.arange(300) % 5
    evaluation = evaluate(frozen([features, features[:200]], [labels, labels[:200]]))
    expected = dict.fromkeys(METRICS, 0.0) | dict.fromkeys(("accuracy", "purity", "majority_accuracy"), 0.2)
    assert values(evaluation) == expected | {"clusters": 1, "perplexity": 1}
    assert evaluation.notes == ["only 1 distinct training items: as many clusters (wanted: 5)"]
    assert "5 clusters" in evaluation.protocol


def test_a_seed_gives_one_result_and_a_part_of_the_items_is_enough() -> None:
    first, second = (evaluate(two_sides(0.7), fit_items=60) for _ in range(2))
    assert first == second
    assert "fitted to 60 items of train" in first.protocol
    assert values(evaluate(two_sides(0.1), fit_items=60))["accuracy"] == 1


def test_the_named_embedding_is_read() -> None:
    labels = torch.arange(200) % 5
    trained = frozen([torch.zeros(200, 2)] * 2, [labels] * 2, code=F.one_hot(labels).bool())
    evaluation = evaluate(trained, embedding="code")
    assert (evaluation.scores[0].value, evaluation.scores[0].embedding) == (1, "code")
    with pytest.raises(BenchError, match=r"no embedding named 'cod'\. This method has: code, features"):
        evaluate(trained, embedding="cod")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({}, None), ({"num_classes": None}, "needs labels"), ({"splits": {"train": 9}}, "needs a test split")],
)
def test_data_without_classes_is_skipped(changes: dict[str, Any], reason: str | None) -> None:
    spec: dict[str, Any] = {"shape": (1, 8, 8), "splits": {"train": 5, "test": 5}, "num_classes": 2} | changes
    assert Clustering(ClusteringConfig()).skip_reason(DataSpec(**spec), Objective) == reason  # type: ignore[type-abstract]  # not read


@pytest.mark.parametrize(("name", "least"), [("clusters", 2), ("restarts", 1), ("fit_items", 1)])
def test_parameters_out_of_range_are_refused(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= {least}, got {least - 1}"):
        replace(ClusteringConfig(), **{name: least - 1})  # type: ignore[arg-type]  # any of them
