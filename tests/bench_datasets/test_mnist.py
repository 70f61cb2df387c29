import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import datasets

from bench_core.contracts import Split
from bench_core.data import MNIST_FILES, Subsets
from bench_core.data.mnist_files import MNIST_MD5
from bench_core.errors import DataMissingError
from bench_datasets import mnist
from bench_datasets.mnist import MNIST, FashionMNIST, bench_datasets

COUNTS = {"train": 6, "t10k": 4}


def write_idx(raw: Path, *, compressed: bool = False) -> None:
    """Folder with six and four random images in the layout of the four files."""
    raw.mkdir(parents=True, exist_ok=True)
    for name, count in COUNTS.items():
        pixels = np.random.RandomState(count).randint(0, 256, (count, 28, 28), np.uint8)
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes()
        labels = struct.pack(">II", 2049, count) + bytes(range(count))
        for file, data in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            (raw / file).write_bytes(data)
            if compressed:
                (raw / f"{file}.gz").write_bytes(gzip.compress(data))


def trust(monkeypatch: pytest.MonkeyPatch, raw: Path) -> None:
    """Replace the published sums by those of the random files."""
    for table in (MNIST_MD5, mnist.FASHION_MD5):
        for name in table:
            if (raw / name).exists():
                monkeypatch.setitem(table, name, hashlib.md5((raw / name).read_bytes()).hexdigest())


def assert_equal(ours: Split, theirs: datasets.MNIST) -> None:
    assert isinstance(ours.inputs, Tensor)
    assert ours.labels is not None
    assert torch.equal(ours.inputs[:, 0], theirs.data)
    assert torch.equal(ours.labels, theirs.targets)
    assert ours.inputs.dtype == torch.uint8
    assert ours.labels.dtype == torch.int64


def test_files_are_read_as_torchvision_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    trust(monkeypatch, tmp_path / "MNIST" / "raw")
    for split in ("train", "test"):
        theirs = datasets.MNIST(str(tmp_path), train=split == "train")
        assert_equal(MNIST(tmp_path, Subsets()).load(split), theirs)


def test_a_file_with_another_md5_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    with pytest.raises(DataMissingError, match=r"train-images-idx3-ubyte: its md5 differs.*delete it"):
        MNIST(tmp_path, Subsets()).load("train")


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_the_message_for_missing_files_has_the_folder_and_the_command(
    kind: type[MNIST] | type[FashionMNIST], tmp_path: Path
) -> None:
    with pytest.raises(DataMissingError) as caught:
        kind(tmp_path, Subsets()).load("test")
    expected = str(tmp_path / kind.__name__ / "raw" / "t10k-images-idx3-ubyte")
    for part in (expected, "does not exist", "--download", "--data-root", "BENCH_DATA"):
        assert part in str(caught.value)


def test_fashion_archives_are_read_without_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    write_idx(raw, compressed=True)
    trust(monkeypatch, raw)
    theirs = datasets.FashionMNIST(str(tmp_path), train=False)
    for file in MNIST_FILES["test"]:
        (raw / file).write_bytes(b"no longer what was unpacked")
    assert_equal(FashionMNIST(tmp_path, Subsets()).load("test"), theirs)


def test_a_fashion_archive_with_another_md5_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "FashionMNIST" / "raw", compressed=True)
    with pytest.raises(DataMissingError, match=r"idx3-ubyte\.gz: its md5 differs"):
        FashionMNIST(tmp_path, Subsets()).load("train")


def test_unpacked_fashion_files_have_a_digest_of_their_own(tmp_path: Path) -> None:
    raw, published = tmp_path / "FashionMNIST" / "raw", FashionMNIST(tmp_path, Subsets()).digest()
    write_idx(raw)
    dataset = FashionMNIST(tmp_path, Subsets())
    assert_equal(dataset.load("train"), datasets.FashionMNIST(str(tmp_path)))
    first = dataset.digest()
    assert first != published
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\0" * 12)
    assert dataset.digest() != first


@pytest.mark.parametrize(("images", "labels"), [(0, 0), (2, 3), (3, 2), (0, 1)])
def test_fashion_files_without_an_image_for_each_label_are_refused(images: int, labels: int, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(bytes(16 + images * 784))
    (raw / "train-labels-idx1-ubyte").write_bytes(bytes(8 + labels))
    with pytest.raises(DataMissingError, match="do not have one image for each label, delete them"):
        FashionMNIST(tmp_path, Subsets()).load("train")


def test_digests_need_no_data(tmp_path: Path) -> None:
    digests = {kind(tmp_path, Subsets()).digest() for kind in (MNIST, FashionMNIST)}
    assert len(digests) == 2
    assert all(d.startswith("sha256:") for d in digests)
    assert {kind(tmp_path, Subsets(train_size=9)).digest() for kind in (MNIST, FashionMNIST)} == digests


def test_the_spec_needs_no_data_and_reflects_the_config(tmp_path: Path) -> None:
    spec = MNIST(tmp_path, Subsets()).spec()
    assert spec.splits == {"train": 60_000, "test": 10_000}
    assert (spec.shape, spec.num_classes, spec.views) == ((1, 28, 28), 10, "glyph")
    spec = FashionMNIST(tmp_path, Subsets(num_queries=10_000, train_size=5_000)).spec()
    assert spec.splits == {"train": 5_000, "query": 10_000, "database": 60_000}
    assert spec.views == "natural"


def test_published_sums_are_torchvisions() -> None:
    assert dict(datasets.FashionMNIST.resources) == mnist.FASHION_MD5


def test_a_download_goes_through_torchvision_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fetch(root: str, download: bool) -> None:
        calls.append((root, download))
        write_idx(tmp_path / "MNIST" / "raw")

    monkeypatch.setattr(datasets, "MNIST", fetch)
    with pytest.raises(DataMissingError, match="md5 differs"):
        MNIST(tmp_path, Subsets()).download()
    assert calls == [(str(tmp_path), True)]
    trust(monkeypatch, tmp_path / "MNIST" / "raw")
    MNIST(tmp_path, Subsets()).download()


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_both_splits_of_a_download_are_checked(
    kind: type[MNIST] | type[FashionMNIST], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / kind.__name__ / "raw"
    write_idx(raw, compressed=kind is FashionMNIST)
    trust(monkeypatch, raw)
    monkeypatch.setattr(datasets, kind.__name__, lambda root, download: None)
    kind(tmp_path, Subsets()).download()
    (damaged,) = raw.glob(f"{part}-labels-idx1-ubyte{'.gz' if kind is FashionMNIST else ''}")
    damaged.write_bytes(b"damaged")
    with pytest.raises(DataMissingError, match=f"{part}-labels.* md5 differs"):
        kind(tmp_path, Subsets()).download()


def test_a_failed_download_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(root: str, download: bool) -> None:
        raise RuntimeError("Error downloading")

    monkeypatch.setattr(datasets, "FashionMNIST", fetch)
    with pytest.raises(DataMissingError, match=r"fashion_mnist: .*cannot be fetched"):
        FashionMNIST(tmp_path, Subsets()).download()


def test_both_are_registered() -> None:
    assert bench_datasets() == {"mnist": MNIST, "fashion_mnist": FashionMNIST}
