import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core import DataMissingError
from bench_core.data import MNIST_COUNTS, MNISTFiles, Pair
from bench_core.data.mnist_files import MNIST_MD5
from bench_datasets.pairs import mnist_halves
from bench_datasets.pairs.left_out import DigitSubsets
from bench_datasets.pairs.mnist_halves import MNISTHalves


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with 20 and 10 random images instead of MNIST's, whose sums and counts stand for the published ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 20), ("t10k", 10)):
        pixels = np.random.RandomState(count).randint(0, 256, (count, 28, 28), np.uint8)
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes()
        labels = struct.pack(">II", 2049, count) + bytes(number % 10 for number in range(count))
        for file, data in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            (raw / file).write_bytes(data)
            monkeypatch.setitem(MNIST_MD5, file, hashlib.md5(data).hexdigest())
    monkeypatch.setattr(mnist_halves, "TRAIN_COUNTS", (2,) * 10)
    monkeypatch.setitem(MNIST_COUNTS, "test", 10)
    return tmp_path


def test_the_halves_of_a_pair_are_one_image(small: Path) -> None:
    loaded = MNISTHalves(small, DigitSubsets()).load("train")
    whole = MNISTFiles("mnist", small).load("train")
    assert isinstance(loaded.inputs, Pair)
    assert isinstance(whole.inputs, Tensor)
    assert torch.equal(torch.cat([loaded.inputs.first, loaded.inputs.second], 2), whole.inputs)
    assert loaded.inputs.first.shape == (20, 1, 14, 28)
    assert torch.equal(loaded.labels, whole.labels)  # type: ignore[arg-type]  # both have labels


@pytest.mark.parametrize(
    "config", [DigitSubsets(), DigitSubsets(train_size=5, left_out=(0, 9)), DigitSubsets(left_out=(4,))]
)
def test_splits_have_the_sizes_of_the_spec_and_no_class_that_is_left_out(small: Path, config: DigitSubsets) -> None:
    dataset = MNISTHalves(small, config)
    spec = dataset.spec()
    for name, count in spec.splits.items():
        split = dataset.load(name)
        assert len(split) == count
        assert split.labels is not None
        assert name == "test" or not set(split.labels.tolist()) & set(config.left_out)
    assert spec.modalities is not None
    assert {name: part.shape for name, part in spec.modalities.items()} == {"upper": (1, 14, 28), "lower": (1, 14, 28)}


def test_the_class_counts_are_those_of_60000_images() -> None:
    assert sum(mnist_halves.TRAIN_COUNTS) == MNIST_COUNTS["train"]


def test_missing_files_are_named_with_this_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mnist_halves: .*train-images-idx3-ubyte: does not exist"):
        MNISTHalves(tmp_path, DigitSubsets()).load("train")
