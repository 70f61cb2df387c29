"""A part of the train split held out: disjoint, stratified, the same for everybody, and the test split stays closed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core import Dataset, DataSpec, Split
from bench_core.data import Graphs, Pair
from bench_core.data.held_out import HeldOut, held_out_index, held_out_name
from bench_core.errors import DataMissingError, RequestError


class Given(Dataset):
    """A dataset of a given train split, whose other splits cannot be read (ours)."""

    def __init__(self, train: Split, **spec: Any) -> None:
        self.train, self.loads = train, 0
        self._spec = DataSpec(**{"shape": (2,), "splits": {"train": len(train), "test": 7}, "name": "given", **spec})

    def spec(self) -> DataSpec:
        """Describe the split."""
        return self._spec

    def digest(self) -> str:
        """Return a version."""
        return "given-1"

    def load(self, split: str) -> Split:
        """Return `train`, and fail for any other split."""
        assert split == "train", f"{split} was opened"
        self.loads += 1
        return self.train


def numbered(count: int, labels: Tensor | None = None) -> Split:
    """Vectors that hold their own number."""
    return Split(torch.arange(count).float().repeat(2, 1).T.contiguous(), labels)


def held_out(split: Split, fraction: float = 0.2, **spec: Any) -> HeldOut:
    given = Given(split, **spec)
    return HeldOut(given, given.spec(), fraction)


def numbers(split: Split) -> list[int]:
    items: Tensor = split.read(torch.arange(len(split)))
    return [int(item) for item in items[:, 0]]


def test_two_disjoint_parts_are_together_train_with_their_labels_and_factors() -> None:
    labels, factors = torch.arange(50) % 3, torch.arange(100).view(50, 2)
    dataset = held_out(Split(numbered(50).inputs, labels, factors), num_classes=3, factors={"a": 100, "b": 100})
    assert dataset.spec().splits == {"train": 40, "test": 10}
    parts = [dataset.load(name) for name in ("train", "test")]
    assert [len(part) for part in parts] == [40, 10]
    assert sorted(numbers(parts[0]) + numbers(parts[1])) == list(range(50))
    for part in parts:
        assert part.labels is not None
        assert part.factors is not None
        assert part.labels.tolist() == [number % 3 for number in numbers(part)]
        assert part.factors[:, 0].tolist() == [2 * number for number in numbers(part)]
        assert numbers(part) == sorted(numbers(part))


def test_both_parts_are_cut_from_one_load_which_is_not_kept_after_them() -> None:
    given = Given(numbered(10))
    dataset = HeldOut(given, given.spec(), 0.2)
    parts = [[numbers(dataset.load(name)) for name in ("train", "test")] for _ in range(2)]
    assert parts[0] == parts[1]
    assert given.loads == 2


@pytest.mark.parametrize("sizes", [[30, 50, 20], [7, 11, 13, 1, 1], [1000, *[2] * 100]])
@pytest.mark.parametrize("fraction", [0.2, 0.33, 0.5])
def test_each_class_gives_its_share_to_within_one_item(sizes: list[int], fraction: float) -> None:
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    count = round(fraction * len(labels))
    index = held_out_index(labels, len(labels), count)
    assert len(index) == len(set(index.tolist())) == count
    drawn = torch.bincount(labels[index], minlength=len(sizes))
    assert (drawn - count / len(labels) * torch.tensor(sizes)).abs().max() < 1


def test_items_are_the_same_on_every_machine_and_in_every_version() -> None:
    expected = np.sort(np.random.RandomState(0).permutation(20)[:4]).tolist()
    assert expected == [1, 8, 18, 19]
    assert held_out_index(None, 20, 4).tolist() == expected
    assert held_out_index(torch.ones(20, 3, dtype=torch.bool), 20, 4).tolist() == expected  # many labels an item
    assert held_out_index(torch.tensor([0] * 15 + [1] * 5), 20, 4).tolist() == [1, 8, 10, 18]


def test_names_of_classes_do_not_change_the_shares() -> None:
    labels = torch.arange(60) % 3
    renamed = torch.tensor([2, 0, 1])[labels]
    index = held_out_index(renamed, 60, 12)
    assert torch.bincount(renamed[index]).tolist() == [4, 4, 4]


def test_items_of_a_reader_in_sequence_are_read_without_copying_the_rest() -> None:
    class Stream:
        """A SequentialReader of numbers, backwards when shuffled."""

        def __len__(self) -> int:
            return 10

        def read(self, index: Tensor) -> Tensor:
            return index.float().repeat(2, 1).T

        def order(self, rng: torch.Generator) -> Tensor:
            return torch.arange(9, -1, -1)

        def stream(self, chunks: list[Tensor]) -> Any:
            return (self.read(chunk) for chunk in chunks)

    dataset = held_out(Split(Stream()))
    train, test = dataset.load("train"), dataset.load("test")
    assert sorted(numbers(train) + numbers(test)) == list(range(10))
    reader: Any = train.inputs
    order = reader.order(torch.Generator())
    [read] = reader.stream([order])
    assert read[:, 0].tolist() == sorted(numbers(train), reverse=True)


def test_pairs_and_graphs_are_held_out_whole() -> None:
    vector = DataSpec(shape=(2,), splits={"train": 10})
    pairs = Split(Pair(numbered(10).inputs, -numbered(10).inputs))  # type: ignore[operator]  # they are tensors
    both: Any = held_out(pairs, shape=(), kind="pairs", modalities={"a": vector, "b": vector}).load("test").inputs
    assert torch.equal(both.first, -both.second)
    graphs = Graphs(torch.arange(20.0).view(20, 1), torch.empty(2, 0, dtype=torch.long), torch.arange(20) // 2, 10)
    part: Any = held_out(Split(graphs), shape=(1,), kind="graphs").load("test").inputs
    assert (len(part), len(part.features)) == (2, 4)


def test_no_other_split_can_be_asked_for() -> None:
    with pytest.raises(RequestError, match="no split named 'validation'"):
        held_out(numbered(10)).load("validation")


def test_train_split_that_is_not_as_described_is_refused_before_the_draw() -> None:
    dataset = held_out(Split(numbered(10).inputs, torch.arange(9)), num_classes=9)
    with pytest.raises(DataMissingError, match=r"labels are .* of shape \(9,\)"):
        dataset.load("train")
    with pytest.raises(DataMissingError, match="it has 10 items, but spec"):
        held_out(numbered(10), splits={"train": 12}).load("test")


@pytest.mark.parametrize(
    ("spec", "fraction", "message"),
    [
        ({"folds": 10, "transductive": True}, 0.2, r"tested in one of 10 folds.*--set given\.fold=0"),
        ({"transductive": True}, 0.2, "needs items that training does not read"),
        ({"kind": "nodes"}, 0.2, "needs items that training does not read"),
        ({}, 0.01, "a validation part of 0.01 is 0 of the 10 items of given"),
        ({}, 0.99, "is 10 of the 10 items"),
    ],
)
def test_dataset_of_which_no_part_can_be_held_out_is_refused(
    spec: dict[str, Any], fraction: float, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        held_out(numbered(10), fraction, **spec)


def test_name_says_the_part_once(tmp_path: Path) -> None:
    assert held_out_name("digits", 0.2) == "digits (20 % of train held out)"
    assert held_out_name(held_out_name("digits", 0.125), 0.125) == "digits (12.5 % of train held out)"
