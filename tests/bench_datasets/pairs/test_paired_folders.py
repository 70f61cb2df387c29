from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench_core import ConfigError, DataMissingError, Split
from bench_core.data import Pair
from bench_datasets.pairs.paired_folders import PairedFolders, PairedFoldersConfig


def write(path: Path, level: int, side: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two classes of six pairs: the second image of a pair is 100 levels brighter than the first."""
    for number in range(12):
        name = f"{'cat' if number % 2 else 'dog'}/{number}"
        write(tmp_path / "photos" / f"{name}.png", 10 * number)
        write(tmp_path / "sketches" / f"{name}.bmp", 10 * number + 100)
    return tmp_path


def dataset(root: Path, **config: Any) -> PairedFolders:
    return PairedFolders(root, PairedFoldersConfig(first="photos", second="sketches", size=4, grey=True, **config))


def levels(split: Split) -> list[tuple[int, int]]:
    assert isinstance(split.inputs, Pair)
    return [(int(a[0, 0, 0]), int(b[0, 0, 0])) for a, b in zip(split.inputs.first, split.inputs.second, strict=True)]


def test_files_of_one_name_are_pairs_and_sub_folders_are_classes(folders: Path) -> None:
    data = dataset(folders)
    splits = {name: data.load(name) for name in data.spec().splits}
    assert all(b == a + 100 for split in splits.values() for a, b in levels(split))
    assert sorted(a for split in splits.values() for a, _ in levels(split)) == [10 * number for number in range(12)]
    for split in splits.values():
        assert split.labels is not None
        assert [a // 10 % 2 == 0 for a, _ in levels(split)] == split.labels.bool().tolist()  # cat, dog
    assert {name: len(split) for name, split in splits.items()} == data.spec().splits == {"train": 10, "test": 2}


def test_the_test_split_is_drawn_evenly_from_the_classes(folders: Path) -> None:
    assert dataset(folders, test_share=0.5).load("test").labels.bincount().tolist() == [3, 3]  # type: ignore[union-attr]


def test_images_in_no_sub_folders_have_no_classes(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "photos" / f"{number}.png", number)
        write(tmp_path / "sketches" / f"{number}.png", number)
    data = dataset(tmp_path)
    assert data.spec().num_classes is None
    assert data.load("train").labels is None
    with pytest.raises(ConfigError, match=r"left_out names 'cat', which is no class\. Classes: there are none"):
        dataset(tmp_path, left_out=("cat",)).spec()


def test_classes_are_left_out_of_train_by_name(folders: Path) -> None:
    data = dataset(folders, left_out=("cat",), test_share=0.5)
    assert data.spec().splits == {"train": 3, "test": 6}
    assert data.load("train").labels.tolist() == [1, 1, 1]  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"left_out names 'cow', which is no class\. Classes: cat, dog"):
        dataset(folders, left_out=("cow",)).spec()


@pytest.mark.parametrize("folder", ["photos", "sketches"])
def test_an_image_without_partner_is_refused_or_skipped(folders: Path, folder: str, caplog: Any) -> None:
    write(folders / folder / "cat" / "alone.png", 5)
    with pytest.raises(DataMissingError, match=r"1 images have no partner, the first is .*alone.*unpaired=skip"):
        dataset(folders).spec()
    assert sum(dataset(folders, unpaired="skip").spec().splits.values()) == 12
    assert "1 images have no partner and are left out" in caplog.text


def test_two_images_of_one_name_are_refused(folders: Path) -> None:
    write(folders / "photos" / "cat" / "1.bmp", 5)
    with pytest.raises(DataMissingError, match="have one name; remove one of them"):
        dataset(folders).spec()


def test_images_beside_sub_folders_are_refused(folders: Path) -> None:
    for folder in ("photos", "sketches"):
        write(folders / folder / "loose.png", 5)
    with pytest.raises(DataMissingError, match=r"loose.png lies in no sub-folder, but other images do"):
        dataset(folders).spec()


def test_hidden_files_and_other_files_are_passed_over(folders: Path) -> None:
    (folders / "photos" / "notes.txt").write_text("no image")
    write(folders / "photos" / ".hidden" / "x.png", 5)
    assert sum(dataset(folders).spec().splits.values()) == 12


def test_a_missing_folder_and_too_few_pairs_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"paired_folders: .*photos: is no folder"):
        dataset(tmp_path).spec()
    for folder in ("photos", "sketches"):
        write(tmp_path / folder / "only.png", 5)
    with pytest.raises(DataMissingError, match="have 1 pairs; there must be two"):
        dataset(tmp_path).spec()


def test_the_digest_is_of_the_contents(folders: Path) -> None:
    before = dataset(folders).digest()
    assert dataset(folders, left_out=("cat",)).digest() == before
    write(folders / "sketches" / "cat" / "1.bmp", 99)
    data = dataset(folders)
    assert data.digest() != before
    data.check_files()
    assert data.digest() == dataset(folders).digest()


def test_colour_images_have_three_channels(folders: Path) -> None:
    data = PairedFolders(folders, PairedFoldersConfig(first="photos", second="sketches", size=5))
    inputs = data.load("test").inputs
    assert isinstance(inputs, Pair)
    assert inputs.first.shape == (2, 3, 5, 5)
    assert inputs.first.dtype == torch.uint8
