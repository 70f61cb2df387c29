"""Folders of labelled images: listing, decoding, caching, digests."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import center_crop, pil_to_tensor, resize

from bench_core.data import ImageFolder, open_split
from bench_core.data.image_files import decode
from bench_core.data.image_folder import scan
from bench_core.errors import BenchError, DataMissingError


def write(path: Path, seed: int, size: tuple[int, int] = (6, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of two classes, with three images to train on and two to test on."""
    root = tmp_path / "images"
    names = ("train/dog/b.png", "train/cat/10.png", "train/cat/9.PNG", "test/cat/x.png", "test/dog/y.png")
    for seed, name in enumerate(names):
        write(root / name, seed)
    (root / "train" / "cat" / "notes.txt").write_text("not an image")
    (root / "train" / "cat" / ".hidden.png").write_text("no image")
    return root


def load(folder: Path, split: str = "train", size: int = 6, **options: int) -> Tensor:
    inputs = ImageFolder("mine", folder, size, **options).load(split).inputs  # type: ignore[arg-type]  # options of any kind
    assert isinstance(inputs, Tensor)
    return inputs


def test_images_are_sorted_by_path_and_classes_by_name(folder: Path) -> None:
    assert scan(folder, "train").files == ("train/cat/10.png", "train/cat/9.PNG", "train/dog/b.png")
    images = ImageFolder("mine", folder, 6)
    assert images.classes == ["cat", "dog"]
    labels = images.load("train").labels
    assert labels is not None
    assert labels.tolist() == [0, 0, 1]
    assert labels.dtype == torch.int64


def test_images_of_the_right_size_keep_their_pixels(folder: Path) -> None:
    expected = np.asarray(Image.open(folder / "train" / "dog" / "b.png")).transpose(2, 0, 1)
    assert np.array_equal(load(folder)[2].numpy(), expected)
    assert load(folder).dtype == torch.uint8


def test_decoding_to_one_channel_gives_luma(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    assert decode([str(tmp_path / "red.png")], 4, grey=True).tolist() == np.full((1, 1, 4, 4), 76).tolist()


def test_centre_square_of_a_wide_image_is_kept(tmp_path: Path) -> None:
    wide = Image.new("RGB", (12, 4), (0, 0, 0))
    wide.paste((200, 100, 50), (4, 0, 8, 4))
    wide.save(tmp_path / "wide.png")
    (out,) = decode([str(tmp_path / "wide.png")], 4)
    assert out.tolist() == [np.full((4, 4), v).tolist() for v in (200, 100, 50)]


@pytest.mark.parametrize("size", [(32, 16), (16, 48), (40, 40), (4, 8)])
def test_decoding_equals_resize_and_centre_crop_of_torchvision(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "a.png", 0, size)
    with Image.open(tmp_path / "a.png") as image:
        expected = pil_to_tensor(center_crop(resize(image, [8]), [8]))
    (out,) = decode([str(tmp_path / "a.png")], 8)
    assert torch.equal(torch.from_numpy(out), expected)


def test_second_load_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    monkeypatch.setattr(Image, "open", None)
    assert torch.equal(load(folder), first)


def test_changed_file_is_decoded_again(folder: Path) -> None:
    first, digest = load(folder), ImageFolder("mine", folder, 6).digest()
    write(folder / "train" / "cat" / "10.png", seed=99)
    os.utime(folder / "train" / "cat" / "10.png", ns=(1, 1))  # a second write may fall into one tick of the clock
    assert not torch.equal(load(folder)[0], first[0])
    assert torch.equal(load(folder)[1:], first[1:])
    assert ImageFolder("mine", folder, 6).digest() != digest


def test_file_with_a_new_time_but_the_same_content_is_not_decoded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, digest = load(folder), ImageFolder("mine", folder, 6).digest()
    os.utime(folder / "train" / "cat" / "10.png", ns=(1, 1))
    monkeypatch.setattr(Image, "open", None)
    assert torch.equal(load(folder), first)
    assert ImageFolder("mine", folder, 6).digest() == digest


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_cached_array_is_replaced(folder: Path, damage: str) -> None:
    first = load(folder)
    array = folder / ".bench-cache" / "train-6.npy"
    data = bytearray(array.read_bytes())
    data[-1] ^= 1
    if damage == "remove":
        array.unlink()
    else:
        array.write_bytes(data if damage == "flip" else data[:-7])
    assert torch.equal(load(folder), first)
    assert np.array_equal(np.load(array), first.numpy())


def test_damaged_cached_digest_is_replaced(folder: Path) -> None:
    expected = ImageFolder("pets", folder, 8).digest()
    path = folder / ".bench-cache" / "train.json"
    cached = json.loads(path.read_text())
    path.write_text(json.dumps({**cached, "content": cached["content"][:-1] + "x"}))
    assert ImageFolder("pets", folder, 8).digest() == expected


def test_array_of_another_decoder_version_is_replaced(folder: Path) -> None:
    first = load(folder)
    path = folder / ".bench-cache" / "train-6.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "decoder": "pillow 0"}))
    (folder / ".bench-cache" / "train-6.npy").write_bytes(b"of another decoder")
    assert torch.equal(load(folder), first)


def test_each_size_has_its_own_cache(folder: Path) -> None:
    assert load(folder, size=6).shape == (3, 3, 6, 6)
    assert load(folder, size=3).shape == (3, 3, 3, 3)
    assert load(folder, size=6).shape == (3, 3, 6, 6)


def test_no_temporary_file_stays_in_the_cache(folder: Path) -> None:
    load(folder)
    assert sorted(p.name for p in (folder / ".bench-cache").iterdir()) == [
        "train-6.json",
        "train-6.npy",
        "train.json",
    ]


def test_images_load_with_a_warning_if_the_cache_cannot_be_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".bench-cache").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "bench"):
        assert load(folder).shape == (3, 3, 6, 6)
    assert "cannot be written" in caplog.text


