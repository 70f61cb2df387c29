from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Evaluation, Frozen, Objective
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.nearest_neighbours import top_k_hamming
from bench_core.evaluation.ranking import expected_average_precision, expected_precision
from bench_core.store.per_item import ALL, pack_items, unpack_items
from bench_evaluators.retrieval import Retrieval, RetrievalConfig

Freeze = Callable[..., Frozen]
Part = tuple[dict[str, Tensor], Tensor]


def blobs(items: int, bits: int | None = None, classes: int = 4, seed: int = 0) -> Part:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 16, generator=torch.Generator().manual_seed(seed))
    features = F.one_hot(labels, 16) * 2 + noise
    return {"features": features} | ({} if bits is None else {"code": features[:, :bits] > 0.5}), labels


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def usual_loop(queries: Part, database: Part) -> float:
    """Return mAP@all by cosine, as hashing repositories compute it: sort, find the hits, average their precisions."""
    q, d = (F.normalize(part[0]["features"].double(), dim=1) for part in (queries, database))
    total = 0.0
    for query, label in zip(q, queries[1], strict=True):
        hits = (database[1] == label)[(d @ query).argsort(descending=True)].nonzero()[:, 0] + 1
        total += float((torch.arange(1, len(hits) + 1) / hits).mean())
    return total / len(q)


def test_map_by_cosine_equals_a_plain_loop(freeze: Freeze) -> None:
    train, test = blobs(120), blobs(30, seed=1)
    scores = values(Retrieval(RetrievalConfig(k=10)).evaluate(freeze({"train": train, "test": test})))
    assert scores["map_cosine"] == pytest.approx(usual_loop(test, train), abs=1e-6)
    q, d = (F.normalize(part[0]["features"], dim=1) for part in (test, train))
    hits = train[1][(q @ d.T).topk(10).indices] == test[1][:, None]
    assert scores["precision_cosine_at_10"] == pytest.approx(float(hits.double().mean()))
    precision = hits.double().cumsum(1) / torch.arange(1, 11)
    assert scores["map_cosine_at_10"] == pytest.approx(float((precision * hits).sum(1).mean() / 10), abs=1e-6)


def test_per_item_results_do_not_depend_on_the_order_of_queries(freeze: Freeze) -> None:
    splits = {"train": blobs(120, bits=6), "test": blobs(30, bits=6, seed=1)}
    evaluations = [Retrieval(RetrievalConfig(k=10)).evaluate(freeze(splits, seed)) for seed in (0, 1)]
    first, second = (pack_items(e, {"train": 120, "test": 30})[0]["map_hamming"] for e in evaluations)
    assert not torch.equal(*(e.items["map_hamming"].index for e in evaluations))  # type: ignore[arg-type]
    assert (first["which"], second["which"]) == (ALL, ALL)
    assert unpack_items(first).tolist() == pytest.approx(unpack_items(second).tolist(), abs=1e-6)
    [(code, labels), (query_code, query_labels)] = (
        (part["code"], part_labels) for part, part_labels in splits.values()
    )
    expected = expected_average_precision(*hamming_histograms(query_code, code, query_labels, labels))
    assert unpack_items(first).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_per_item_results_are_those_of_the_first_score(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(120), "test": blobs(30, seed=1)})
    evaluation = Retrieval(RetrievalConfig(k=10, num_queries=12, code_lengths=(8, 4))).evaluate(frozen)
    [kept] = pack_items(evaluation, frozen.data.splits)[0].values()
    assert list(evaluation.items) == ["map_hamming_8_bits"]
    assert (kept["n"], kept["which"] == ALL) == (12, False)


def test_perfect_codes_score_1_at_every_measure(freeze: Freeze) -> None:
    labels = torch.arange(40) % 4
    code = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    part = {"features": F.one_hot(labels, 8).float(), "code": code[labels].to(torch.uint8)}, labels
    evaluation = Retrieval(RetrievalConfig(k=10)).evaluate(freeze({"train": part, "test": part}))
    scores = values(evaluation)
    assert (scores.pop("distinct_codes"), scores.pop("code_bits"), scores.pop("empty_radius_2")) == (4, 6, 0)
    assert set(scores.values()) == {1.0}
    assert evaluation.scores[0].embedding == "code"


def test_constant_code_scores_chance_which_is_the_prevalence(freeze: Freeze) -> None:
    labels = torch.arange(400) % 4
    part = {"features": torch.ones(400, 8), "code": torch.ones(400, 24, dtype=torch.bool)}, labels
    evaluation = Retrieval(RetrievalConfig(k=100)).evaluate(freeze({"train": part, "test": part}))
    scores = {score.metric: score for score in evaluation.scores}
    for name in ("map_hamming", "map_hamming_at_100", "precision_hamming_at_100", "precision_radius_2"):
        assert scores[name].value == pytest.approx(scores[name].chance, abs=1e-12)
    assert scores["map_hamming"].value == pytest.approx(0.25, abs=0.02)  # a little above it, as R is finite
    assert scores["precision_radius_2"].value == pytest.approx(0.25)
    assert scores["distinct_codes"].value == 1


