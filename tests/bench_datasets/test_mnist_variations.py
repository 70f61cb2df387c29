import hashlib
import math
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from bench_core.contracts import Dataset, Split
from bench_core.data import MNISTFiles, Subsets
from bench_core.data.mnist_files import MNIST_MD5
from bench_core.errors import DataMissingError
from bench_datasets.mnist_variations import PARTS, MNISTBackground, MNISTRotated, bench_datasets, turned

COUNTS = {"train": 60, "test": 40}
BOTH = pytest.mark.parametrize("kind", [MNISTRotated, MNISTBackground])
Kind = Callable[[Path, Subsets], Dataset]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data root with a few random images in the layout of MNIST's files, whose sums are trusted."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 60), ("t10k", 40)):
        pixels = np.zeros((count, 28, 28), np.uint8)
        pixels[:, 6:22, 6:22] = np.random.RandomState(count).randint(1, 256, (count, 16, 16))
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes()
        labels = struct.pack(">II", 2049, count) + bytes(i % 10 for i in range(count))
        for file, data in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            (raw / file).write_bytes(data)
            monkeypatch.setitem(MNIST_MD5, file, hashlib.md5(data).hexdigest())
    return tmp_path


def images_of(split: Split) -> Tensor:
    assert isinstance(split.inputs, Tensor)
    assert split.inputs.dtype == torch.uint8
    assert split.inputs.shape[1:] == (1, 28, 28)
    return split.inputs


def noise(count: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 1, 28, 28), np.uint8))


def test_a_rotated_pixel_is_the_mean_of_four_written_as_loops() -> None:
    image, angle = noise(1), 0.7
    cos, sin = round(math.cos(angle) * PARTS) / PARTS, round(math.sin(angle) * PARTS) / PARTS
    ours = turned(image, np.array([angle]))
    for row in range(28):
        for column in range(28):
            x, y = column - 13.5, row - 13.5
            from_x, from_y = cos * x - sin * y + 13.5, sin * x + cos * y + 13.5
            value = 0.0
            for i in (math.floor(from_y), math.floor(from_y) + 1):
                for j in (math.floor(from_x), math.floor(from_x) + 1):
                    if 0 <= i < 28 and 0 <= j < 28:
                        value += (1 - abs(from_y - i)) * (1 - abs(from_x - j)) * int(image[0, 0, i, j])
            assert int(ours[0, 0, row, column]) == math.floor(value + 0.5)


def test_an_image_is_turned_as_scipy_turns_it() -> None:
    smooth = ndimage.gaussian_filter(noise(4)[:, 0].numpy().astype(float), (0, 2, 2))
    images = torch.from_numpy(smooth.round().astype(np.uint8))[:, None]
    angles = np.array([0.3, 1.9, 3.5, 6.0])
    for image, angle, ours in zip(images, angles, turned(images, angles), strict=True):
        theirs = ndimage.rotate(image[0].numpy().astype(float), math.degrees(angle), reshape=False, order=1)
        inside = theirs > 0  # where it reads a pixel outside, scipy gives 0 for the whole mean of four
        assert np.abs(theirs - ours[0].numpy())[inside].max() < 2


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4])
def test_quarters_of_a_turn_move_every_pixel_without_interpolation(quarters: int) -> None:
    images = noise(3)
    ours = turned(images, np.full(3, quarters * math.pi / 2))
    assert torch.equal(ours, torch.rot90(images, quarters, (2, 3)))


def test_a_uniform_disc_looks_the_same_at_every_angle() -> None:
    away = np.hypot(*(np.mgrid[:28, :28] - 13.5))
    disc = torch.from_numpy(np.where(away < 9, 200, 0).astype(np.uint8))[None, None].repeat(50, 1, 1, 1)
    ours = turned(disc, np.linspace(0, 6, 50))[:, 0].numpy()
    assert (ours[:, away < 7] == 200).all()
    assert (ours[:, away > 11] == 0).all()


