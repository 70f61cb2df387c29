from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.errors import DataMissingError
from bench_datasets.image_folder import ImageFolderConfig, ImageFolderDataset, bench_datasets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder of images of one grey level each: cats are dark, dogs are light."""
    for split, count in (("train", 4), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (10, 6), (100 * label + k,) * 3).save(folder / f"{k}.png")
    return tmp_path


def dataset(root: Path, **config: Any) -> ImageFolderDataset:
    return ImageFolderDataset(root, ImageFolderConfig(**{"path": "pets", "size": 4, **config}))


def shades(data: ImageFolderDataset, split: str) -> list[int]:
    inputs = data.load(split).inputs
    assert isinstance(inputs, Tensor)
    return [int(v) for v in inputs[:, 0, 0, 0].tolist()]


def test_images_of_a_folder_become_a_dataset(root: Path) -> None:
    data = dataset(root)
    spec, train = data.spec(), data.load("train")
    assert spec.shape == (3, 4, 4)
    assert spec.splits == {"train": 8, "test": 4}
    assert spec.num_classes == 2
    assert spec.views == "natural"
    assert shades(data, "train") == [0, 1, 2, 3, 100, 101, 102, 103]
    assert train.labels is not None
    assert train.labels.tolist() == [0] * 4 + [1] * 4


def test_the_spec_opens_no_image(root: Path) -> None:
    (root / "pets" / "train" / "cat" / "0.png").write_bytes(b"not an image")
    assert dataset(root).spec().splits["train"] == 8


def test_grey_is_one_channel_without_the_colours_of_imagenet(root: Path) -> None:
    data = dataset(root, grey=True, views="glyph")
    assert data.spec().shape == (1, 4, 4)
    assert data.spec().mean is None
    assert data.spec().views == "glyph"
    assert data.load("test").inputs.shape == (4, 1, 4, 4)  # type: ignore[union-attr]  # in memory


def test_subsets_are_balanced(root: Path) -> None:
    data = dataset(root, train_size=4, test_size=2)
    assert data.spec().splits == {"train": 4, "test": 2}
    for split, each in (("train", 2), ("test", 1)):
        labels = data.load(split).labels
        assert labels is not None
        assert labels.bincount().tolist() == [each, each]


def test_queries_are_drawn_from_both_folders(root: Path) -> None:
    data = dataset(root, num_queries=4, train_size=4)
    assert data.spec().splits == {"train": 4, "query": 4, "database": 8}
    pool = sorted(shades(data, "query") + shades(data, "database"))
    assert pool == sorted(shades(dataset(root), "train") + shades(dataset(root), "test"))
    assert set(shades(data, "train")) <= set(shades(data, "database"))


def test_a_folder_may_have_any_path(root: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "elsewhere", path=str(root / "pets"))
    assert torch.equal(data.load("train").inputs, dataset(root).load("train").inputs)  # type: ignore[arg-type]  # in memory
    assert data.digest() == dataset(root, size=8).digest()


def test_the_message_for_a_missing_folder_has_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"image_folder: .*image_folder/train: has no images"):
        ImageFolderDataset(tmp_path, ImageFolderConfig()).spec()


def test_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="size must be >= 1, got 0"):
        ImageFolderConfig(size=0)
    with pytest.raises(ValueError, match="train_size must be >= 1"):
        ImageFolderConfig(train_size=0)


def test_it_is_registered() -> None:
    assert bench_datasets() == {"image_folder": ImageFolderDataset}