def test_order_of_items_and_complement_of_codes_change_no_score(freeze: Freeze) -> None:
    train, test = blobs(200, bits=12), blobs(40, bits=12, seed=1)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    moved = {"features": train[0]["features"][order], "code": ~train[0]["code"][order]}, train[1][order]
    flipped = {"features": test[0]["features"], "code": ~test[0]["code"]}, test[1]
    config = RetrievalConfig(k=50)
    first = values(Retrieval(config).evaluate(freeze({"train": train, "test": test})))
    second = values(Retrieval(config).evaluate(freeze({"train": moved, "test": flipped})))
    del first["map_hamming_at_50_over_hits"], second["map_hamming_at_50_over_hits"]  # the one measure of a drawn order
    assert first == pytest.approx(second, abs=1e-6)
    assert first["map_hamming"] == pytest.approx(second["map_hamming"], abs=1e-12)


def test_precision_over_the_lists_of_faiss_agrees_with_the_histograms() -> None:
    (train, labels), (test, truth) = blobs(2000, bits=12), blobs(50, bits=12, seed=1)
    items, relevant = hamming_histograms(test["code"], train["code"], truth, labels)
    distance, index = top_k_hamming(test["code"], train["code"], 2000)
    assert torch.equal(torch.stack([torch.bincount(row, minlength=13) for row in distance]).double(), items)
    hits = (labels[index] == truth[:, None]).double()
    for row in range(50):  # where a whole group ends, no tie is cut and the list has the expected precision
        for radius in range(13):
            k = int(items[row, : radius + 1].sum())
            if k:
                expected = expected_precision(items[row : row + 1], relevant[row : row + 1], k).item()
                assert hits[row, :k].mean().item() == pytest.approx(expected, abs=1e-12)


def test_precision_within_radius_2_and_the_curve_by_hand(freeze: Freeze) -> None:
    code = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]).bool()
    train = {"features": torch.eye(4), "code": code}, torch.tensor([0, 1, 0, 0])
    test = {"features": torch.eye(4)[:1], "code": torch.zeros(1, 4).bool()}, torch.tensor([0])
    evaluation = Retrieval(RetrievalConfig(k=2)).evaluate(freeze({"train": train, "test": test}))
    assert values(evaluation)["precision_radius_2"] == 1 / 2
    assert evaluation.curves["pr_4_bits"] == {
        "recall": pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 1]),
        "precision": pytest.approx([1, 1, 1 / 2, 2 / 3, 3 / 4]),
    }
    far = {"features": torch.eye(4)[:1], "code": torch.tensor([[1, 1, 0, 0]]).bool()}, torch.tensor([1])
    train[0]["code"][0] = True  # nothing is left within radius 1; radius 2 holds 1111 twice, of class 0
    scores = values(Retrieval(RetrievalConfig(k=2)).evaluate(freeze({"train": train, "test": far})))
    assert (scores["precision_radius_2"], scores["empty_radius_2"]) == (0, 0)


def test_an_empty_ball_has_precision_0_and_is_counted(freeze: Freeze) -> None:
    train = {"features": torch.eye(2), "code": torch.zeros(2, 5).bool()}, torch.tensor([0, 1])
    test = {"features": torch.eye(2), "code": torch.tensor([[1] * 5, [0] * 5]).bool()}, torch.tensor([0, 1])
    scores = values(Retrieval(RetrievalConfig(k=2)).evaluate(freeze({"train": train, "test": test})))
    assert (scores["precision_radius_2"], scores["empty_radius_2"]) == (1 / 4, 1 / 2)


def test_a_method_without_a_code_is_hashed_by_seeded_projections(freeze: Freeze) -> None:
    splits = {"train": blobs(200), "test": blobs(40, seed=1)}
    evaluation = Retrieval(RetrievalConfig(k=50)).evaluate(freeze(splits))
    assert evaluation.scores[0].embedding == "lsh(features)"
    assert values(evaluation)["code_bits"] == 32
    assert evaluation == Retrieval(RetrievalConfig(k=50)).evaluate(freeze(splits))
    assert evaluation.scores[0] != Retrieval(RetrievalConfig(k=50)).evaluate(freeze(splits, seed=1)).scores[0]


