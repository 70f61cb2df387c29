"""Folders of labelled images: classes and labels, digests, depth, and what is refused."""

import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.data import ImageFolder
from bench_core.errors import DataMissingError

CAFE = unicodedata.normalize("NFC", "caf\u00e9"), unicodedata.normalize("NFD", "caf\u00e9")


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 256, (6, 6, 3), np.uint8)).save(path)


def load(folder: Path, split: str = "train", size: int = 6, **options: int) -> Tensor:
    inputs = ImageFolder("mine", folder, size, **options).load(split).inputs  # type: ignore[arg-type]  # options of any kind
    assert isinstance(inputs, Tensor)
    return inputs


def test_images_are_sorted_by_path_and_classes_by_name(folder: Path) -> None:
    images = ImageFolder("mine", folder, 6)
    assert images.listings["train"].files == ("train/cat/10.png", "train/cat/9.PNG", "train/dog/b.png")
    assert images.classes == ["cat", "dog"]
    labels = images.load("train").labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1]
    assert labels.dtype == torch.int64


def test_digest_depends_on_content_and_names_but_not_on_folder_or_size(folder: Path, tmp_path: Path) -> None:
    digest = ImageFolder("mine", folder, 6).digest()
    moved = folder.rename(tmp_path / "elsewhere")
    assert ImageFolder("yours", moved, 3).digest() == digest
    (moved / "train" / "cat" / "9.PNG").rename(moved / "train" / "dog" / "9.PNG")
    assert ImageFolder("mine", moved, 6).digest() != digest


def test_error_for_a_missing_split_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mine: .*images/train: has no images.*--data-root"):
        ImageFolder("mine", tmp_path / "images", 6).load("train")


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(DataMissingError) as caught:
        ImageFolder("mine", folder, 6, **options).load("test")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shape_is_that_of_decoded_images(folder: Path) -> None:
    for grey, channels in ((False, 3), (True, 1)):
        images = ImageFolder("mine", folder, 4, grey=grey)
        assert images.shape == (channels, 4, 4) == images.load("test").inputs.shape[1:]  # type: ignore[union-attr]  # in memory


def test_class_that_is_only_in_test_is_refused(folder: Path) -> None:
    write(folder / "test" / "emu" / "z.png", 7)
    assert "class 'emu' of test does not exist under train. Rename the folder" in refusal(folder)
    write(folder / "test" / "yak" / "z.png", 7)
    assert "class 'emu' of test does not exist under train (and 1 more). Rename" in refusal(folder)


@pytest.mark.parametrize("name", ["Cat", "cat ", " CAT", "caat"])
def test_class_of_test_with_nearly_the_name_of_one_of_train_is_named_beside_it(folder: Path, name: str) -> None:
    (folder / "test" / "cat").rename(folder / "test" / name)
    assert f"class {name!r} of test does not exist under train; did you mean 'cat'?" in refusal(folder)


@pytest.mark.parametrize("names", [CAFE, CAFE[::-1]], ids=["composed in train", "composed in test"])
def test_a_name_in_two_spellings_of_unicode_is_one_class(folder: Path, names: tuple[str, str]) -> None:
    assert CAFE[0] != CAFE[1]
    for split, name in zip(("train", "test"), names, strict=True):
        (folder / split / "dog").rename(folder / split / name)
    images = ImageFolder("mine", folder, 6)
    assert images.load("test").labels.tolist() == [0, 1]  # type: ignore[union-attr]  # they have labels
    assert images.classes == [names[0], "cat"]


def test_two_folders_of_a_split_with_one_name_in_two_spellings_are_refused(folder: Path) -> None:
    for seed, name in enumerate(CAFE):
        write(folder / "train" / name / "a.png", seed)
    assert "are one name in two spellings of Unicode" in refusal(folder)
    assert "'caf\\xe9'" in refusal(folder)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("content", [None, ".hidden.png", "readme.txt"])
def test_class_without_images_is_refused(folder: Path, split: str, content: str | None) -> None:
    (folder / split / "emu").mkdir()
    if content:
        (folder / split / "emu" / content).write_text("nothing to see")
    message = refusal(folder)
    assert f"images/{split}: class 'emu' has no images; put some there, or remove the folder" in message


def test_class_whose_images_are_all_skipped_is_refused(folder: Path) -> None:
    (folder / "train" / "dog" / "b.png").write_bytes(b"not an image")
    assert "class 'dog' has no images" in refusal(folder, skip_undecodable=True)


