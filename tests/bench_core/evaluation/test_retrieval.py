import pytest
import torch

from bench_core import DataSpec, Embedded, Frozen
from bench_core.evaluation.ranking import average_precision
from bench_core.evaluation.retrieval import (
    Side,
    chance,
    cosine_average_precision,
    listed_relevance,
    note_of_none,
    read_side,
    split_names,
    why_no_search,
)

CPU = torch.device("cpu")


def hot(*rows: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor(rows).bool()


def side(labels: torch.Tensor, seed: int = 0) -> Side:
    return Side(
        torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(seed)),
        labels,
        None,
        torch.arange(len(labels)),
    )


def test_a_constant_code_gets_the_expected_precision_of_a_random_order() -> None:
    generator, total = torch.Generator().manual_seed(0), torch.tensor([3, 0, 10])
    found = torch.zeros(3, dtype=torch.float64)
    for _ in range(1000):
        scores = torch.rand(10, generator=generator)
        found += torch.tensor([average_precision(scores, torch.arange(10) < n) for n in total.tolist()])
    floor = chance(total, 10, 4)
    assert floor["map"] == pytest.approx(float(found.mean() / 1000), abs=0.01)
    assert floor["precision"] == pytest.approx((0.3 + 0 + 1) / 3)
    assert floor["map_at_k"] <= floor["map"]


def test_one_label_in_common_is_enough_and_queries_without_one_are_noted() -> None:
    queries = side(hot((1, 0, 1), (0, 0, 0), (0, 1, 0)))
    database = side(hot((1, 1, 0), (0, 0, 1), (1, 0, 0), (0, 0, 0)), seed=1)
    index = torch.tensor([[0, 3], [0, 1], [2, 0]])
    hits, total = listed_relevance(queries, database, index)
    assert hits.tolist() == [[True, False], [False, False], [False, True]]
    assert total.tolist() == [3, 0, 1]
    assert note_of_none(queries, database) == ["1 of 3 queries have no relevant item"]
    assert note_of_none(queries.first(1), database) == []
    assert cosine_average_precision(queries, database, CPU)[1] == 0


def test_cosine_average_precision_is_that_of_each_ranking() -> None:
    queries, database = side(torch.arange(6) % 3), side(torch.arange(30) % 3, seed=1)
    cosine = torch.nn.functional.cosine_similarity(queries.features[:, None], database.features[None], dim=2)
    expected = [average_precision(cosine[q], database.labels == queries.labels[q]) for q in range(6)]
    assert cosine_average_precision(queries, database, CPU).tolist() == pytest.approx(expected)


def test_query_and_database_go_before_test_and_train() -> None:
    assert split_names({"train", "test", "query", "database"}) == ("query", "database")
    assert split_names(["train", "test", "query"]) == ("test", "train")


def test_a_part_of_a_side_is_balanced_shuffled_and_the_same_at_a_seed() -> None:
    labels = torch.arange(40) % 4
    features = torch.arange(40.0)[:, None]
    data = DataSpec(shape=(1, 8, 8), splits={"test": 40}, num_classes=4)

    def read(seed: int, count: int | None) -> Side:
        splits = {"test": Embedded({"features": features, "code": features > 19}, labels)}
        frozen = Frozen(splits, data, seed, CPU, lambda: pytest.fail("unused"), lambda _: pytest.fail("unused"))
        return read_side(frozen, "test", "features", count)

    part = read(0, 12)
    assert part.labels.bincount().tolist() == [3, 3, 3, 3]
    assert torch.equal(part.labels, part.features[:, 0].long() % 4)
    assert part.code is not None
    assert torch.equal(part.code[:, 0], part.features[:, 0] > 19)
    assert torch.equal(part.features, read(0, 12).features)
    assert not torch.equal(read(0, None).features, read(1, None).features)
    assert not torch.equal(read(0, None).features, features)


def test_data_without_labels_splits_or_items_is_refused() -> None:
    splits = {"train": 9, "test": 5}
    assert why_no_search(DataSpec(shape=(4,), splits=splits)) == "needs labels"
    assert why_no_search(DataSpec(shape=(4,), splits={"train": 9}, num_labels=3)) == "needs a test split"
    data = DataSpec(shape=(4,), splits=splits, num_labels=3)
    assert why_no_search(data) is None
    assert why_no_search(data, (5, 10)) == "10 items are asked of train, which has 9"