def test_projections_start_at_the_training_mean(freeze: Freeze) -> None:
    train, test = blobs(200), blobs(40, seed=1)
    moved = {
        name: ({"features": e["features"] + 64}, labels) for name, (e, labels) in {"train": train, "test": test}.items()
    }
    original, shifted = (
        values(Retrieval(RetrievalConfig(k=50)).evaluate(freeze(s))) for s in ({"train": train, "test": test}, moved)
    )
    assert shifted["map_hamming"] == pytest.approx(original["map_hamming"], abs=2e-3)  # a bit may flip by rounding
    assert shifted["distinct_codes"] > 100


def test_metrics_of_given_code_lengths_have_the_same_names_for_all_methods(freeze: Freeze) -> None:
    config = RetrievalConfig(k=50, code_lengths=(12, 8))
    hashing = Retrieval(config).evaluate(freeze({"train": blobs(200, bits=12), "test": blobs(40, bits=12, seed=1)}))
    unhashed = Retrieval(config).evaluate(freeze({"train": blobs(200), "test": blobs(40, seed=1)}))
    assert list(values(hashing)) == list(values(unhashed))
    assert hashing.scores[0].metric == "map_hamming_12_bits"
    scores = {s.metric: s.embedding for s in hashing.scores}
    assert (scores["map_hamming_12_bits"], scores["map_hamming_8_bits"]) == ("code", "lsh(features)")
    assert set(hashing.curves) == {"pr_12_bits", "pr_8_bits"}
    assert "12 bits from code, 8 bits from lsh(features)" in hashing.protocol


def test_query_and_database_splits_are_preferred(freeze: Freeze) -> None:
    part = blobs(40)
    splits = {"train": part, "test": part, "query": blobs(24, seed=1), "database": blobs(80, seed=2)}
    evaluation = Retrieval(RetrievalConfig(k=10)).evaluate(freeze(splits))
    assert "24 queries of query against 80 items of database" in evaluation.protocol


def test_counts_are_drawn_evenly_and_are_in_the_protocol(freeze: Freeze) -> None:
    config = RetrievalConfig(k=10, num_queries=12, num_database=60, ranked_queries=6)
    evaluation = Retrieval(config).evaluate(freeze({"train": blobs(200), "test": blobs(40, seed=1)}))
    assert "12 queries of test against 60 items of train" in evaluation.protocol
    assert "cosine and over_hits: 6 of the queries" in evaluation.protocol
    n = {score.metric: score.n for score in evaluation.scores}
    assert (n["map_hamming"], n["map_cosine"], n["map_hamming_at_10_over_hits"], n["distinct_codes"]) == (12, 6, 6, 60)
    chance = {score.metric: score.chance for score in evaluation.scores}["precision_radius_2"]
    assert chance == pytest.approx(0.25)  # 15 of 60 for each class


def test_k_is_capped_at_the_database_size_with_a_note(freeze: Freeze) -> None:
    evaluation = Retrieval(RetrievalConfig()).evaluate(freeze({"train": blobs(40), "test": blobs(8, seed=1)}))
    assert evaluation.notes == ["k capped at 40, the size of the database (asked: 1,000)"]
    scores = values(evaluation)
    assert scores["map_hamming_at_40"] == pytest.approx(scores["map_hamming"], abs=1e-12)
    drawn = scores["map_hamming_at_40_over_hits"]  # of one order of the ties, and of all items here
    assert drawn == pytest.approx(scores["map_hamming"], abs=0.03)


def test_several_labels_an_item_work_like_classes_where_each_has_one(freeze: Freeze) -> None:
    train, test = blobs(80, bits=12), blobs(20, bits=12, seed=1)
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
        (RetrievalConfig(num_queries=9), {}, "9 items are asked of test, which has 5"),
        (RetrievalConfig(), {"num_classes": None, "num_labels": 3}, None),
    ],
)
def test_data_that_cannot_be_searched_is_refused_with_a_reason(
    config: RetrievalConfig, changes: dict[str, object], reason: str | None
) -> None:
    spec = {"shape": (1, 8, 8), "splits": {"train": 5, "test": 5}, "num_classes": 2} | changes
    assert Retrieval(config).skip_reason(DataSpec(**spec), Objective) == reason  # type: ignore[arg-type, type-abstract]  # not read


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        RetrievalConfig(k=0)
    with pytest.raises(ValueError, match=r"code_lengths must differ from each other, got \(32, 32\)"):
        RetrievalConfig(code_lengths=(32, 32))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_values(freeze: Freeze) -> None:
    splits = {"train": blobs(400, bits=12), "test": blobs(80, bits=12, seed=1)}
    first, second = (
        values(Retrieval(RetrievalConfig(k=50)).evaluate(freeze(splits, device=d))) for d in ("cpu", "cuda")
    )
    assert first["map_hamming"] == pytest.approx(second["map_hamming"], abs=1e-12)
    assert first == pytest.approx(second, abs=1e-3)
