from collections.abc import Callable
from dataclasses import replace
from statistics import pstdev

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Embedded, Evaluation, Frozen, Objective, Score
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.nearest_neighbours import top_k_hamming
from bench_core.evaluation.ranking import expected_precision
from bench_core.store.per_item import ALL, pack_items, unpack_items
from bench_evaluators import hashing
from bench_evaluators.hashing import Hashing, HashingConfig
from bench_evaluators.retrieval import Retrieval, RetrievalConfig

Freeze = Callable[..., Frozen]
Part = tuple[dict[str, Tensor], Tensor]
SMALL = HashingConfig(code_lengths=(6,), k=10, lsh_draws=1)


def blobs(items: int, bits: int | None = None, classes: int = 4, seed: int = 0, signal: float = 2) -> Part:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 40, generator=torch.Generator().manual_seed(seed))
    features = F.one_hot(labels, 40) * signal + noise
    return {"features": features} | ({} if bits is None else {"code": features[:, :bits] > 0.5}), labels


def both(bits: int | None = None, train: int = 200) -> dict[str, Part]:
    return {"train": blobs(train, bits=bits), "test": blobs(40, bits=bits, seed=1)}


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def by_metric(evaluation: Evaluation) -> dict[str, Score]:
    return {score.metric: score for score in evaluation.scores}


def test_own_code_of_the_first_length_ranks_and_itq_of_this_length_stands_beside(freeze: Freeze) -> None:
    evaluation = Hashing(HashingConfig()).evaluate(freeze(both(bits=32)))
    first, scores = evaluation.scores[0], values(evaluation)
    assert [s.metric for s in evaluation.scores][:3] == ["map_code", "map_itq_32_bits", "map_cosine"]
    assert (first.embedding, first.ranks, first.caveat) == ("code", True, "")
    assert scores["code_minus_itq"] == pytest.approx(scores["map_code"] - scores["map_itq_32_bits"], abs=1e-12)
    assert scores["code_bits"] == 32
    assert "own code, else ITQ of features; codes of 32 bits rank" in evaluation.protocol


def test_method_without_a_code_is_ranked_by_itq_of_the_first_length_with_a_caveat(freeze: Freeze) -> None:
    evaluation = Hashing(HashingConfig()).evaluate(freeze(both()))
    scores = by_metric(evaluation)
    first = evaluation.scores[0]
    assert (first.metric, first.embedding) == ("map_code", "itq(features)")
    assert (first.ranks, first.caveat) == (True, "by ITQ of features, not learned")
    assert first.value == scores["map_itq_32_bits"].value
    assert {m for m in scores if not scores[m].caveat} == {
        "map_cosine", *(f"map_{code}_{bits}_bits" for code in ("itq", "pcah", "lsh") for bits in (32, 16, 64)),
    }  # fmt: skip  # these say by their names what they are
    assert all(score.ranks for score in evaluation.scores)
    assert "code_minus_itq" not in scores
    assert (scores["bit_entropy"].embedding, scores["code_bits"].value) == ("itq(features)", 32)
    assert evaluation.notes[-1] == "64 bits of 40 dimensions: PCAH's others are constant"


def test_a_code_of_another_length_is_shown_and_does_not_rank(freeze: Freeze) -> None:
    evaluation = Hashing(HashingConfig()).evaluate(freeze(both(bits=12)))
    first, scores = evaluation.scores[0], values(evaluation)
    assert (first.metric, first.embedding) == ("map_code", "code")
    assert (first.ranks, first.caveat) == (False, "a code of 12 bits; 32 rank")
    for score in evaluation.scores:  # all that follows from this code
        assert (score.ranks, bool(score.caveat)) == ((False, True) if score.embedding == "code" else (True, False))
    assert scores["code_minus_itq"] == pytest.approx(scores["map_code"] - scores["map_itq_12_bits"], abs=1e-12)
    assert {"map_itq_32_bits", "map_pcah_12_bits", "map_lsh_12_bits"} <= set(scores)
    assert evaluation.curves["itq"]["bits"] == [12, 16, 32, 64]
    assert evaluation.curves["code"]["map"] == [scores["map_code"]]
    of_its_length = Hashing(HashingConfig(code_lengths=(12,))).evaluate(freeze(both(bits=12))).scores[0]
    assert (of_its_length.value, of_its_length.ranks, of_its_length.caveat) == (first.value, True, "")


