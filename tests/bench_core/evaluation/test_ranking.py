"""Measures of rankings against slow computations over all orders of ties."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode

from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.ranking import (
    average_precision,
    average_precisions,
    ball_precision_recall,
    expected_average_precision,
    expected_precision,
    list_average_precision,
    relevance,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def groups(distances: list[int], relevant: list[int]) -> tuple[Tensor, Tensor]:
    """Make the histograms of one query from the distance and relevance of each item."""
    bins = torch.tensor(distances)
    items = torch.bincount(bins, minlength=6)[None]
    return items, torch.bincount(bins, weights=torch.tensor(relevant).double(), minlength=6)[None]


def ap_of_order(relevant: list[int], k: int | None = None) -> float:
    """Compute the average precision of a list rank by rank; at k divided by min(R, k)."""
    k, total, hits, precisions = k or len(relevant), sum(relevant), 0, 0.0
    for rank, hit in enumerate(relevant[:k], 1):
        hits += hit
        precisions += hit * hits / rank
    return precisions / min(total, k) if total else 0.0


def mean_over_orders(distances: list[int], relevant: list[int], k: int | None = None) -> float:
    """Average the average precision over all orders of the items that sort the distances."""
    orders = [o for o in permutations(range(len(distances))) if sorted(distances) == [distances[i] for i in o]]
    return sum(ap_of_order([relevant[i] for i in o], k) for o in orders) / len(orders)


ranked = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6)


def test_expected_average_precision_of_a_worked_example() -> None:
    value = expected_average_precision(*groups([0, 1, 1, 1, 2], [1, 0, 1, 0, 1])).item()
    assert value == pytest.approx((1 + (2 / 2 + 2 / 3 + 2 / 4) / 3 + 3 / 5) / 3, abs=1e-15)
    assert value == pytest.approx(0.774074, abs=5e-7)


@given(ranked)
@settings(max_examples=50, deadline=None)
def test_expected_average_precision_is_the_mean_over_all_orders_of_ties(items: list[tuple[int, int]]) -> None:
    distances, relevant = [d for d, _ in items], [r for _, r in items]
    expected = mean_over_orders(distances, relevant)
    assert expected_average_precision(*groups(distances, relevant)).item() == pytest.approx(expected, abs=1e-12)
    assert average_precision(
        -torch.tensor(distances).float(), torch.tensor(relevant, dtype=torch.bool)
    ) == pytest.approx(expected, abs=1e-12)


@given(ranked, st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_measures_at_k_are_means_over_all_orders_of_ties(items: list[tuple[int, int]], k: int) -> None:
    distances, relevant, k = [d for d, _ in items], [r for _, r in items], min(k, len(items))
    counts = groups(distances, relevant)
    assert expected_average_precision(*counts, k).item() == pytest.approx(
        mean_over_orders(distances, relevant, k), abs=1e-12
    )
    orders = [o for o in permutations(range(len(items))) if sorted(distances) == [distances[i] for i in o]]
    precision = sum(sum(relevant[i] for i in o[:k]) / k for o in orders) / len(orders)
    assert expected_precision(*counts, k).item() == pytest.approx(precision, abs=1e-12)


def test_expected_average_precision_lies_between_the_worst_and_the_best_order_of_ties() -> None:
    code, labels = draw(300, 8) > 0.5, (draw(300, seed=1) * 4).long()
    items, relevant = hamming_histograms(code[:40], code[40:], labels[:40], labels[40:])
    expected = expected_average_precision(items, relevant)
    distance = (code[:40, None] ^ code[None, 40:]).sum(2)
    for query in range(40):
        hit = labels[40:] == labels[query]
        orders = [torch.argsort(distance[query] * 2 + key) for key in (hit.int(), 1 - hit.int())]
        worst, best = (ap_of_order(hit[order].int().tolist()) for order in orders)
        assert worst < expected[query] < best


def test_query_without_a_relevant_item_has_average_precision_0() -> None:
    assert expected_average_precision(*groups([0, 1, 1], [0, 0, 0])).item() == 0
    assert average_precision(torch.tensor([0.3, 0.1]), torch.tensor([False, False])) == 0
    assert list_average_precision(torch.zeros(1, 4, dtype=torch.bool), torch.zeros(1)).item() == 0


def test_items_with_several_labels_are_relevant_if_they_share_one() -> None:
    queries = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    database = torch.tensor([[1, 1, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]]).bool()
    assert relevance(queries, database).tolist() == [[True, True, False, False], [False] * 4]


def test_average_precision_of_distinct_scores_equals_the_usual_loop() -> None:
    scores, relevant = draw(200), draw(200, seed=1) > 0.7
    total = 0.0
    order = np.argsort(-scores.numpy())
    positions = np.flatnonzero(relevant.numpy()[order]) + 1
    for count, position in enumerate(positions, 1):  # the body of CalcTopMap in hashing repositories
        total += count / position
    assert average_precision(scores, relevant) == pytest.approx(total / len(positions), abs=1e-12)


def test_average_precision_at_k_depends_on_the_divisor() -> None:
    hits = torch.tensor([[True, False, False, True]])
    assert list_average_precision(hits, torch.tensor([10]).clamp(max=4)).item() == pytest.approx((1 + 2 / 4) / 4)
    assert list_average_precision(hits, hits.sum(1)).item() == pytest.approx((1 + 2 / 4) / 2)


def test_precision_and_recall_within_radius_2_by_hand() -> None:
    items = torch.tensor([[1, 0, 3, 4], [0, 0, 0, 8]])
    relevant = torch.tensor([[1, 0, 1, 2], [0, 0, 0, 4]])
    precision, recall = ball_precision_recall(items, relevant)
    assert precision[:, 2].tolist() == [2 / 4, 0]  # an empty ball has precision 0
    assert recall[:, 2].tolist() == [2 / 4, 0]
    assert precision[:, 3].tolist() == [4 / 8, 4 / 8]


def test_average_precision_of_a_perfect_ranking_never_exceeds_1() -> None:
    for items in range(100, 400):
        assert average_precision(-torch.arange(items).float(), torch.ones(items, dtype=torch.bool)) <= 1


RNG = torch.Generator().manual_seed(0)


def rows(levels: int, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Make scores of `levels` values, and relevance: nothing in the first row, everything in the second."""
    scores = torch.randint(levels, (5, count), generator=RNG).float()
    relevant = torch.rand(5, count, generator=RNG) < 0.3
    relevant[0], relevant[1] = False, True
    return scores, relevant


@pytest.mark.parametrize("levels", [1, 3, 10**6])
def test_average_precisions_of_many_rows_equal_average_precision_of_each(levels: int) -> None:
    scores, relevant = rows(levels)
    each = [average_precision(score, hits) for score, hits in zip(scores, relevant, strict=True)]
    assert average_precisions(scores, relevant).tolist() == pytest.approx(each, abs=1e-12)


def test_average_precisions_by_hand() -> None:
    scores, relevant = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, False, True]])
    assert average_precisions(scores, relevant).tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2])


@pytest.mark.usefixtures("fake_cuda")
def test_average_precisions_never_reads_a_value_from_the_gpu() -> None:
    with FakeTensorMode():
        scores = torch.rand(5, 60, device="cuda")
        assert average_precisions(scores, scores > 0.5).device.type == "cuda"
