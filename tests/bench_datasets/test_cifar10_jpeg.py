import base64
import os
from pathlib import Path

import pytest
from PIL import Image

from bench_core.data import ImageFolder, Subsets, digest_of, image_cache, image_files
from bench_core.data.image_files import decode
from bench_core.errors import DataMissingError
from bench_datasets import cifar10_jpeg
from bench_datasets.cifar10_jpeg import CIFAR10JPEG, bench_datasets
from bench_datasets.torchvision_sets import CIFAR10

REAL = os.environ.get("BENCH_DATA")  # read now: in a test it names an empty folder
PIXELS = {  # of all decoded images, computed before orientation, transparency and depth were looked at
    "train": "sha256:6a7f56b600358538925b03164e7749e38a546ff7270913d5e50d1c459637e95e",
    "test": "sha256:eeefa202d15bae19b98f411f7f4ed28d7692d488cd5efd8bc75e085dde524202",
}


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


def test_check_files_reads_the_images_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(image_cache, "stamp", lambda stat: "the same")
    monkeypatch.setattr(cifar10_jpeg, "DIGEST", ImageFolder("made", root / "cifar10-jpeg", 32).digest())
    Image.new("RGB", (32, 32), (77,) * 3).save(root / "cifar10-jpeg" / "train" / "bird" / "0000.jpg")
    data = CIFAR10JPEG(root, Subsets())
    assert len(data.load("train")) == 2  # the stamps are believed
    data.check_files()
    with pytest.raises(DataMissingError, match="differs from the known content"):
        data.load("train")


def test_its_revision_and_digest_are_the_first_ones() -> None:
    assert CIFAR10JPEG.revision == 1
    assert cifar10_jpeg.DIGEST == "sha256:55ed7336ab371b28fbd3a5c0ccb61a1cb1b4c100bb6b4b259f8d4d8c5f6923e0"


# A JPEG as the dataset's are: 32 x 32 pixels, quality 75, halved chroma. 8 x 8 blocks of one colour each.
BLOCKS = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PT"
    "gyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/wAARCAAg"
    "ACADASIAAhEBAxEB/8QAGAAAAwEBAAAAAAAAAAAAAAAABQYHAgj/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFwEAAwEAAAAAAAAAAAAAAAAABA"
    "UGA//EACsRAAEBBQUHBQAAAAAAAAAAABESAAMUMVEBBAVhgQIGISIjQZETFUJx4f/aAAwDAQACEQMRAD8ARxFXCM2wXGo9fIlI7mZyso1Q7fxx"
    "4JTrPxRmVMT22cXO4QCuZSh2EtbatKuN4/SPSJz/ABsAqwOcE3dXiyzy7bMafinWfijX9PBYPAu8B9mPUWvIAa21YLCn8evglIzmfqjf/9k="
)  # fmt: skip


def test_a_jpeg_like_those_of_the_dataset_has_the_pixels_that_it_always_had(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(base64.b64decode("".join(BLOCKS)))
    pixels = digest_of(decode([str(tmp_path / "a.jpg")], 32))
    assert pixels == "sha256:d108a1f0a8e7c208f34abce7d0f1563a3f553a7adc6bc3eee34dcbfb6fb5275b"


def test_all_images_have_the_pixels_that_they_always_had() -> None:
    root = Path(REAL) if REAL else None
    if root is None or not (root / "cifar10-jpeg").is_dir():
        pytest.skip("the dataset is not in the folder that BENCH_DATA names")
    data = CIFAR10JPEG(root, Subsets())
    digests = {split: digest_of(data.load(split).inputs) for split in ("train", "test")}  # type: ignore[arg-type]  # in memory
    assert digests == PIXELS


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
