"""Splits are checked where they are loaded, and images of a Reader where they are read."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Dataset, DataSpec, NoConfig, Split
from bench_core.data import Graphs, open_split, take
from bench_core.data.checked import load_split, reading_data
from bench_core.errors import DataMissingError

SPEC = DataSpec(shape=(1, 2, 2), splits={"train": 6}, num_classes=2, name="dots")
CPU = torch.device("cpu")


def dataset(load: Callable[[str], Any]) -> Dataset:
    """Return a dataset whose `load` is a function."""

    class Dots(Dataset):
        """Dots."""

        def __init__(self, root: Path, config: NoConfig) -> None:
            pass

        def spec(self) -> DataSpec:
            return SPEC

        def digest(self) -> str:
            return "dots"

        def load(self, split: str) -> Split:
            split_of_items: Split = load(split)
            return split_of_items

    return Dots(Path(), NoConfig())


class Images:
    """Reader of float images that counts what was read; the last image is too bright."""

    def __init__(self, brightest: float = 2.0) -> None:
        self.images = torch.zeros(6, 1, 2, 2)
        self.images[5] = brightest
        self.reads: list[list[int]] = []

    def __len__(self) -> int:
        return 6

    def read(self, index: Tensor) -> Tensor:
        self.reads.append(index.tolist())
        return self.images[index]


def test_fault_is_refused_with_dataset_and_split() -> None:
    wrong = dataset(lambda name: Split(torch.zeros(6, 1, 2, 2), torch.arange(6)))
    with pytest.raises(DataMissingError, match=r"^dataset dots, split 'train': item 2 has the label 2, but spec\(\)"):
        load_split(wrong, SPEC, "train")


def test_split_without_fault_is_returned_as_it_is() -> None:
    split = Split(torch.zeros(6, 1, 2, 2), torch.arange(6) % 2)
    assert load_split(dataset(lambda name: split), SPEC, "train") is split


@pytest.mark.parametrize("workers", [0, 1])
def test_float_images_of_a_reader_are_refused_at_the_first_batch_that_holds_them(workers: int) -> None:
    split = load_split(dataset(lambda name: Split(Images())), SPEC, "train")
    batches = open_split(split, CPU, workers=workers).batches(2)
    assert [len(next(batches).index) for _ in range(2)] == [2, 2]
    words = r"dataset dots, split 'train': in a batch that begins with item 4, image 1 of 2 has the value 2, but float"
    with pytest.raises(DataMissingError, match=words):
        next(batches)


def test_images_of_a_reader_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[list[int]] = []
    monkeypatch.setattr("bench_core.data.checked.read_fault", lambda items, index, spec: checked.append(index.tolist()))
    split = load_split(dataset(lambda name: Split(Images(1.0))), SPEC, "train")
    for _ in range(2):
        assert sum(len(batch.index) for batch in open_split(split, CPU).batches(4)) == 6
    assert checked == [[0, 1, 2, 3], [4, 5]]


def test_part_of_a_checked_reader_is_checked() -> None:
    split = take(load_split(dataset(lambda name: Split(Images())), SPEC, "train"), torch.tensor([0, 5]))
    with pytest.raises(DataMissingError, match="has the value 2"):
        list(open_split(split, CPU).batches(2))


def test_graphs_of_a_reader_are_checked_when_they_are_read() -> None:
    class Parts:
        """Reads graphs whose edges leave their graph from item 4 on."""

        def __len__(self) -> int:
            return 6

        def read(self, index: Tensor) -> Graphs:
            spread = int(index.max() >= 4)
            edges = torch.tensor([[0, 1], [1 + spread, 0 + spread]])
            return Graphs(torch.ones(4, 2), edges, torch.tensor([0, 0, 1, 1]), len(index))

    graphs = DataSpec(shape=(2,), splits={"train": 6}, kind="graphs", name="dots")
    batches = open_split(load_split(dataset(lambda name: Split(Parts())), graphs, "train"), CPU).batches(2)
    assert [len(next(batches).inputs) for _ in range(2)] == [2, 2]
    with pytest.raises(DataMissingError, match=r"^dataset dots, split 'train': in a batch that begins with item 4, "):
        next(batches)


def test_reader_of_vectors_is_left_alone() -> None:
    reader = Images()
    vectors = DataSpec(shape=(4,), splits={"train": 6})
    assert load_split(dataset(lambda name: Split(reader)), vectors, "train").inputs is reader


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ENOENT])
def test_data_that_cannot_be_read_is_missing(code: int) -> None:
    def load(name: str) -> Split:
        raise OSError(code, "no such luck", "/data/dots")

    with pytest.raises(DataMissingError, match=r"^dots: /data/dots: cannot be read \(no such luck\)\. To repair it"):
        load_split(dataset(load), SPEC, "train")


def test_error_about_missing_data_gets_the_name_of_its_dataset() -> None:
    def load(name: str) -> Split:
        raise DataMissingError("it has 6 items, but labels of shape (5,).")

    with pytest.raises(DataMissingError, match=r"^dataset dots, split 'train': it has 6 items, but labels"):
        load_split(dataset(load), SPEC, "train")


def test_full_disk_is_not_missing_data() -> None:
    with pytest.raises(OSError, match="No space left"), reading_data("dots"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_error_without_a_file_is_still_one_line() -> None:
    with pytest.raises(DataMissingError, match=r"^dots: its files: cannot be read \(odd\)"), reading_data("dots"):
        raise OSError("odd")