def test_a_very_long_code_is_measured_alone(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "LONGEST_COMPARED", 11)
    whole = Hashing(SMALL).evaluate(freeze(both(bits=12)))
    assert "code_minus_itq" not in values(whole)
    assert "map_itq_12_bits" not in values(whole)
    assert whole.scores[0].caveat == "a code of 12 bits; 6 rank"
    monkeypatch.setattr(hashing, "_COUNTS", 40)  # three queries at once
    assert Hashing(SMALL).evaluate(freeze(both(bits=12))).scores == whole.scores


def test_first_scores_of_all_methods_share_a_column_and_a_protocol(freeze: Freeze) -> None:
    evaluations = [Hashing(HashingConfig()).evaluate(freeze(both(bits))) for bits in (None, 12, 32)]
    firsts = [evaluation.scores[0] for evaluation in evaluations]
    assert len({(s.metric, s.unit, s.higher_is_better, s.n, s.chance) for s in firsts}) == 1
    assert len({evaluation.protocol for evaluation in evaluations}) == 1


def test_all_tasks_of_search_use_the_same_items(freeze: Freeze) -> None:
    frozen = freeze(both())
    first = Hashing(HashingConfig(num_queries=12, num_database=100)).evaluate(frozen)
    second = Retrieval(RetrievalConfig(num_queries=12, num_database=100)).evaluate(frozen)
    assert values(first)["map_cosine"] == values(second)["map_cosine"]
    assert torch.equal(first.items["map_code"].index, second.items["map_cosine"].index)  # type: ignore[arg-type]


def test_map_equals_a_plain_loop_over_distances(freeze: Freeze) -> None:
    splits = both(bits=6)
    (train, labels), (test, truth) = splits["train"], splits["test"]
    distances = (test["code"][:, None] != train["code"]).sum(2)
    expected = []
    for row, label in zip(distances, truth, strict=True):  # McSherry and Najork's sum over groups of ties
        total, seen, found = 0.0, 0, 0
        for distance in range(7):
            group = labels[row == distance] == label
            n, r = len(group), int(group.sum())
            rho = (r - 1) / (n - 1) if n > 1 else 0
            total += sum((r / n) * (found + 1 + i * rho) / (seen + i + 1) for i in range(n))
            seen, found = seen + n, found + r
        expected.append(total / found)
    evaluation = Hashing(SMALL).evaluate(freeze(splits))
    assert evaluation.scores[0].value == pytest.approx(sum(expected) / 40, abs=1e-9)
    kept = pack_items(evaluation, {"train": 200, "test": 40})[0]
    assert (list(kept), kept["map_code"]["which"]) == (["map_code"], ALL)
    assert unpack_items(kept["map_code"]).tolist() == pytest.approx(expected, abs=1e-6)


def test_perfect_codes_score_1_at_every_measure(freeze: Freeze) -> None:
    labels = torch.arange(40) % 4
    code = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    part = {"features": F.one_hot(labels, 8).float(), "code": code[labels].to(torch.uint8)}, labels
    scores = values(Hashing(SMALL).evaluate(freeze({"train": part, "test": part})))
    assert (scores["distinct_codes"], scores["code_bits"], scores["empty_radius_2"]) == (4, 6, 0)
    measures = "map_code", "map_code_at_10", "map_code_at_10_over_hits", "precision_code_at_10", "precision_radius_2"
    assert [scores[measure] for measure in measures] == [1] * 5


def test_constant_features_and_codes_score_the_floor(freeze: Freeze) -> None:
    labels = torch.arange(60) % 3
    part = {"features": torch.full((60, 5), 0.3), "code": torch.ones(60, 8, dtype=torch.bool)}, labels
    evaluation = Hashing(HashingConfig(k=30)).evaluate(freeze({"train": part, "test": part}))
    for score in evaluation.scores:
        if score.metric.startswith(("map", "precision_code")) and score.chance is not None:
            assert score.value == pytest.approx(score.chance, abs=1e-12), score.metric
    scores = values(evaluation)
    assert scores["precision_radius_2"] == pytest.approx(1 / 3)
    assert (scores["distinct_codes"], scores["bit_entropy"], scores["bit_imbalance"]) == (1, 0, 0.5)
    assert (scores["bit_correlation"], scores["code_minus_itq"]) == (0, 0)