def test_angles_are_spread_over_the_whole_circle(root: Path) -> None:
    upright, ours = MNISTFiles("mnist", root).load("train"), MNISTRotated(root, Subsets()).load("train")
    drawn = np.random.RandomState(0).uniform(0, 2 * math.pi, 60)
    assert {int(angle // (math.pi / 2)) for angle in drawn} == {0, 1, 2, 3}
    assert torch.equal(images_of(ours), turned(images_of(upright), drawn))


def test_background_is_uniform_noise_and_the_digit_stays(root: Path) -> None:
    for name in ("train", "test"):
        black = images_of(MNISTFiles("mnist", root).load(name))
        ours = images_of(MNISTBackground(root, Subsets()).load(name))
        assert torch.equal(ours[black > 0], black[black > 0])
        background = ours[black == 0].double()
        assert float(background.mean()) == pytest.approx(127.5, abs=2)
        assert float(background.std()) == pytest.approx(math.sqrt((256**2 - 1) / 12), abs=1)
        assert (float(background.min()), float(background.max())) == (0, 255)


@BOTH
def test_labels_are_those_of_mnist_and_splits_have_streams_of_their_own(kind: Kind, root: Path) -> None:
    for name, count in COUNTS.items():
        split = kind(root, Subsets()).load(name)
        labels = MNISTFiles("mnist", root).load(name).labels
        assert split.labels is not None
        assert labels is not None
        assert torch.equal(split.labels, labels)
        assert len(split) == count
    train, test = (images_of(kind(root, Subsets()).load(name)) for name in COUNTS)
    corners = (train[:40, 0, 0], test[:, 0, 0]) if kind is MNISTBackground else (train[:40], test)
    assert not torch.equal(*corners)


@BOTH
def test_an_item_looks_the_same_in_a_smaller_part(kind: Kind, root: Path) -> None:
    whole = images_of(kind(root, Subsets()).load("train"))
    part = images_of(kind(root, Subsets(train_size=10)).load("train"))
    assert len(part) == 10
    assert all(any(torch.equal(image, other) for other in whole) for image in part)


@pytest.mark.parametrize(
    ("kind", "sum_of_pixels"), [(MNISTRotated, "4c3e7214d50688d1"), (MNISTBackground, "01395c9d2c7cc34f")]
)
def test_pixels_of_the_recipe_stay_the_same(kind: Kind, sum_of_pixels: str, root: Path) -> None:
    pixels = images_of(kind(root, Subsets()).load("train")).numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == sum_of_pixels, "other pixels need another RECIPE"


def test_digests_differ_from_each_other_and_need_no_data(tmp_path: Path) -> None:
    digests = [kind(tmp_path, Subsets()).digest() for kind in (MNISTRotated, MNISTBackground)]
    assert len({*digests, MNISTFiles("mnist", tmp_path).digest()}) == 3
    assert all(digest.startswith("sha256:") for digest in digests)


@BOTH
def test_the_description_needs_no_data_and_reflects_the_config(kind: Kind, tmp_path: Path) -> None:
    spec = kind(tmp_path, Subsets(train_size=12_000)).spec()
    assert spec.splits == {"train": 12_000, "test": 10_000}
    assert (spec.shape, spec.num_classes, spec.views, spec.kind) == ((1, 28, 28), 10, "glyph", "image")


@BOTH
def test_missing_files_are_named_with_the_command_that_fetches_them(kind: Kind, tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=r"mnist_(rotated|background): .*train-images-idx3-ubyte.*--download"):
        kind(tmp_path, Subsets()).load("train")


@BOTH
def test_download_checks_the_files(kind: Kind, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("torchvision.datasets.MNIST", lambda path, download: calls.append((path, download)))
    kind(root, Subsets()).download()
    assert calls == [(str(root), True)]
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    with pytest.raises(DataMissingError, match="md5 differs"):
        kind(root, Subsets()).download()


def test_both_are_registered() -> None:
    assert bench_datasets() == {"mnist_rotated": MNISTRotated, "mnist_background": MNISTBackground}
