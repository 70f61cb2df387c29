"""Queries, database, relevant items and chance levels of search tasks."""

import pytest
import torch

from bench_core import DataSpec, Embedded, Frozen
from bench_core.evaluation.ranking import average_precision
from bench_core.evaluation.retrieval import (
    SearchSet,
    chance,
    cosine_average_precision,
    listed_relevance,
    no_relevant_note,
    read_search_set,
    retrieval_skip_reason,
    split_names,
)

CPU = torch.device("cpu")


def hot(*rows: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(rows).bool()


def search_set(labels: torch.Tensor, seed: int = 0) -> SearchSet:
    return SearchSet(
        torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(seed)),
        labels,
        None,
        torch.arange(len(labels)),
    )


def features_of(items: SearchSet) -> torch.Tensor:
    assert isinstance(items.features, torch.Tensor)
    return items.features


def test_chance_is_the_expected_precision_of_a_random_order() -> None:
    generator, total = torch.Generator().manual_seed(0), torch.tensor([3, 0, 10])
    sums = torch.zeros(3, dtype=torch.float64)
    for _ in range(1000):
        scores = torch.rand(10, generator=generator)
        sums += torch.tensor([average_precision(scores, torch.arange(10) < n) for n in total.tolist()])
    constant = chance(total, 10, 4)
    assert constant["map"] == pytest.approx(float(sums.mean() / 1000), abs=0.01)
    assert constant["precision"] == pytest.approx((0.3 + 0 + 1) / 3)
    assert constant["map_at_k"] <= constant["map"]


def test_queries_without_a_shared_label_have_no_relevant_item_and_give_a_note() -> None:
    queries = search_set(hot((1, 0, 1), (0, 0, 0), (0, 1, 0)))
    database = search_set(hot((1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 0, 0)), seed=1)
    index = torch.tensor([[0, 3], [0, 1], [2, 0]])
    hits, total = listed_relevance(queries, database, index)
    assert hits.tolist() == [[True, False], [False, False], [False, True]]
    assert total.tolist() == [3, 0, 1]
    assert no_relevant_note(queries, database) == ["1 of 3 queries have no relevant item"]
    assert no_relevant_note(search_set(hot((1, 0, 1))), database) == []
    assert cosine_average_precision(queries, database, CPU)[1] == 0


def test_cosine_average_precision_equals_average_precision_of_each_query() -> None:
    queries, database = search_set(torch.arange(6) % 3), search_set(torch.arange(30) % 3, seed=1)
    cosine = torch.nn.functional.cosine_similarity(features_of(queries)[:, None], features_of(database)[None], dim=2)
    expected = [average_precision(cosine[q], database.labels == queries.labels[q]) for q in range(6)]
    assert cosine_average_precision(queries, database, CPU).tolist() == pytest.approx(expected)


def test_splits_query_and_database_are_preferred_to_test_and_train() -> None:
    assert split_names({"train", "test", "query", "database"}) == ("query", "database")
    assert split_names(["train", "test", "query"]) == ("test", "train")


def test_part_of_a_split_is_balanced_shuffled_and_set_by_the_seed() -> None:
    labels = torch.arange(40) % 4
    features = torch.arange(40.0)[:, None]
    data = DataSpec(shape=(1, 8, 8), splits={"test": 40}, num_classes=4)

    def read(seed: int, count: int | None) -> SearchSet:
        splits = {"test": Embedded({"features": features, "code": features > 19}, labels)}
        frozen = Frozen(splits, data, seed, CPU, lambda: pytest.fail("unused"), lambda _: pytest.fail("unused"))
        return read_search_set(frozen, "test", "features", count)

    part = read(0, 12)
    assert part.labels.bincount().tolist() == [3, 3, 3, 3]
    assert torch.equal(part.labels, features_of(part)[:, 0].long() % 4)
    assert part.code is not None
    assert torch.equal(part.code[:, 0], features_of(part)[:, 0] > 19)
    assert torch.equal(features_of(part), features_of(read(0, 12)))
    assert not torch.equal(features_of(read(0, None)), features_of(read(1, None)))
    assert not torch.equal(features_of(read(0, None)), features)


def test_datasets_without_labels_splits_or_enough_items_are_skipped() -> None:
    splits = {"train": 9, "test": 5}
    assert retrieval_skip_reason(DataSpec(shape=(4,), splits=splits)) == "needs labels"
    assert retrieval_skip_reason(DataSpec(shape=(4,), splits={"train": 9}, num_labels=3)) == "needs a test split"
    data = DataSpec(shape=(4,), splits=splits, num_labels=3)
    assert retrieval_skip_reason(data) is None
    assert retrieval_skip_reason(data, (5, 10)) == "10 items are asked of train, which has 9"
