"""All pairs of a board at once: the same comparisons as one pair at a time."""

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from bench_core import Evaluation, PerItem, Score
from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.reports.comparison.all_pairs import TOO_MANY, compare_all
from bench_core.reports.comparison.many_items import ItemPair, distribution
from bench_core.reports.comparison.rows import Comparison, Line, compare
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.store.per_item import pack_items
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
Runs = Callable[..., list[dict[str, Any]]]


def packed(values: Any) -> dict[str, Any]:
    """Return items as a record keeps them: bool become hits, other values float32."""
    tensor = torch.as_tensor(np.asarray(values))
    score = Score(metric="top1", value=float(tensor.double().mean()), n=len(tensor))
    evaluation = Evaluation(scores=[score], protocol="", items={"top1": PerItem(tensor)})
    return pack_items(evaluation, {"test": len(tensor)})[0]["top1"]


@pytest.fixture
def runs(make_record: Make, make_score: Make) -> Runs:
    """Return a function: `runs("nac", values)` makes a record for each seed, of results (seeds, n) of test items."""

    def make(method: str, values: Any, task: str = "knn", keep: bool = True, **fields: Any) -> list[dict[str, Any]]:
        records = []
        for seed, of_seed in enumerate(values):
            record = make_record(method, task, seed, [make_score("top1", float(np.mean(of_seed)))], **fields)
            items = {"items": {"top1": packed(of_seed)}} if keep else {}
            records.append({**record, "key": key_of(record["doc"]), **items})
        return records

    return make


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


def assert_equal(found: Comparison, wanted: Comparison) -> None:
    """Compare all of two comparisons; the ends of bootstrap intervals up to the order in which numbers are added."""
    assert (found.first, found.second, found.notes) == (wanted.first, wanted.second, wanted.notes)
    assert len(found.lines) == len(wanted.lines)
    for one, other in zip(found.lines, wanted.lines, strict=True):
        assert _without_items(one) == _without_items(other)
        assert (one.items is None) == (other.items is None)
        if one.items and other.items:
            assert (one.items.split, one.items.items, one.items.seeds) == (
                other.items.split, other.items.items, other.items.seeds,
            )  # fmt: skip
            assert (one.items.mean, one.items.p) == (other.items.mean, other.items.p)
            assert (one.items.low, one.items.high) == pytest.approx((other.items.low, other.items.high), abs=1e-12)


def _without_items(line: Line) -> list[Any]:
    return [value for name, value in vars(line).items() if name != "items"]


def test_each_pair_of_random_rows_equals_compare(runs: Runs) -> None:
    """Rows differ in seeds, in tasks, in what they keep; results are hits, or numbers, of two sizes of test splits."""
    rng = np.random.default_rng(0)
    records = []
    for k, name in enumerate(("a", "b", "c", "d")):
        records += runs(name, rng.random((3 + k % 2, 60)) < 0.6 + 0.1 * k)
        records += runs(name, rng.random((2, 60)).astype(np.float32), "retrieval", keep=k != 1)
        if k > 1:
            records += runs(
                name,
                rng.random((1, 40)) < 0.5,
                "linear",
                dataset={"id": "bench-core/other"},
                names={"dataset": "other"},
            )
    records += runs("e", rng.random((1, 60)) < 0.9)
    records += runs(
        "alone", rng.random((1, 40)) < 0.9, "fewshot", dataset={"id": "bench-core/other"}, names={"dataset": "other"}
    )
    records += runs("b", np.ones((3, 60), bool), "clustering") + runs("c", np.zeros((3, 60), bool), "clustering")
    entries = entries_from(records)
    [found] = compare_all([entries])
    names = list(dict.fromkeys(entry.names["method"] for entry in entries))
    assert len(found.comparisons) > 8
    for pair in combinations(names, 2):
        key = pair if pair in found.comparisons else pair[::-1]
        if key in found.comparisons:
            assert_equal(found.comparisons[key], compare(entries, *key))
        else:
            with pytest.raises(RequestError, match="no task in common"):
                compare(entries, *pair)


def test_several_boards_are_compared_each_for_itself(runs: Runs) -> None:
    rng = np.random.default_rng(1)
    boards = [entries_from([*runs("a", rng.random((2, 50)) < 0.8), *runs("b", rng.random((2, 50)) < p)])
              for p in (0.2, 0.7)]  # fmt: skip
    for entries, found in zip(boards, compare_all(boards), strict=True):
        assert_equal(found.comparisons["a", "b"], compare(entries, "a", "b"))


def test_the_largest_scores_are_left_out_beyond_the_limit_and_a_note_says_so(runs: Runs) -> None:
    rng = np.random.default_rng(2)
    records = [record for name in "ab" for record in runs(name, rng.random((3, 30)) < 0.5)]
    records += [record for name in "ab" for record in runs(name, rng.random((3, 90)) < 0.5, "linear")]
    entries = entries_from(records)
    [found] = compare_all([entries], item_limit=100)
    lines = {line.column.task: line for line in found.comparisons["a", "b"].lines}
    assert lines["knn"].items is not None
    assert lines["linear"].items is None
    assert found.comparisons["a", "b"].notes == (f"linear on digits, convnet is not compared by item: {TOO_MANY}",)
    assert (
        lines["linear"].paired == {line.column.task: line for line in compare(entries, "a", "b").lines}["linear"].paired
    )


def test_of_too_many_rows_the_first_ones_in_the_given_order_are_compared(runs: Runs) -> None:
    rng = np.random.default_rng(4)
    entries = entries_from([record for name in "abcd" for record in runs(name, rng.random((2, 30)) < 0.5)])
    [found] = compare_all([entries], [["d", "b", "nobody"]], line_limit=3)
    assert (found.rows, found.left_out) == (["d", "b", "a"], ["c"])
    assert list(found.comparisons) == [("d", "b"), ("d", "a"), ("b", "a")]
    assert_equal(found.comparisons["d", "a"], compare(entries, "d", "a"))


def test_hits_are_spread_over_the_differences_that_are_possible() -> None:
    first = np.array([[1, 1, 0, 1], [1, 1, 0, 0]], bool)
    second = np.array([[1, 0, 0, 0], [1, 0, 1, 0]], bool)
    found = distribution(ItemPair(dict(enumerate(map(packed, first))), dict(enumerate(map(packed, second))), (0, 1)))
    assert found is not None
    assert found.right == (2, 3, 1, 2)  # both, the first alone, the second alone, none
    assert found.edges == pytest.approx((-1.25, -0.75, -0.25, 0.25, 0.75, 1.25))
    assert found.counts == (0, 1, 1, 1, 1)  # items differ by 0, 1, -0.5, 0.5


def test_other_values_are_spread_over_equal_bins_around_0() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((1, 400)), rng.standard_normal((1, 400))
    pair = ItemPair({0: packed(first[0])}, {0: packed(second[0])}, (0,))
    found, turned = distribution(pair), distribution(ItemPair(pair.second, pair.first, (0,)))
    assert found is not None
    assert turned is not None
    assert (found.right, sum(found.counts), len(found.counts)) == (None, 400, 15)
    assert found.edges == pytest.approx([-edge for edge in found.edges[::-1]])
    assert turned.counts == found.counts[::-1]


def test_different_items_have_no_distribution() -> None:
    assert distribution(ItemPair({0: packed(np.ones(5))}, {0: packed(np.ones(6))}, (0,))) is None
    assert distribution(ItemPair({0: packed(np.ones(5))}, {}, (0,))) is None