def test_images_of_a_read_only_folder_are_cached_in_the_cache_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    load(folder)
    assert not (folder / ".bench-cache").exists()
    assert len(list((tmp_path / "cache" / "bench" / "folders").glob("*/train-6.npy"))) == 1


def test_digest_depends_on_content_and_names_but_not_on_folder_or_size(folder: Path, tmp_path: Path) -> None:
    digest = ImageFolder("mine", folder, 6).digest()
    moved = folder.rename(tmp_path / "elsewhere")
    assert ImageFolder("yours", moved, 3).digest() == digest
    (moved / "test" / "dog" / "y.png").rename(moved / "test" / "cat" / "y.png")
    assert ImageFolder("mine", moved, 6).digest() != digest


def test_split_larger_than_max_cached_bytes_is_decoded_when_it_is_read(folder: Path) -> None:
    expected = torch.from_numpy(decode([str(folder / f) for f in scan(folder, "train").files], 6))
    split = ImageFolder("mine", folder, 6, max_cached_bytes=3 * 3 * 36 - 1).load("train")
    assert not isinstance(split.inputs, Tensor)
    assert len(split) == 3
    assert torch.equal(split.inputs.read(torch.tensor([2, 0])), expected[[2, 0]])
    (batch,) = open_split(split, torch.device("cpu")).batches(3)
    assert torch.equal(batch.inputs, expected.float() / 255)
    assert not (folder / ".bench-cache").exists()


def test_error_counts_undecodable_images_and_names_the_first(folder: Path) -> None:
    for name in ("10.png", "9.PNG"):
        (folder / "train" / "cat" / name).write_bytes(b"not an image")
    with pytest.raises(BenchError, match=r"2 of 3 images cannot be read, the first is .*cat/10\.png"):
        load(folder)


def test_truncated_image_is_refused(folder: Path) -> None:
    victim = folder / "train" / "dog" / "b.png"
    victim.write_bytes(victim.read_bytes()[:80])
    with pytest.raises(BenchError, match="1 of 3 images cannot be read"):
        load(folder)


def test_error_for_a_missing_split_names_its_folder(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mine: .*images/train: has no images.*--data-root"):
        ImageFolder("mine", tmp_path / "images", 6).load("train")


def test_class_that_is_only_in_test_is_refused(folder: Path) -> None:
    write(folder / "test" / "emu" / "z.png", 7)
    with pytest.raises(BenchError, match="class 'emu' does not exist under train"):
        ImageFolder("mine", folder, 6).load("test")


def test_images_of_16_bits_are_scaled_to_8_bits_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert np.array_equal(decode([str(tmp_path / "ramp.png")], 8, grey=True)[0, 0], ramp >> 8)


def test_images_of_32_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(BenchError, match=r"float\.tiff.*save it with 8 or 16 bits"):
        decode([str(tmp_path / "float.tiff")], 8)
