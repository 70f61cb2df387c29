from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Evaluation, Frozen, Objective
from bench_core.errors import BenchError
from bench_evaluators.search_cost.evaluator import SWEEP, SearchCost, SearchCostConfig, _sweep

Freeze = Callable[..., Frozen]


def part(items: int, seed: int = 0, spread: float = 1.0) -> tuple[dict[str, Tensor], Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(items) % 20
    centres = torch.randn(20, 32, generator=torch.Generator().manual_seed(9))
    return {"features": centres[labels] + spread * torch.randn(items, 32, generator=rng)}, labels


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_first_score_is_recall_and_costs_follow(freeze: Freeze) -> None:
    evaluation = SearchCost(SearchCostConfig()).evaluate(freeze({"train": part(800), "test": part(60, seed=1)}))
    scores = values(evaluation)
    assert list(scores) == [
        f"{what}_{kind}" for what in ("recall_at_10", "distances", "bytes") for kind in ("ivf_pq", "ivf_flat", "hnsw")
    ]
    assert scores["recall_at_10_hnsw"] > 0.95
    assert scores["recall_at_10_ivf_pq"] < scores["recall_at_10_ivf_flat"]
    assert scores["bytes_ivf_pq"] < scores["bytes_ivf_flat"] < scores["bytes_hnsw"]
    assert evaluation.scores[0].chance == 10 / 800
    assert [s.higher_is_better for s in evaluation.scores] == [True] * 3 + [False] * 6


def test_times_are_in_curves_and_notes_and_in_no_score(freeze: Freeze) -> None:
    evaluation = SearchCost(SearchCostConfig()).evaluate(freeze({"train": part(800), "test": part(60, seed=1)}))
    assert not any(s.unit in ("s", "ms") for s in evaluation.scores)
    assert [note.partition(":")[0] for note in evaluation.notes] == ["exact", "ivf_pq", "ivf_flat", "hnsw"]
    for kind, curve in evaluation.curves.items():
        assert len({len(series) for series in curve.values()}) == 1
        setting = curve["efSearch" if kind == "hnsw" else "nprobe"].index(64 if kind == "hnsw" else 8)
        assert curve["recall"][setting] == values(evaluation)[f"recall_at_10_{kind}"]
        assert curve["distances"][setting] == values(evaluation)[f"distances_{kind}"]
    assert max(evaluation.curves["ivf_flat"]["nprobe"]) <= 20  # there are 20 lists


def test_clusters_are_found_with_few_lists_and_noise_is_not(freeze: Freeze) -> None:
    config = SearchCostConfig(num_probes=1)
    tight, loose = (
        values(SearchCost(config).evaluate(freeze({"train": part(800, spread=s), "test": part(60, seed=1, spread=s)})))[
            "recall_at_10_ivf_flat"
        ]
        for s in (0.2, 20.0)
    )
    assert tight > 0.9 > loose + 0.2


def test_counts_are_capped_with_a_note(freeze: Freeze) -> None:
    config = SearchCostConfig(num_queries=9, num_database=100)
    evaluation = SearchCost(config).evaluate(freeze({"train": part(300), "test": part(60, seed=1)}))
    assert "9 queries of test against 100 items of train" in evaluation.protocol
    few = SearchCost(SearchCostConfig()).evaluate(freeze({"train": part(6), "test": part(3, seed=1)}))
    assert few.notes[0] == "k capped at 6, the size of the database (asked: 10)"
    assert values(few)["recall_at_6_ivf_flat"] == 1


def test_no_labels_are_needed_but_two_splits_and_the_embedding_are(freeze: Freeze) -> None:
    task = SearchCost(SearchCostConfig())
    spec = {"shape": (4,), "splits": {"train": 5, "query": 2, "database": 3}}
    assert task.skip_reason(DataSpec(**spec), Objective) is None  # type: ignore[arg-type, type-abstract]  # not read
    only = DataSpec(shape=(4,), splits={"train": 5})
    assert task.skip_reason(only, Objective) == "needs a test split"  # type: ignore[type-abstract]  # not read
    with pytest.raises(BenchError, match="no embedding named 'latent'"):
        SearchCost(SearchCostConfig(embedding="latent")).evaluate(freeze({"train": part(6), "test": part(3)}))
    with pytest.raises(ValueError, match="num_probes must be >= 1, got 0"):
        SearchCostConfig(num_probes=0)


def test_no_more_lists_are_searched_than_there_are() -> None:
    lists = [value for value in SWEEP["nprobe"] if value <= 8]
    assert _sweep("nprobe", 4, 8) == sorted({4, *lists})
    assert _sweep("efSearch", 16, 1) == sorted({16, *SWEEP["efSearch"]})  # HNSW has no lists
