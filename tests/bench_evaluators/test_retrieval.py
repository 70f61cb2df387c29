from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Evaluation, Frozen, Objective
from bench_core.store.per_item import ALL, pack_items, unpack_items
from bench_evaluators.retrieval import Retrieval, RetrievalConfig

Freeze = Callable[..., Frozen]
Part = tuple[dict[str, Tensor], Tensor]


def blobs(items: int, classes: int = 4, seed: int = 0) -> Part:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 16, generator=torch.Generator().manual_seed(seed))
    return {"features": F.one_hot(labels, 16) * 2 + noise}, labels


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def usual_loop(queries: Part, database: Part) -> list[float]:
    """Return AP@all by cosine as hashing repositories compute it: sort, find the hits, average their precisions."""
    q, d = (F.normalize(part[0]["features"].double(), dim=1) for part in (queries, database))
    found = []
    for query, label in zip(q, queries[1], strict=True):
        hits = (database[1] == label)[(d @ query).argsort(descending=True)].nonzero()[:, 0] + 1
        found.append(float((torch.arange(1, len(hits) + 1) / hits).mean()))
    return found


def test_map_by_cosine_ranks_and_equals_a_plain_loop(freeze: Freeze) -> None:
    train, test = blobs(120), blobs(30, seed=1)
    evaluation = Retrieval(RetrievalConfig(k=10)).evaluate(freeze({"train": train, "test": test}))
    assert evaluation.scores[0].metric == "map_cosine"
    scores = values(evaluation)
    assert scores["map_cosine"] == pytest.approx(sum(usual_loop(test, train)) / 30, abs=1e-6)
    q, d = (F.normalize(part[0]["features"], dim=1) for part in (test, train))
    hits = train[1][(q @ d.T).topk(10).indices] == test[1][:, None]
    assert scores["precision_cosine_at_10"] == pytest.approx(float(hits.double().mean()))
    precision = hits.double().cumsum(1) / torch.arange(1, 11)
    assert scores["map_cosine_at_10"] == pytest.approx(float((precision * hits).sum(1).mean() / 10), abs=1e-6)


def test_a_code_beside_the_features_changes_nothing(freeze: Freeze) -> None:
    def with_code(part: Part) -> Part:
        return part[0] | {"code": F.one_hot(part[1], 32).bool()}, part[1]  # a perfect one

    train, test = blobs(120), blobs(30, seed=1)
    without, coded = (
        Retrieval(RetrievalConfig(k=10)).evaluate(freeze(splits))
        for splits in ({"train": train, "test": test}, {"train": with_code(train), "test": with_code(test)})
    )
    assert without == coded
    assert without.protocol == coded.protocol


def test_per_item_results_of_the_first_score_do_not_depend_on_the_order_of_queries(freeze: Freeze) -> None:
    splits = {"train": blobs(120), "test": blobs(30, seed=1)}
    evaluations = [Retrieval(RetrievalConfig(k=10)).evaluate(freeze(splits, seed)) for seed in (0, 1)]
    first, second = (pack_items(e, {"train": 120, "test": 30})[0]["map_cosine"] for e in evaluations)
    assert not torch.equal(*(e.items["map_cosine"].index for e in evaluations))  # type: ignore[arg-type]
    assert (first["which"], second["which"]) == (ALL, ALL)
    assert unpack_items(first).tolist() == pytest.approx(unpack_items(second).tolist(), abs=1e-6)
    assert unpack_items(first).tolist() == pytest.approx(usual_loop(splits["test"], splits["train"]), abs=1e-6)


def test_per_item_results_are_those_of_the_queries_that_were_drawn(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(120), "test": blobs(30, seed=1)})
    evaluation = Retrieval(RetrievalConfig(k=10, num_queries=12)).evaluate(frozen)
    [kept] = pack_items(evaluation, frozen.data.splits)[0].values()
    assert list(evaluation.items) == [evaluation.scores[0].metric]
    assert (kept["n"], kept["which"] == ALL) == (12, False)
    assert float(unpack_items(kept).mean()) == pytest.approx(evaluation.scores[0].value, abs=1e-6)


def test_separate_classes_score_1_at_every_measure(freeze: Freeze) -> None:
    labels = torch.arange(40) % 4
    part = {"features": F.one_hot(labels, 8).float()}, labels
    scores = values(Retrieval(RetrievalConfig(k=10)).evaluate(freeze({"train": part, "test": part})))
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_constant_features_score_chance_which_is_the_prevalence(freeze: Freeze, value: float) -> None:
    labels = torch.arange(400) % 4
    part = {"features": torch.full((400, 8), value)}, labels
    evaluation = Retrieval(RetrievalConfig(k=100)).evaluate(freeze({"train": part, "test": part}))
    first = evaluation.scores[0]
    assert first.value == pytest.approx(first.chance, abs=1e-12)
    assert first.value == pytest.approx(0.25, abs=0.02)  # a little above it, as R is finite


