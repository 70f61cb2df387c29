from pathlib import Path

import pytest
from PIL import Image

from bench_core.data import ImageFolder, Subsets
from bench_core.errors import DataMissingError
from bench_datasets import cifar10_jpeg
from bench_datasets.cifar10_jpeg import CIFAR10JPEG, bench_datasets
from bench_datasets.torchvision_sets import CIFAR10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for shade, name in enumerate(("airplane", "bird")):
            folder = tmp_path / "cifar10-jpeg" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), (shade * 80,) * 3).save(folder / "0000.jpg")
    return tmp_path


def test_images_with_another_digest_are_refused(root: Path) -> None:
    with pytest.raises(DataMissingError, match=r"cifar10_jpeg: .*cifar10-jpeg: its content .* differs"):
        CIFAR10JPEG(root, Subsets()).load("train")


def test_images_of_the_known_digest_are_loaded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = ImageFolder("made", root / "cifar10-jpeg", 32).digest()
    monkeypatch.setattr(cifar10_jpeg, "DIGEST", digest)
    train = CIFAR10JPEG(root, Subsets()).load("train")
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1]
    assert train.inputs[:, 0, 0, 0].tolist() == [0, 80]  # type: ignore[index]  # in memory


def test_the_message_for_missing_data_has_the_folder_and_no_download_command(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError) as caught:
        CIFAR10JPEG(tmp_path, Subsets()).load("test")
    for part in (str(tmp_path / "cifar10-jpeg" / "train"), "--data-root", "BENCH_DATA"):
        assert part in str(caught.value)
    assert "--download" not in str(caught.value)


def test_spec_and_digest_need_no_data(tmp_path: Path) -> None:
    data = CIFAR10JPEG(tmp_path, Subsets(train_size=5_000))
    assert data.spec().splits == {"train": 5_000, "test": 10_000}
    assert data.spec().shape == (3, 32, 32)
    assert data.spec().num_classes == 10
    assert data.digest() == cifar10_jpeg.DIGEST


def test_its_name_and_digest_differ_from_those_of_cifar10(tmp_path: Path) -> None:
    assert bench_datasets() == {"cifar10_jpeg": CIFAR10JPEG}
    assert CIFAR10JPEG(tmp_path, Subsets()).digest() != CIFAR10(tmp_path, Subsets()).digest()