def test_what_is_passed_over_is_counted_in_the_log_with_the_first_name(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bench"):
        _ = ImageFolder("mine", folder, 6).listings
    assert [record.getMessage() for record in caplog.records] == [
        "mine: passed over in train, as hidden or no image: 2; the first is 'train/cat/.hidden.png'"
    ]
    caplog.clear()
    for name in (".hidden.png", "notes.txt"):
        (folder / "train" / "cat" / name).unlink()
    _ = ImageFolder("mine", folder, 6).listings
    assert caplog.text == ""


def test_images_in_deeper_folders_belong_to_the_first_folder(folder: Path) -> None:
    write(folder / "train" / "dog" / "2019" / "may" / "a.png", 9)
    images = ImageFolder("mine", folder, 6)
    assert images.listings["train"].files[-2:] == ("train/dog/2019/may/a.png", "train/dog/b.png")
    assert images.load("train").labels.tolist() == [0, 0, 1, 1]  # type: ignore[union-attr]  # they have labels


def ppm(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6 2 2 255\n" + bytes([shade]) * 12)


def test_digest_of_a_known_folder_is_what_it_always_was(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            ppm(tmp_path / split / name / "a.ppm", 100 * label + (split == "test"))
    digest = "sha256:372aa761ab02fb2474902620c0fca4e4e46a5758fb5f8132fddd4f3f669ffc69"  # computed by the first version
    assert ImageFolder("known", tmp_path, 2).digest() == digest
    (tmp_path / "train" / "cat" / "readme.txt").write_text("no part of the data")
    assert ImageFolder("known", tmp_path, 2, depth=None).digest() == digest


def sixteen_bits(path: Path, *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint16).reshape(1, -1).repeat(len(values), 0)).save(path)


@pytest.fixture
def sensor(tmp_path: Path) -> Path:
    """Folder of images of 16 bits with values of 10 bits; those of test are brighter."""
    for name, values in {"train/a/1.png": (0, 1000), "train/b/1.png": (512, 4), "test/a/1.png": (0, 4000)}.items():
        sixteen_bits(tmp_path / name, *values)
    return tmp_path


def shades(images: ImageFolder, split: str) -> list[list[int]]:
    inputs = images.load(split).inputs
    assert isinstance(inputs, Tensor)
    return [row.tolist() for row in inputs[:, 0, 0]]


def test_depth_is_the_least_that_holds_the_brightest_value_of_train_for_both_splits(
    sensor: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "bench"):
        images = ImageFolder("mine", sensor, 2, depth=None)
        assert shades(images, "train") == [[0, 250], [128, 1]]
        assert shades(images, "test") == [[0, 255]]  # brighter than 10 bits can be
    assert [record.getMessage() for record in caplog.records] == [
        "mine: the brightest value of the 16-bit images of train is 1,000, so their depth is taken as 10 bits"
    ]


def test_given_depth_is_taken_and_16_is_the_default(sensor: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert shades(ImageFolder("mine", sensor, 2, depth=12), "train") == [[0, 62], [32, 0]]
    assert shades(ImageFolder("mine", sensor, 2), "train") == [[0, 3], [2, 0]]
    assert caplog.text == ""


def test_images_of_8_bits_beside_those_of_16_are_not_scaled(sensor: Path) -> None:
    Image.fromarray(np.array([[7, 200], [7, 200]], np.uint8)).save(sensor / "train" / "a" / "2.png")
    assert shades(ImageFolder("mine", sensor, 2, depth=None), "train") == [[0, 250], [7, 200], [128, 1]]


def test_images_of_16_bits_that_only_test_has_are_taken_at_their_word(sensor: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(np.full((2, 2), 9, np.uint8)).save(sensor / "train" / name / "1.png")
    assert shades(ImageFolder("mine", sensor, 2, depth=None), "test") == [[0, 4000 >> 8]]


def test_depth_is_found_without_skipped_images_and_does_not_enter_the_digest(sensor: Path) -> None:
    (sensor / "train" / "a" / "bad.png").write_bytes((sensor / "train" / "a" / "1.png").read_bytes()[:45])
    images = ImageFolder("mine", sensor, 2, depth=None, skip_undecodable=True)
    assert shades(images, "train") == [[0, 250], [128, 1]]
    assert images.digest() == ImageFolder("mine", sensor, 2, skip_undecodable=True).digest()


def test_check_files_lists_and_reads_all_files_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = ImageFolder("mine", folder, 6)
    digest = images.digest()
    write(folder / "train" / "cat" / "new.png", 8)
    assert images.digest() == digest  # read before
    images.check_files()
    assert images.digest() != digest
    assert len(images.load("train")) == 4
    assert not any(files.trust_stamps for files in images._files.values())
