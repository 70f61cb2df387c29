"""JPEG files on a GPU: the code around nvJPEG, run with torchvision's decoder on the CPU, against Pillow's pixels."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench_core.data import ImageFolder, gpu_jpeg
from bench_core.data.gpu_jpeg import decode_jpegs, decoding_device
from bench_core.data.image_files import decode
from bench_core.data.image_pixels import decode_square
from bench_core.errors import DataMissingError, RequestError

ORIENTATION = 0x0112


def photograph(size: tuple[int, int] = (40, 30), form: str = "JPEG", mode: str = "RGB", **options: Any) -> bytes:
    coarse = np.random.RandomState(0).randint(0, 256, (4, 5, 3), np.uint8)
    image, buffer = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode), io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_jpeg, "decoding_device", lambda: torch.device("cpu"))


def difference(content: bytes, grey: bool = False) -> int:
    (found,) = decode_jpegs([content], 12, grey)
    assert found is not None
    assert found.dtype == torch.uint8
    exact = decode_square(content, 12, grey, 16)
    assert found.shape == exact.shape
    return int(np.abs(found.numpy().astype(int) - exact.astype(int)).max())


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (12, 12)])
def test_square_and_size_are_those_of_pillow(size: tuple[int, int], grey: bool) -> None:
    assert difference(photograph(size), grey) <= 2


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_camera_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert difference(photograph(exif=exif)) <= 2


@pytest.mark.usefixtures("on_cpu")
def test_grey_files_become_colour() -> None:
    assert difference(photograph(mode="L")) <= 2


@pytest.mark.usefixtures("on_cpu")
def test_all_other_images_are_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [photograph(form="PNG"), photograph(), photograph(mode="CMYK"), b"", photograph()[:100]]
    found = decode_jpegs([*images, "/no/such/file.jpg"], 12, False)
    assert [square is not None for square in found] == [False, True, False, False, False, False]
    monkeypatch.setattr(gpu_jpeg, "MAX_PIXELS", 100)
    assert decode_jpegs([photograph()], 12, False) == [None]
    assert decode_jpegs([], 12, False) == []


@pytest.mark.usefixtures("on_cpu")
def test_array_has_the_images_of_both_in_their_order() -> None:
    images = [photograph(form="PNG"), photograph(), photograph((30, 40))]
    names = ["a", "b", "c"]
    found, exact = decode(images, 12, names=names, way="gpu"), decode(images, 12, names=names)
    assert np.array_equal(found[0], exact[0])
    assert np.abs(found.astype(int) - exact.astype(int)).max() <= 2
    with pytest.raises(DataMissingError, match="1 of 2 images cannot be read, the first is b"):
        decode([images[0], b"no image"], 12, names=names, way="gpu")


@pytest.mark.usefixtures("on_cpu")
def test_folder_keeps_a_file_of_its_own(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "0.jpg").write_bytes(photograph())
    exact, gpu = (ImageFolder("x", tmp_path, 12, way=way).load("train").inputs for way in ("exact", "gpu"))
    assert isinstance(exact, torch.Tensor)
    assert isinstance(gpu, torch.Tensor)
    assert (exact.int() - gpu.int()).abs().max() <= 2
    assert (tmp_path / ".bench-cache" / "train-12-gpu.npy").is_file()


def test_without_a_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match=r"decode = 'gpu' needs a CUDA GPU, and torch finds none here; set it to"):
        decode_jpegs([photograph()], 12, False)


def test_process_that_reads_ahead_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_jpeg, "get_worker_info", lambda: SimpleNamespace(num_workers=2))
    with pytest.raises(RequestError, match="leave --workers out"):
        decoding_device()
