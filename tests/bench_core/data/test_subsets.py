"""Subsets of splits: sizes, balance over classes, and draws that never change."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core.contracts import Split
from bench_core.data import (
    Subsets,
    draw_index,
    ranks_in_class,
    subset,
    subset_counts,
    take,
)
from bench_core.data.subsets import draw, pooled
from bench_core.errors import ConfigError, DataMissingError, RequestError


@dataclass
class TensorReader:
    data: Tensor

    def __len__(self) -> int:
        return len(self.data)

    def read(self, index: Tensor) -> Tensor:
        return self.data[index]


def numbered(count: int, start: int = 0, classes: int = 4) -> Split:
    number = torch.arange(start, start + count)
    return Split(number.view(-1, 1).float(), number % classes, number.view(-1, 1).float())


def whole(name: str) -> Split:
    return numbered(40) if name == "train" else numbered(20, start=40)


def values(split: Split) -> list[int]:
    assert isinstance(split.inputs, Tensor)
    return [int(v) for v in split.inputs.flatten().tolist()]


def labels(split: Split) -> Tensor:
    assert split.labels is not None
    return split.labels


def test_without_sizes_both_splits_are_whole() -> None:
    assert subset_counts(Subsets(), 40, 20) == {"train": 40, "test": 20}
    assert values(subset(Subsets(), "train", whole)) == list(range(40))
    assert values(subset(Subsets(), "test", whole)) == list(range(40, 60))


@pytest.mark.parametrize("config", [Subsets(), Subsets(train_size=8), Subsets(num_queries=8)])
@pytest.mark.parametrize("rows", [39, 41])
def test_draw_does_not_hide_that_labels_belong_to_other_items(config: Subsets, rows: int) -> None:
    wrong = Split(numbered(40).inputs, torch.arange(rows) % 4)
    with pytest.raises(DataMissingError, match=rf"^it has 40 items, but labels of shape \({rows},\)\.$"):
        subset(config, "train", lambda name: wrong)


def test_sizes_are_balanced_over_classes_and_keep_index_order() -> None:
    config = Subsets(train_size=12, test_size=8)
    assert subset_counts(config, 40, 20) == {"train": 12, "test": 8}
    for name, each in (("train", 3), ("test", 2)):
        part = subset(config, name, whole)
        assert labels(part).bincount().tolist() == [each] * 4
        assert values(part) == sorted(values(part))


def test_num_queries_splits_the_pool_into_query_and_database() -> None:
    config = Subsets(num_queries=20, train_size=8)
    assert subset_counts(config, 40, 20) == {"train": 8, "query": 20, "database": 40}
    query, database, train = (subset(config, name, whole) for name in ("query", "database", "train"))
    assert sorted(values(query) + values(database)) == list(range(60))
    assert set(values(train)) < set(values(database))
    assert labels(query).bincount().tolist() == [5] * 4
    assert labels(train).bincount().tolist() == [2] * 4
    assert values(subset(Subsets(num_queries=20), "train", whole)) == values(database)


def test_draw_keeps_labels_and_factors_of_its_items() -> None:
    part = draw(numbered(40), 10)
    assert part.factors is not None
    assert torch.equal(part.factors, _inputs(part))
    assert torch.equal(labels(part), torch.tensor(values(part)) % 4)


def test_draw_depends_only_on_the_seed() -> None:
    assert values(draw(numbered(40), 10)) == values(draw(numbered(40), 10))
    assert values(draw(numbered(40), 10)) != values(draw(numbered(40), 10, seed=1))


def test_draws_never_change() -> None:
    # RandomState(0) draws 6 11 4 10 2 8 1 7 9: the first two of each class are 6 9, 11 2, 4 10
    assert draw_index(torch.arange(12) % 3, 12, 6).tolist() == [2, 4, 6, 9, 10, 11]


def test_smaller_draw_is_part_of_a_larger_one() -> None:
    sizes = [set(values(draw(numbered(40), n))) for n in (3, 10, 11, 40)]
    assert all(small < large for small, large in pairwise(sizes))


def test_class_with_too_few_items_gives_all_of_them() -> None:
    classes = torch.tensor([0] * 10 + [1] * 2 + [2] * 10)
    index = draw_index(classes, 22, 12)
    assert classes[index].bincount().tolist() == [5, 2, 5]


def test_multi_hot_labels_are_drawn_like_no_labels() -> None:
    multi_hot = torch.zeros(20, 3, dtype=torch.bool)
    assert torch.equal(draw_index(multi_hot, 20, 5), draw_index(None, 20, 5))
    assert len(set(draw_index(None, 20, 5).tolist())) == 5


def test_draw_does_not_change_the_global_random_states() -> None:
    np.random.seed(0)
    torch_state = torch.random.get_rng_state()
    draw(numbered(40), 10)
    assert np.random.rand() == np.random.RandomState(0).rand()
    assert torch.equal(torch.random.get_rng_state(), torch_state)


def test_ranks_count_within_classes() -> None:
    assert ranks_in_class(torch.tensor([3, 5, 3, 3, 5]).numpy()).tolist() == [0, 0, 1, 2, 1]


def test_subsets_of_readers_read_the_same_items_as_subsets_of_tensors() -> None:
    config, order = Subsets(num_queries=20), torch.tensor([7, 0, 3])
    for name in ("query", "database"):
        tensors = subset(config, name, whole)
        readers = subset(config, name, lambda n: Split(TensorReader(_inputs(whole(n))), whole(n).labels))
        assert not isinstance(readers.inputs, Tensor)
        assert len(readers) == len(tensors)
        assert torch.equal(readers.read(order), _inputs(tensors)[order])
        assert torch.equal(labels(readers), labels(tensors))


def _inputs(split: Split) -> Tensor:
    assert isinstance(split.inputs, Tensor)
    return split.inputs


def test_a_tensor_and_a_reader_are_pooled_into_a_reader() -> None:
    pool = pooled(numbered(3), Split(TensorReader(torch.arange(3, 8).view(-1, 1).float())))
    assert len(pool) == 8
    assert not isinstance(pool.inputs, Tensor)
    assert pool.read(torch.tensor([6, 1, 3])).flatten().tolist() == [6, 1, 3]
    assert pool.labels is None  # the second split has none


def test_take_keeps_the_order_of_the_index() -> None:
    assert values(take(numbered(5), torch.tensor([4, 0, 4]))) == [4, 0, 4]


@pytest.mark.parametrize("name", ["train_size", "test_size", "num_queries"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        Subsets(**{name: 0})


def test_num_queries_excludes_a_test_split() -> None:
    with pytest.raises(ValueError, match="leave test_size out"):
        Subsets(num_queries=5, test_size=5)
    with pytest.raises(RequestError, match="no split named 'test'; there are: train, query, database"):
        subset(Subsets(num_queries=5), "test", whole)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Subsets(train_size=41), "train_size must be at most 40, got 41"),
        (Subsets(test_size=21), "test_size must be at most 20, got 21"),
        (Subsets(num_queries=60), "num_queries must be at most 59, got 60"),
        (Subsets(num_queries=20, train_size=41), "train_size must be at most 40, got 41"),
    ],
)
def test_size_larger_than_the_split_is_refused(config: Subsets, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        subset_counts(config, 40, 20)


def test_draw_of_more_items_than_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot draw 5 items out of 4"):
        draw(numbered(4), 5)


def test_sizes_of_the_hashing_papers_on_cifar_10_are_balanced() -> None:
    # 6,000 images of each of 10 classes, 5,000 of them in train, in random order
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    in_train, in_test = (torch.arange(10).repeat_interleave(n) for n in (5_000, 1_000))
    numbers = torch.arange(60_000).view(-1, 1).float()
    splits = {
        "train": Split(numbers[:50_000], in_train[order[order < 50_000]]),
        "test": Split(numbers[50_000:], in_test[order[order >= 50_000] - 50_000]),
    }
    config = Subsets(num_queries=10_000, train_size=5_000)
    assert subset_counts(config, 50_000, 10_000) == {"train": 5_000, "query": 10_000, "database": 50_000}
    parts = {name: subset(config, name, splits.__getitem__) for name in ("train", "query", "database")}
    counts = {name: labels(part).bincount().tolist() for name, part in parts.items()}
    assert counts == {"train": [500] * 10, "query": [1_000] * 10, "database": [5_000] * 10}
    train, query, database = (set(values(parts[name])) for name in ("train", "query", "database"))
    assert train < database
    assert len(query | database) == 60_000
    assert min(query) < 50_000 <= max(query)  # both splits are pooled: some test images can be trained on
    assert max(train) >= 50_000