def test_order_of_items_and_complement_of_codes_change_no_score(freeze: Freeze) -> None:
    train, test = both(bits=12).values()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(2))
    moved = {"features": train[0]["features"][order], "code": ~train[0]["code"][order]}, train[1][order]
    flipped = {"features": test[0]["features"], "code": ~test[0]["code"]}, test[1]
    config = HashingConfig(code_lengths=(12,), k=50)
    first = values(Hashing(config).evaluate(freeze({"train": train, "test": test})))
    second = values(Hashing(config).evaluate(freeze({"train": moved, "test": flipped})))
    code = "map_code", "map_code_at_50", "precision_code_at_50", "bit_correlation", "precision_radius_2"
    for measure in code:  # measures of drawn hashes differ, as their rotation starts from another order of sums
        assert first[measure] == pytest.approx(second[measure], abs=1e-12), measure


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
    config = HashingConfig(code_lengths=(4,), k=2)
    evaluation = Hashing(config).evaluate(freeze({"train": train, "test": test}))
    assert values(evaluation)["precision_radius_2"] == 1 / 2
    assert evaluation.curves["pr_4_bits"] == {
        "recall": pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 1]),
        "precision": pytest.approx([1, 1, 1 / 2, 2 / 3, 3 / 4]),
    }
    far = {"features": torch.eye(4)[:1], "code": torch.tensor([[1, 1, 0, 0]]).bool()}, torch.tensor([1])
    train[0]["code"][0] = True  # nothing is left within radius 1; radius 2 holds 1111 twice, of class 0
    scores = values(Hashing(config).evaluate(freeze({"train": train, "test": far})))
    assert (scores["precision_radius_2"], scores["empty_radius_2"]) == (0, 0)


def test_an_empty_ball_has_precision_0_and_is_counted(freeze: Freeze) -> None:
    train = {"features": torch.eye(2), "code": torch.zeros(2, 5).bool()}, torch.tensor([0, 1])
    test = {"features": torch.eye(2), "code": torch.tensor([[1] * 5, [0] * 5]).bool()}, torch.tensor([0, 1])
    scores = values(Hashing(SMALL).evaluate(freeze({"train": train, "test": test})))
    assert (scores["precision_radius_2"], scores["empty_radius_2"]) == (1 / 4, 1 / 2)


def test_lsh_is_the_mean_of_its_draws_which_differ_less_than_one_draw(freeze: Freeze) -> None:
    def lsh_scores(draws: int, seeds: int) -> list[float]:
        config = HashingConfig(code_lengths=(8,), lsh_draws=draws)
        return [values(Hashing(config).evaluate(frozen(seed)))["map_lsh_8_bits"] for seed in range(seeds)]

    def frozen(seed: int) -> Frozen:
        return freeze(both(train=60), seed)

    single, mean_of_9 = lsh_scores(1, 8), lsh_scores(9, 8)
    assert pstdev(mean_of_9) < 0.6 * pstdev(single)  # a third is expected
    assert sum(mean_of_9) / 8 == pytest.approx(sum(single) / 8, abs=3 * pstdev(single) / 8**0.5)
    assert lsh_scores(9, 1) == mean_of_9[:1]  # seeded


