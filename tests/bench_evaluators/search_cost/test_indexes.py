import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.evaluation.nearest_neighbours import top_k
from bench_evaluators.search_cost.indexes import (
    KINDS,
    KNOB,
    Kind,
    approximate_cost,
    exact_cost,
    num_lists,
    pq_shape,
)


def directions(items: int, dims: int = 16, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(items, dims, generator=torch.Generator().manual_seed(seed)), dim=1)


QUERIES, DATABASE = directions(50, seed=1), directions(800)


def test_searching_every_list_is_exact_search() -> None:
    lists = num_lists(800)
    (search,) = approximate_cost("ivf_flat", QUERIES, DATABASE, 10, [lists]).searches
    assert search.recall == 1
    assert search.distances == 800 + lists


@pytest.mark.parametrize("kind", KINDS)
def test_larger_settings_have_no_less_recall_and_more_distances(kind: Kind) -> None:
    cost = approximate_cost(kind, QUERIES, DATABASE, 10, [1, 4, 16])
    few, more, most = cost.searches
    assert few.recall < more.recall + 0.02 <= most.recall + 0.04
    assert few.distances < more.distances < most.distances <= 800 + num_lists(800)
    assert [s.setting for s in cost.searches] == [1, 4, 16]
    assert all(s.ms > 0 for s in cost.searches)


def test_recall_is_the_part_of_the_true_neighbours_that_is_found() -> None:
    import faiss

    (search,) = approximate_cost("hnsw", QUERIES, DATABASE, 10, [10]).searches
    index = faiss.IndexHNSWFlat(16, 32, faiss.METRIC_INNER_PRODUCT)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    index.add(DATABASE.numpy())
    faiss.omp_set_num_threads(threads)
    index.hnsw.efSearch = 10
    returned, (_, true) = index.search(QUERIES.numpy(), 10)[1], top_k(QUERIES, DATABASE, 10)
    same = [len(set(a) & set(b)) / 10 for a, b in zip(returned.tolist(), true.tolist(), strict=True)]
    assert search.recall == pytest.approx(sum(same) / 50)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_same_twice(kind: Kind) -> None:
    first, second = (approximate_cost(kind, QUERIES, DATABASE, 10, [4]) for _ in range(2))
    assert first.bytes_per_item == second.bytes_per_item
    assert (first.searches[0].recall, first.searches[0].distances) == (
        second.searches[0].recall,
        second.searches[0].distances,
    )


def test_bytes_are_those_of_the_vectors_and_of_what_the_index_adds() -> None:
    exact = exact_cost(QUERIES, DATABASE, 10)
    assert exact.bytes_per_item == pytest.approx(4 * 16, rel=0.01)
    assert exact.searches[0].distances == 800
    graph = approximate_cost("hnsw", QUERIES, DATABASE, 10, [16]).bytes_per_item
    assert 4 * 16 + 8 * 32 < graph < 4 * 16 + 10 * 32
    assert approximate_cost("ivf_pq", QUERIES, DATABASE, 10, [1]).bytes_per_item < 32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("database", [torch.ones(100, 7) / 7**0.5, torch.zeros(100, 7), directions(12, 1)])
def test_equal_items_are_all_neighbours(kind: Kind, database: Tensor) -> None:
    cost = approximate_cost(kind, database[:5], database, 3, [num_lists(len(database)) if "ivf" in kind else 64])
    assert cost.searches[0].recall == 1


def test_lists_and_centroids_are_limited_by_the_number_of_items() -> None:
    assert [num_lists(n) for n in (1, 78, 100, 1257, 10_000, 1_000_000)] == [1, 2, 2, 32, 256, 4000]
    assert pq_shape(10_000, 128) == (16, 8)
    assert pq_shape(1257, 64) == (16, 5)
    assert pq_shape(10, 7) == (1, 1)
    assert pq_shape(10_000, 12) == (3, 8)
    assert set(KNOB) == set(KINDS)
