"""An index finds most of what exact search finds, and nothing else."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Embedded, Evaluator, Frozen
from bench_core.evaluation import rows
from bench_core.evaluation.approximate_search import (
    Search,
    describe_search,
    inverted_lists,
    neighbour_search,
)
from bench_core.evaluation.rows import as_features
from bench_evaluators.knn import KNN, KNNConfig
from bench_evaluators.retrieval import Retrieval, RetrievalConfig


def clusters(items: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(8, (items,), generator=rng)
    return 3 * F.one_hot(labels, 16) + torch.randn(items, 16, generator=rng), labels


@pytest.mark.parametrize("search", ["ivf", "hnsw"])
def test_index_finds_most_of_the_nearest_items_with_their_cosines(search: Search) -> None:
    (database, _), (queries, _) = clusters(3000), clusters(40, seed=1)
    exact, expected = neighbour_search(database)(queries, 20)
    values, index = neighbour_search(database, search=search)(queries, 20)
    cosines = F.normalize(queries) @ F.normalize(database).T
    torch.testing.assert_close(cosines.gather(1, index), values)
    assert (values >= exact[:, -1:] - 1e-6).double().mean() > 0.8
    assert (index[:, 0] == expected[:, 0]).double().mean() > 0.8
    again = neighbour_search(database, search=search)(queries, 20)
    assert torch.equal(again[1], index)


@pytest.mark.parametrize("search", ["ivf", "hnsw"])
def test_index_of_blocks_is_that_of_the_whole(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    (database, _), (queries, _) = clusters(3000), clusters(40, seed=1)
    whole = neighbour_search(database, search=search)(queries, 20)
    monkeypatch.setattr(rows, "ONE_BLOCK", 1000)
    monkeypatch.setattr(rows, "BLOCK", 7000)
    blocks = neighbour_search(as_features(database), search=search)(as_features(queries), 20)
    assert (blocks[1] == whole[1]).double().mean() > 0.99


def test_query_for_which_too_few_are_found_is_searched_exactly() -> None:
    (database, _), (queries, _) = clusters(3000), clusters(10, seed=1)
    values, _ = neighbour_search(database, search="ivf")(queries, 2900)  # more than the searched lists hold
    torch.testing.assert_close(values, neighbour_search(database)(queries, 2900)[0])


def test_lists_grow_with_the_root_of_the_items() -> None:
    assert inverted_lists(2_000_000) == (5657, 353)
    assert inverted_lists(390) == (10, 8)
    assert inverted_lists(5) == (1, 1)
    assert describe_search("exact", 5) == ""
    assert "5,657 inverted lists (faiss), of which 353" in describe_search("ivf", 2_000_000)


@pytest.mark.parametrize(
    ("task", "exact"),
    [
        (KNN(KNNConfig(search="ivf")), KNN(KNNConfig())),
        (Retrieval(RetrievalConfig(search="ivf")), Retrieval(RetrievalConfig())),
    ],
)
def test_protocol_says_that_the_search_is_approximate(task: Evaluator, exact: Evaluator) -> None:
    parts = {
        name: Embedded({"features": x}, y)
        for name, (x, y) in {"train": clusters(800), "test": clusters(60, seed=1)}.items()
    }
    data = DataSpec(shape=(16,), splits={"train": 800, "test": 60}, num_classes=8)
    frozen = Frozen(parts, data, 0, torch.device("cpu"), None, None)  # type: ignore[arg-type]  # never called
    found, expected = task.evaluate(frozen), exact.evaluate(frozen)
    assert "searched approximately: 20 inverted lists (faiss), of which 8 are compared" in found.protocol
    assert "approximately" not in expected.protocol
    for score, other in zip(found.scores, expected.scores, strict=True):
        assert score.value == pytest.approx(other.value, abs=0.1)
