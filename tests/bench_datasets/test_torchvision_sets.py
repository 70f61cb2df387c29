import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torch import Tensor
from torchvision import datasets

from bench_core.contracts import Dataset
from bench_core.data import Subsets, digest_of
from bench_core.errors import DataMissingError
from bench_datasets.torchvision_sets import CIFAR10, CIFAR100, STL10, SVHN, bench_datasets

KINDS: list[type[Dataset]] = [CIFAR10, CIFAR100, STL10, SVHN]


def pixels(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.RandomState(0).randint(0, 256, shape, np.uint8)


def write_cifar(theirs: Any, root: Path, label_key: str) -> None:
    folder = root / theirs.base_folder
    folder.mkdir()
    for name, _ in theirs.train_list + theirs.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": pixels(3, 3072), label_key: [2, 0, 1]}))
    (folder / theirs.meta["filename"]).write_bytes(pickle.dumps({theirs.meta["key"]: ["a", "b", "c"]}))


def load(kind: type[Dataset], root: Path, split: str) -> tuple[Tensor, list[int]]:
    loaded = kind(root, Subsets()).load(split)
    assert isinstance(loaded.inputs, Tensor)
    assert loaded.labels is not None
    assert loaded.labels.dtype == torch.int64
    assert loaded.inputs.dtype == torch.uint8
    assert loaded.inputs.is_contiguous()
    return loaded.inputs, loaded.labels.tolist()


@pytest.fixture
def without_md5_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the check of sums, because random files have other sums than the published ones."""
    for module in ("cifar", "svhn", "stl10"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: True)


@pytest.mark.usefixtures("without_md5_check")
@pytest.mark.parametrize(
    ("kind", "theirs", "key"),
    [(CIFAR10, datasets.CIFAR10, "labels"), (CIFAR100, datasets.CIFAR100, "fine_labels")],
)
def test_cifar_images_are_channels_first(kind: type[Dataset], theirs: Any, key: str, tmp_path: Path) -> None:
    write_cifar(theirs, tmp_path, key)
    images, labels = load(kind, tmp_path, "train")
    batches = len(theirs.train_list)
    assert images.shape == (3 * batches, 3, 32, 32)
    assert labels == [2, 0, 1] * batches
    assert np.array_equal(load(kind, tmp_path, "test")[0].numpy(), pixels(3, 3072).reshape(3, 3, 32, 32))


@pytest.mark.usefixtures("without_md5_check")
def test_svhn_images_are_channels_first_and_digit_zero_has_label_0(tmp_path: Path) -> None:
    (tmp_path / "svhn").mkdir()
    raw = pixels(32, 32, 3, 4)
    savemat(tmp_path / "svhn" / "test_32x32.mat", {"X": raw, "y": np.array([[10], [1], [9], [10]], np.uint8)})
    images, labels = load(SVHN, tmp_path, "test")
    assert np.array_equal(images.numpy(), raw.transpose(3, 2, 0, 1))
    assert labels == [0, 1, 9, 0]


@pytest.mark.usefixtures("without_md5_check")
def test_stl10_images_are_upright_and_labels_start_at_0(tmp_path: Path) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    raw = pixels(2, 3, 96, 96)  # column by column in the file
    (folder / "train_X.bin").write_bytes(raw.tobytes())
    (folder / "train_y.bin").write_bytes(bytes([10, 1]))
    images, labels = load(STL10, tmp_path, "train")
    assert np.array_equal(images.numpy(), raw.transpose(0, 1, 3, 2))
    assert labels == [9, 0]


class Trap:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was opened before its sum was compared",)


@pytest.mark.parametrize(("kind", "theirs"), [(CIFAR10, datasets.CIFAR10), (CIFAR100, datasets.CIFAR100)])
def test_a_pickle_with_another_md5_is_not_opened(kind: type[Dataset], theirs: Any, tmp_path: Path) -> None:
    folder = tmp_path / theirs.base_folder
    folder.mkdir()
    for name, _ in theirs.train_list + theirs.test_list:
        (folder / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataMissingError, match="md5 sums differ from the published ones"):
        kind(tmp_path, Subsets()).load("train")


@pytest.mark.parametrize("kind", KINDS)
def test_the_message_for_missing_data_has_the_folder_and_the_command(kind: type[Dataset], tmp_path: Path) -> None:
    with pytest.raises(DataMissingError) as caught:
        kind(tmp_path, Subsets()).load("train")
    for part in (kind.__name__.lower(), str(tmp_path), "--download", "--data-root", "BENCH_DATA"):
        assert part in str(caught.value)


def test_the_spec_needs_no_data_and_reflects_the_config(tmp_path: Path) -> None:
    counts = {kind: dict(kind(tmp_path, Subsets()).spec().splits) for kind in KINDS}
    assert counts == {
        CIFAR10: {"train": 50_000, "test": 10_000},
        CIFAR100: {"train": 50_000, "test": 10_000},
        STL10: {"train": 5_000, "test": 8_000},
        SVHN: {"train": 73_257, "test": 26_032},
    }
    config = Subsets(num_queries=10_000, train_size=5_000)  # of the hashing papers
    assert CIFAR10(tmp_path, config).spec().splits == {"train": 5_000, "query": 10_000, "database": 50_000}


def test_only_svhn_has_glyph_views(tmp_path: Path) -> None:
    views = {kind: kind(tmp_path, Subsets()).spec().views for kind in KINDS}
    assert views == {CIFAR10: "natural", CIFAR100: "natural", STL10: "natural", SVHN: "glyph"}
    assert CIFAR100(tmp_path, Subsets()).spec().num_classes == 100
    assert STL10(tmp_path, Subsets()).spec().shape == (3, 96, 96)


def test_digests_are_those_of_torchvisions_md5_sums_and_need_no_data(tmp_path: Path) -> None:
    assert {kind: kind(tmp_path, Subsets()).digest() for kind in KINDS} == {
        CIFAR10: digest_of(datasets.CIFAR10.tgz_md5),
        CIFAR100: digest_of(datasets.CIFAR100.tgz_md5),
        STL10: digest_of(datasets.STL10.tgz_md5),
        SVHN: digest_of(*(datasets.SVHN.split_list[s][2] for s in ("train", "test"))),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_is_of_both_splits(kind: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(datasets, kind.__name__, lambda root, **options: calls.append(options))
    kind(tmp_path, Subsets()).download()
    assert [o["download"] for o in calls] == [True, True]
    assert [o.get("train", o.get("split")) for o in calls] in ([True, False], ["train", "test"])


def test_a_failed_download_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: Any, **options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(datasets, "CIFAR10", fetch)
    with pytest.raises(DataMissingError, match=r"cifar10: .*cannot be fetched \(no route to host\)"):
        CIFAR10(tmp_path, Subsets()).download()


def test_all_four_are_registered() -> None:
    assert bench_datasets() == {"cifar10": CIFAR10, "cifar100": CIFAR100, "svhn": SVHN, "stl10": STL10}
