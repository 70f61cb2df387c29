from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import BenchError, DataSpec, Embedded, Evaluation, Frozen, Objective
from bench_evaluators.hashing import Hashing, HashingConfig
from bench_evaluators.retrieval import Retrieval, RetrievalConfig

Freeze = Callable[..., Frozen]
Part = tuple[dict[str, Tensor], Tensor]


def blobs(items: int, bits: int | None = None, classes: int = 4, seed: int = 0, signal: float = 2) -> Part:
    labels = torch.arange(items) % classes
    noise = torch.randn(items, 40, generator=torch.Generator().manual_seed(seed))
    features = F.one_hot(labels, 40) * signal + noise
    return {"features": features} | ({} if bits is None else {"code": features[:, :bits] > 0.5}), labels


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_lsh_and_the_methods_own_code_score_as_in_the_task_retrieval(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(200, bits=12), "test": blobs(40, bits=12, seed=1)})
    scores = values(Hashing(HashingConfig(code_lengths=(16, 8))).evaluate(frozen))
    retrieval = values(Retrieval(RetrievalConfig(code_lengths=(16, 12, 8))).evaluate(frozen))
    assert scores["map_lsh_16_bits"] == retrieval["map_hamming_16_bits"]
    assert scores["map_lsh_8_bits"] == retrieval["map_hamming_8_bits"]
    assert scores["map_code"] == pytest.approx(retrieval["map_hamming_12_bits"], abs=1e-15)
    assert scores["map_cosine"] == pytest.approx(retrieval["map_cosine"], abs=1e-15)
    assert scores["empty_radius_2"] == pytest.approx(retrieval["empty_radius_2_12_bits"], abs=1e-15)
    assert scores["precision_radius_2"] == pytest.approx(retrieval["precision_radius_2_12_bits"], abs=1e-15)
    assert (scores["distinct_codes"], scores["code_bits"]) == (retrieval["distinct_codes_12_bits"], 12)


def test_own_code_is_compared_with_itq_of_its_length(freeze: Freeze) -> None:
    evaluation = Hashing(HashingConfig()).evaluate(
        freeze({"train": blobs(200, bits=12), "test": blobs(40, bits=12, seed=1)})
    )
    scores = values(evaluation)
    assert [s.metric for s in evaluation.scores][:3] == ["map_itq_32_bits", "map_code", "code_minus_itq"]
    assert scores["code_minus_itq"] == pytest.approx(scores["map_code"] - scores["map_itq_12_bits"], abs=1e-12)
    assert {s.embedding for s in evaluation.scores[3:]} == {
        "features", "itq(features)", "pcah(features)", "lsh(features)", "code"
    }  # fmt: skip
    assert evaluation.curves["itq"]["bits"] == [12, 16, 32, 64]
    assert evaluation.curves["code"]["map"] == [scores["map_code"]]


def test_method_without_a_code_is_ranked_by_itq(freeze: Freeze) -> None:
    evaluation = Hashing(HashingConfig()).evaluate(freeze({"train": blobs(200), "test": blobs(40, seed=1)}))
    names = list(values(evaluation))
    assert names[0] == "map_itq_32_bits"
    assert "map_code" not in names
    assert {s.metric: s.embedding for s in evaluation.scores}["bit_entropy"] == "itq(features)"
    assert evaluation.notes == ["64 bits of 40 dimensions: PCAH's others are constant"]


def test_separated_classes_are_found_and_noise_is_at_chance(freeze: Freeze) -> None:
    def evaluate(signal: float) -> Evaluation:
        splits = {"train": blobs(400, signal=signal), "test": blobs(100, seed=1, signal=signal)}
        return Hashing(HashingConfig(code_lengths=(16,))).evaluate(freeze(splits))

    noise, signal = evaluate(0), evaluate(8)
    for score in noise.scores[:4]:
        assert score.chance is not None
        assert score.value == pytest.approx(score.chance, abs=0.02)
    assert values(signal)["map_itq_16_bits"] > 0.9
    assert values(signal)["map_cosine"] > 0.99


def test_constant_features_and_codes_score_the_floor(freeze: Freeze) -> None:
    labels = torch.arange(60) % 3
    part = {"features": torch.full((60, 5), 0.3), "code": torch.ones(60, 8, dtype=torch.bool)}, labels
    evaluation = Hashing(HashingConfig()).evaluate(freeze({"train": part, "test": part}))
    for score in evaluation.scores:
        if score.metric.startswith("map"):
            assert score.value == pytest.approx(score.chance, abs=1e-12)
    scores = values(evaluation)
    assert (scores["distinct_codes"], scores["bit_entropy"], scores["bit_imbalance"]) == (1, 0, 0.5)
    assert (scores["bit_correlation"], scores["code_minus_itq"]) == (0, 0)


def test_queries_are_capped_and_one_label_an_item_equals_classes(freeze: Freeze) -> None:
    train, test = blobs(80), blobs(20, seed=1)
    hot = {name: (part[0], F.one_hot(part[1], 4).bool()) for name, part in {"train": train, "test": test}.items()}
    first = Hashing(HashingConfig()).evaluate(freeze({"train": train, "test": test}))
    second = Hashing(HashingConfig()).evaluate(freeze(hot))
    assert values(first) == values(second)
    assert "relevant: a label in common" in second.protocol
    capped = Hashing(HashingConfig(num_queries=8)).evaluate(freeze({"train": train, "test": test}))
    assert "8 queries of test against 80 items of train" in capped.protocol
    assert capped.scores[0].n == 8
    hot["test"][1][:5] = False
    assert "5 of 20 queries have no relevant item" in Hashing(HashingConfig()).evaluate(freeze(hot)).notes


def test_codes_are_learned_from_train_without_its_labels(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(80), "query": blobs(20, seed=1), "database": blobs(80, seed=2)})
    bare = Embedded(frozen.splits["train"].embeddings)
    unlabelled = replace(frozen, splits={**frozen.splits, "train": bare})
    for task in (Hashing(HashingConfig()), Retrieval(RetrievalConfig(k=80, num_queries=20, ranked_queries=20))):
        assert task.evaluate(unlabelled).scores == task.evaluate(frozen).scores


def test_unlabelled_data_is_skipped_and_parameters_out_of_range_are_refused() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5}, num_labels=2)
    assert Hashing(HashingConfig()).skip_reason(data, Objective) == "needs a test split"  # type: ignore[type-abstract]  # not read
    with pytest.raises(ValueError, match="num_queries must be >= 1, got 0"):
        HashingConfig(num_queries=0)
    for lengths in ((), (8, 8)):
        with pytest.raises(ValueError, match="code_lengths must be one or more different numbers"):
            HashingConfig(code_lengths=lengths)
    with pytest.raises(ValueError, match=r"code_lengths must each be >= 1, got \(0,\)"):
        HashingConfig(code_lengths=(0,))


def test_an_embedding_that_is_not_there_is_refused_by_name(freeze: Freeze) -> None:
    frozen = freeze({"train": blobs(40), "test": blobs(20, seed=1)})
    with pytest.raises(BenchError, match="no embedding named 'nope'"):
        Hashing(HashingConfig(embedding="nope")).evaluate(frozen)