def test_order_of_items_and_length_of_features_change_no_score(freeze: Freeze) -> None:
    train, test = blobs(200), blobs(40, seed=1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    moved = {"features": 3 * train[0]["features"][order]}, train[1][order]
    config = RetrievalConfig(k=50)
    first = values(Retrieval(config).evaluate(freeze({"train": train, "test": test})))
    second = values(Retrieval(config).evaluate(freeze({"train": moved, "test": test})))
    assert first == pytest.approx(second, abs=1e-6)


def test_query_and_database_splits_are_preferred(freeze: Freeze) -> None:
    part = blobs(40)
    splits = {"train": part, "test": part, "query": blobs(24, seed=1), "database": blobs(80, seed=2)}
    evaluation = Retrieval(RetrievalConfig(k=10)).evaluate(freeze(splits))
    assert "24 queries of query against 80 items of database" in evaluation.protocol


def test_counts_are_drawn_evenly_and_are_in_the_protocol(freeze: Freeze) -> None:
    config = RetrievalConfig(k=10, num_queries=12, num_database=60)
    evaluation = Retrieval(config).evaluate(freeze({"train": blobs(200), "test": blobs(40, seed=1)}))
    assert "12 queries of test against 60 items of train" in evaluation.protocol
    assert {score.n for score in evaluation.scores} == {12}
    chance = {score.metric: score.chance for score in evaluation.scores}["precision_cosine_at_10"]
    assert chance == pytest.approx(0.25)  # 15 of 60 for each class


def test_k_is_capped_at_the_database_size_with_a_note(freeze: Freeze) -> None:
    evaluation = Retrieval(RetrievalConfig()).evaluate(freeze({"train": blobs(40), "test": blobs(8, seed=1)}))
    assert evaluation.notes == ["k capped at 40, the size of the database (asked: 1,000)"]
    scores = values(evaluation)
    assert scores["map_cosine_at_40"] == pytest.approx(scores["map_cosine"], abs=1e-12)


def test_several_labels_an_item_work_like_classes_where_each_has_one(freeze: Freeze) -> None:
    train, test = blobs(80), blobs(20, seed=1)
    hot = {name: (part[0], F.one_hot(part[1], 4).bool()) for name, part in {"train": train, "test": test}.items()}
    config = RetrievalConfig(k=10)
    first, second = (Retrieval(config).evaluate(freeze(s)) for s in ({"train": train, "test": test}, hot))
    assert values(first) == values(second)
    assert "relevant: a label in common" in second.protocol


@pytest.mark.parametrize(
    ("config", "changes", "reason"),
    [
        (RetrievalConfig(), {"num_classes": None}, "needs labels"),
        (RetrievalConfig(), {"splits": {"train": 5}}, "needs a test split"),
        (RetrievalConfig(num_database=9), {}, "9 items are asked of train, which has 5"),
        (RetrievalConfig(), {"num_classes": None, "num_labels": 3}, None),
    ],
)
def test_data_that_cannot_be_searched_is_refused_with_a_reason(
    config: RetrievalConfig, changes: dict[str, object], reason: str | None
) -> None:
    spec = {"shape": (1, 8, 8), "splits": {"train": 5, "test": 5}, "num_classes": 2} | changes
    assert Retrieval(config).skip_reason(DataSpec(**spec), Objective) == reason  # type: ignore[arg-type, type-abstract]  # not read


def test_parameters_out_of_range_and_unknown_embeddings_are_refused(freeze: Freeze) -> None:
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        RetrievalConfig(k=0)
    with pytest.raises(BenchError, match="no embedding named 'nope'"):
        Retrieval(RetrievalConfig(embedding="nope")).evaluate(freeze({"train": blobs(40), "test": blobs(8, seed=1)}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_values(freeze: Freeze) -> None:
    splits = {"train": blobs(400), "test": blobs(80, seed=1)}
    first, second = (
        values(Retrieval(RetrievalConfig(k=50)).evaluate(freeze(splits, device=d))) for d in ("cpu", "cuda")
    )
    assert first == pytest.approx(second, abs=1e-3)


def test_a_k_of_the_size_of_the_database_needs_no_note(freeze: Freeze) -> None:
    parts = {"train": blobs(40), "test": blobs(8, seed=1)}
    assert list(Retrieval(RetrievalConfig(k=40)).evaluate(freeze(parts)).notes) == []
