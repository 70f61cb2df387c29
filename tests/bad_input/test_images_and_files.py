"""Damaged or wrong image files, label files and factor files."""

import io
import json
import logging
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from bench_core.cli.group import main
from bench_core.config import plain
from bench_core.data import FactorDraws, ImageFolder, Subsets, image_cache, image_files
from bench_core.data.image_files import decode
from bench_core.data.image_formats import FORMATS
from bench_core.errors import BenchError, DataMissingError, RequestError
from bench_datasets.factor_files import DSPRITES, DSprites
from bench_datasets.flickr25k import LABELS, Flickr25k, Flickr25kConfig
from bench_datasets.image_folder import ImageFolderConfig, ImageFolderDataset
from bench_datasets.mnist import FashionMNIST


def image(mode: str = "RGB", kind: str = "PNG", size: tuple[int, int] = (6, 6), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Make a PNG whose header declares this size and which has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/tmp/x) (w) file\nshowpage\n%%EOF\n"
CASES: dict[str, bytes] = {
    "empty": b"", "zeros": b"\0" * 100, "text": b"not an image", "html": b"<html><body>404</body></html>",
    "truncated png": image(size=(60, 60))[:60], "truncated jpeg": image(kind="JPEG", size=(60, 60))[:300],
    "truncated gif": image("P", "GIF")[:20], "truncated bmp": image(kind="BMP")[:40],
    "truncated tiff": image(kind="TIFF")[:30], "truncated webp": image(kind="WEBP")[:20], "header": image()[:8],
    "bomb": png_of(60_000, 60_000), "just too large": png_of(13_400, 13_400), "wide": png_of(2**31 - 1, 1),
    "no pixels": png_of(0, 0), "postscript": EPS, "icon": image(kind="ICO", size=(16, 16)),
    "thirty-two bits": image("I", "TIFF"), "floats": image("F", "TIFF"), "pickle": b"\x80\x04K\x01.",
    "bad checksum": image()[:-20] + b"\0" * 20, "zip": b"PK\x03\x04" + b"\0" * 30, "svg": b"<svg/>",
}  # fmt: skip
FINE: dict[str, bytes] = {
    "palette": image("P"), "palette with transparency": image("P", transparency=b"\0\1"), "one bit": image("1"),
    "alpha": image("RGBA"), "grey alpha": image("LA"), "sixteen bits": image("I;16"), "cmyk": image("CMYK", "JPEG"),
    "animated": image("P", "GIF", save_all=True, append_images=[Image.new("P", (6, 6), 1)]),
    "wrong suffix": image(kind="JPEG"), "one pixel": image(size=(1, 1)), "a line": image(size=(3000, 1)),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with two valid images of one class in each split."""
    for split in ("train", "test"):
        (tmp_path / "image_folder" / split / "cat").mkdir(parents=True)
        for name in ("a.png", "b.png"):
            (tmp_path / "image_folder" / split / "cat" / name).write_bytes(image())
    return tmp_path / "image_folder"


@pytest.mark.parametrize("content", CASES.values(), ids=CASES)
def test_error_names_an_undecodable_image_with_the_reason(folder: Path, content: bytes) -> None:
    (folder / "train" / "cat" / "bad.png").write_bytes(content)
    with pytest.raises(DataMissingError, match=r"1 of 3 images cannot be read, the first is \S*bad\.png: \S") as raised:
        ImageFolder("mine", folder, 4).load("train")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", FINE.values(), ids=FINE)
def test_images_of_unusual_modes_are_decoded(folder: Path, content: bytes) -> None:
    (folder / "train" / "cat" / "other.png").write_bytes(content)
    inputs = ImageFolder("mine", folder, 4).load("train").inputs
    assert isinstance(inputs, Tensor)
    assert inputs.shape == (3, 3, 4, 4)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]), data=st.data())
def test_image_with_random_bytes_is_decoded_or_named_in_the_error(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    content = bytearray(image(kind=kind, size=(9, 7)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.png").write_bytes(bytes(content))
    try:
        assert decode([str(tmp_path / "x.png")], 4).shape == (1, 3, 4, 4)
    except BenchError as error:
        assert "x.png" in str(error)  # noqa: PT017


def skipping(folder: Path) -> ImageFolderDataset:
    return ImageFolderDataset(folder.parent, ImageFolderConfig(size=4, undecodable="skip"))


def test_skipped_images_are_named_and_counted_in_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "train" / "cat" / "bad.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "bench"):
        data = skipping(folder)
        assert data.spec().splits == {"train": 2, "test": 2}
        assert len(data.load("train")) == 2
    assert "bad.png is left out: " in caplog.text
    assert "1 of 3 images of train are left out" in caplog.text


def test_digest_leaves_out_skipped_images(folder: Path) -> None:
    whole = skipping(folder).digest()
    assert whole == ImageFolderDataset(folder.parent, ImageFolderConfig(size=4)).digest()
    (folder / "train" / "cat" / "bad.png").write_bytes(b"")
    assert skipping(folder).digest() == whole
    (folder / "train" / "cat" / "bad.png").write_bytes(image(size=(7, 7)))  # now it can be decoded
    assert skipping(folder).digest() != whole


def test_skipping_is_in_the_key_but_its_default_is_not() -> None:
    assert "undecodable" not in plain(ImageFolderConfig())
    assert plain(ImageFolderConfig(undecodable="skip"))["undecodable"] == "skip"


DRY_RUN = ("run", "--dry-run", "--methods", "random", "--datasets", "image_folder", "--data-root", ".")
ODD: dict[str, Callable[[Path], None]] = {
    "link to itself": lambda path: path.symlink_to(path), "link to nowhere": lambda path: path.symlink_to("gone"),
    "pipe": lambda path: os.mkfifo(path),
}  # fmt: skip


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_links_and_pipes_among_images_are_refused(
    world: Path, folder: Path, refused: Callable[..., str], make: Callable[[Path], None]
) -> None:
    make(folder / "train" / "cat" / "odd.png")
    assert "odd.png is not a file" in refused(*DRY_RUN)


@pytest.mark.parametrize("name", [b"a\nb.png", b"a\rb.png", b"\x1b[2J.png", b"\xff.png", b"a\x00"[:1] + b"\t.png"])
def test_file_name_with_unprintable_characters_is_refused(
    world: Path, folder: Path, refused: Callable[..., str], name: bytes
) -> None:
    with open(os.path.join(os.fsencode(folder / "train" / "cat"), name), "wb") as file:
        file.write(image())
    assert "must be printable UTF-8" in refused(*DRY_RUN)


@pytest.mark.parametrize("target", ["dog", "gone"])
def test_class_folder_that_is_a_link_to_nowhere_is_refused(
    world: Path, folder: Path, refused: Callable[..., str], target: str
) -> None:
    (folder / "train" / "dog").symlink_to(folder / "train" / target)
    assert "train/dog leads nowhere; remove the link" in refused(*DRY_RUN)


def dry_run(*options: str) -> list[dict[str, str]]:
    """Plan a run of the folder, and return its cells."""
    result = CliRunner().invoke(main, [*DRY_RUN, "--tasks", "knn", "--json", *options])
    assert result.exit_code == 0, result.output
    cells: list[dict[str, str]] = json.loads(result.stdout)
    return cells


def test_swapped_classes_of_equal_dates_have_another_key(world: Path, folder: Path) -> None:
    (folder / "train" / "dog").mkdir()
    for name, shade in (("cat", 10), ("dog", 200)):
        Image.new("RGB", (6, 6), (shade,) * 3).save(folder / "train" / name / "a.bmp")
        os.utime(folder / "train" / name / "a.bmp", ns=(10**18, 10**18))
    before = dry_run()
    images = [folder / "train" / name / "a.bmp" for name in ("cat", "dog")]
    first, second = (path.read_bytes() for path in images)
    assert len(first) == len(second)
    for path, content in zip(images, (second, first), strict=True):
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    assert dry_run() != before


def test_check_data_finds_a_change_that_no_stamp_shows(
    world: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "ALWAYS_READ_BYTES", -1)
    monkeypatch.setattr(image_cache, "SETTLED_NS", -(10**12))
    monkeypatch.setattr(image_cache, "stamp", lambda stat: "the same")
    before = dry_run()
    (folder / "train" / "cat" / "a.png").write_bytes(image(size=(7, 7)))
    assert dry_run() == before
    after = dry_run("--check-data")
    assert after != before
    assert dry_run() == after


def test_process_of_one_chain_does_not_check_the_data_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def note(*_: object, check_data: bool, **__: object) -> NoReturn:
        asked.append(check_data)
        raise RequestError("enough")

    monkeypatch.setattr("bench_core.planning.plan.make_plan", note)
    for options in (["--check-data"], [], ["--check-data", "--only-chain", "0" * 64]):
        assert CliRunner().invoke(main, [*DRY_RUN, *options]).exit_code == 2
    assert asked == [True, False, False]


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty class": (lambda train: (train / "dog").mkdir(), "class 'dog' has no images"),
    "another case in test": (lambda train: (train / "cat").rename(train / "Cat"), "did you mean 'Cat'?"),
    "a file in place of train": (lambda train: train.rename("old") and train.write_text(""), "has no images"),
    "no train": (shutil.rmtree, "has no images"),
    "two spellings": (
        lambda train: [shutil.copytree(train / "cat", train / name) for name in ("caf\u00e9", "cafe\u0301")],
        "are one name in two spellings of Unicode",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_wrong_data_folder_is_a_wrong_request(
    world: Path, folder: Path, refused: Callable[..., str], make: Callable[[Path], object], message: str
) -> None:
    make(folder / "train")
    assert message in refused(*DRY_RUN)


def test_image_that_cannot_be_decoded_is_a_wrong_request(
    world: Path, folder: Path, refused: Callable[..., str]
) -> None:
    for split in ("train", "test"):
        shutil.copytree(folder / split / "cat", folder / split / "dog")
    (folder / "train" / "cat" / "bad.png").write_bytes(b"not an image")
    words = [word for word in DRY_RUN if word != "--dry-run"]
    assert "bad.png" in refused(*words, "--tasks", "knn", "--quiet")


@pytest.mark.parametrize("text", ["x", "0", "25001", "-1", "1.5", "1 2", "\x00", "\u0661x", "1" * 50])
def test_error_names_the_line_of_a_label_file_that_is_no_number(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "mirflickr25k_annotations_v080"
    folder.mkdir()
    for name in LABELS:
        (folder / f"{name}.txt").write_text("1\n")
    (folder / "baby.txt").write_text(f"3\n{text}\n")
    with pytest.raises(DataMissingError, match=r"baby\.txt, line 2: .*is no image's number") as raised:
        _ = Flickr25k(tmp_path, Flickr25kConfig())._labels
    assert len(str(raised.value)) < 400


def npz(**arrays: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]  # its own stubs
    return out.getvalue()


class Trap:
    """Object whose unpickling would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("trapped",)


FACTORS, IMAGES = np.zeros((4, 6), np.int64), np.zeros((4, 64, 64), np.uint8)
FACTOR_FILES: dict[str, bytes] = {
    "empty": b"", "text": b"no archive", "zip of nothing": b"PK\x05\x06" + b"\0" * 18, "one array": b"\x93NUMPY",
    "no factors": npz(imgs=IMAGES), "no images": npz(latents_classes=FACTORS),
    "cut": npz(imgs=IMAGES, latents_classes=FACTORS)[:-80],
    "scalars": npz(imgs=np.array(0, np.uint8), latents_classes=FACTORS),
    "fewer images": npz(imgs=IMAGES[:2], latents_classes=FACTORS),
    "floats": npz(imgs=IMAGES * 1.0, latents_classes=FACTORS),
    "too few factors": npz(imgs=IMAGES, latents_classes=FACTORS[:, :3]),
    "objects": npz(imgs=IMAGES, latents_classes=np.array([[Trap()]], dtype=object)),
    "object images": npz(imgs=np.array([Trap()], dtype=object), latents_classes=FACTORS),
}  # fmt: skip


@pytest.mark.parametrize("content", FACTOR_FILES.values(), ids=FACTOR_FILES)
def test_wrong_factor_file_gives_a_one_line_error_and_executes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dsprites").mkdir()
    (tmp_path / "dsprites" / DSPRITES).write_bytes(content)
    with pytest.raises(DataMissingError, match="is damaged or another file") as raised:
        DSprites(tmp_path, FactorDraws(train_size=2, test_size=1)).load("train")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("size", [0, 15, 16, 784, 60_000 * 784])
def test_unpacked_files_of_the_wrong_size_are_refused(tmp_path: Path, size: int) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"\0" * 60_008)
    with (raw / "train-images-idx3-ubyte").open("wb") as file:
        file.truncate(size)
    with pytest.raises(DataMissingError, match="do not have one image for each label"):
        FashionMNIST(tmp_path, Subsets()).load("train")


def test_only_formats_that_hold_nothing_but_pixels_are_decoded(folder: Path) -> None:
    assert set(FORMATS) == {"BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"}
    assert torch.from_numpy(decode([str(folder / "train" / "cat" / "a.png")], 2)).sum() == 0