def test_means_over_draws_are_means_of_every_measure(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    plain = hashing.search

    def noted(*arguments: object) -> hashing.CodeResult:
        found.append(plain(*arguments))  # type: ignore[arg-type]  # as they come
        return found[-1]

    monkeypatch.setattr(hashing, "search", noted)
    evaluation = Hashing(HashingConfig(code_lengths=(8,), lsh_draws=3)).evaluate(freeze(both()))
    assert len(found) == 2 + 3  # ITQ, PCAH, LSH
    draws = found[2:]
    for name in ("bit_entropy", "empty_radius_2", "distinct_codes"):
        assert evaluation.curves["lsh"][name] == pytest.approx([sum(d.statistics[name] for d in draws) / 3])
    mean = sum(float(d.precisions.mean()) for d in draws) / 3
    assert values(evaluation)["map_lsh_8_bits"] == pytest.approx(mean, abs=1e-12)


def test_separated_classes_are_found_and_noise_is_at_chance(freeze: Freeze) -> None:
    def evaluate(signal: float) -> Evaluation:
        splits = {"train": blobs(400, signal=signal), "test": blobs(100, seed=1, signal=signal)}
        return Hashing(HashingConfig(code_lengths=(16,), lsh_draws=2)).evaluate(freeze(splits))

    noise, signal = evaluate(0), evaluate(8)
    for score in noise.scores[:4]:
        assert score.chance is not None
        assert score.value == pytest.approx(score.chance, abs=0.02)
    assert values(signal)["map_code"] > 0.9
    assert values(signal)["map_cosine"] > 0.99


def test_hashes_do_not_depend_on_the_place_of_the_features(freeze: Freeze) -> None:
    splits = both()
    moved = {name: ({"features": e["features"] + 64}, labels) for name, (e, labels) in splits.items()}
    original, shifted = (values(Hashing(HashingConfig()).evaluate(freeze(s))) for s in (splits, moved))
    for metric in ("map_code", "map_lsh_32_bits", "map_pcah_32_bits"):
        assert shifted[metric] == pytest.approx(original[metric], abs=2e-3)  # a bit may flip by rounding
    assert shifted["distinct_codes"] > 100


def test_queries_are_capped_and_one_label_an_item_equals_classes(freeze: Freeze) -> None:
    train, test = blobs(80), blobs(20, seed=1)
    hot = {name: (part[0], F.one_hot(part[1], 4).bool()) for name, part in {"train": train, "test": test}.items()}
    first = Hashing(HashingConfig()).evaluate(freeze({"train": train, "test": test}))
    second = Hashing(HashingConfig()).evaluate(freeze(hot))
    assert values(first) == values(second)
    assert "relevant: a label in common" in second.protocol
    assert first.notes[0] == "k capped at 80, the size of the database (asked: 1,000)"
    capped = Hashing(HashingConfig(num_queries=8, num_database=60)).evaluate(freeze({"train": train, "test": test}))
    assert "8 queries of test against 60 items of train" in capped.protocol
    assert capped.scores[0].n == 8
    hot["test"][1][:5] = False
    assert "5 of 20 queries have no relevant item" in Hashing(HashingConfig()).evaluate(freeze(hot)).notes


def test_codes_are_learned_from_train_without_its_labels(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(80), "query": blobs(20, seed=1), "database": blobs(80, seed=2)})
    bare = Embedded(frozen.splits["train"].embeddings)
    unlabelled = replace(frozen, splits={**frozen.splits, "train": bare})
    for task in (Hashing(HashingConfig()), Retrieval(RetrievalConfig(k=80))):
        assert task.evaluate(unlabelled).scores == task.evaluate(frozen).scores


def test_unusable_data_is_skipped_and_parameters_out_of_range_are_refused() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5}, num_labels=2)
    assert Hashing(HashingConfig()).skip_reason(data, Objective) == "needs a test split"  # type: ignore[type-abstract]  # not read
    data = replace(data, splits={"train": 5, "test": 5})
    reason = Hashing(HashingConfig(num_database=9)).skip_reason(data, Objective)  # type: ignore[type-abstract]  # not read
    assert reason == "9 items are asked of train, which has 5"
    with pytest.raises(ValueError, match="num_queries must be >= 1, got 0"):
        HashingConfig(num_queries=0)
    with pytest.raises(ValueError, match="lsh_draws must be >= 1, got 0"):
        HashingConfig(lsh_draws=0)
    for lengths in ((), (8, 8)):
        with pytest.raises(ValueError, match="code_lengths must be one or more different numbers"):
            HashingConfig(code_lengths=lengths)
    with pytest.raises(ValueError, match=r"code_lengths must each be >= 1, got \(0,\)"):
        HashingConfig(code_lengths=(0,))


def test_an_embedding_that_is_not_there_is_refused_by_name(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(40), "test": blobs(20, seed=1)})
    with pytest.raises(BenchError, match="no embedding named 'nope'"):
        Hashing(HashingConfig(embedding="nope")).evaluate(frozen)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_values(freeze: Freeze) -> None:
    first, second = (
        values(Hashing(HashingConfig(k=50)).evaluate(freeze(both(bits=32), device=d))) for d in ("cpu", "cuda")
    )
    assert first["map_code"] == pytest.approx(second["map_code"], abs=1e-12)
    assert first == pytest.approx(second, abs=1e-3)


def test_a_code_of_the_longest_length_is_compared_and_a_k_that_the_database_has_needs_no_note(
    freeze: Freeze, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "LONGEST_COMPARED", 12)
    evaluation = Hashing(replace(SMALL, k=200)).evaluate(freeze(both(bits=12, train=200)))
    assert "map_itq_12_bits" in values(evaluation)
    assert not any("capped" in note for note in evaluation.notes)
