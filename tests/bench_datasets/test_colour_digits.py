import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats.contingency import association
from torch import Tensor

from bench_core.data import MNISTFiles
from bench_core.data.mnist_files import MNIST_MD5
from bench_core.errors import ConfigError, DataMissingError, RequestError
from bench_datasets.colour_digits import (
    COLOURS,
    ColourDigits,
    ColourDigitsConfig,
    bench_datasets,
    drawn_colours,
    painted,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data root with a few random images in the layout of MNIST's files, whose sums are trusted."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    monkeypatch.setattr("bench_datasets.colour_digits.MNIST_COUNTS", {"train": 200, "test": 100})
    for name, count in (("train", 200), ("t10k", 100)):
        pixels = np.random.RandomState(count).randint(0, 256, (count, 28, 28)).astype(np.uint8)
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes()
        labels = struct.pack(">II", 2049, count) + bytes(i % 10 for i in range(count))
        for file, data in ((f"{name}-images-idx3-ubyte", images), (f"{name}-labels-idx1-ubyte", labels)):
            (raw / file).write_bytes(data)
            monkeypatch.setitem(MNIST_MD5, file, hashlib.md5(data).hexdigest())
    return tmp_path


def digits(root: Path, **config: Any) -> ColourDigits:
    return ColourDigits(root, ColourDigitsConfig(**config))


def read(data: ColourDigits, split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 28, 28) and factors (N, 2) of a split, whose labels are the digits."""
    loaded = data.load(split)
    assert isinstance(loaded.inputs, Tensor)
    assert loaded.factors is not None
    assert loaded.labels is not None
    assert torch.equal(loaded.labels, loaded.factors[:, 0])
    return loaded.inputs, loaded.factors


def test_a_pixel_is_its_grey_value_times_the_colour() -> None:
    grey = torch.tensor([0, 1, 100, 255], dtype=torch.uint8).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    images = painted(grey, torch.tensor([7, 9]))
    assert images[0].flatten(1).tolist() == [[0, 1, 100, 255], [0, 1, 50, 128], [0, 0, 0, 0]]  # orange: 255, 128, 0
    assert images[1].flatten(1).tolist() == [[0, 0, 0, 0], [0, 1, 50, 128], [0, 1, 50, 128]]  # teal: 0, 128, 128
    assert images.dtype == torch.uint8


def test_the_ten_colours_differ() -> None:
    assert len(set(COLOURS)) == 10
    distances = torch.cdist(torch.tensor(COLOURS).float(), torch.tensor(COLOURS).float())
    assert float(distances[~torch.eye(10, dtype=torch.bool)].min()) > 100


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 1.0])
def test_correlation_is_cramers_v_of_digit_and_colour(correlation: float) -> None:
    values = torch.arange(20_000) % 10
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (values.numpy(), drawn_colours(values, 0, correlation).numpy()), 1)
    assert association(table) == pytest.approx(correlation, abs=0.03)


def test_two_digits_and_two_colours_have_this_correlation_coefficient() -> None:
    values = torch.arange(400_000) % 10
    colours = drawn_colours(values, 0, 0.8)
    both = (values < 2) & (colours < 2)
    own = 0.8 + 0.2 / 10
    expected = (own - 0.02) / (own + 0.02)  # of the table ((own, .02), (.02, own))
    assert np.corrcoef(values[both], colours[both])[0, 1] == pytest.approx(expected, abs=0.01)


def test_only_the_colours_differ_between_the_two_test_splits(root: Path) -> None:
    data = digits(root)
    assert data.spec().splits == {"train": 200, "test": 100, "test_uncorrelated": 100}
    assert data.spec().factors == {"digit": 10, "colour": 10}
    grey = MNISTFiles("mnist", root).load("test").inputs
    assert isinstance(grey, Tensor)
    for split, least, most in (("test", 0.7, 0.95), ("test_uncorrelated", 0.0, 0.25)):
        images, factors = read(data, split)
        assert images.shape == (100, 3, 28, 28)
        assert torch.equal(images, painted(grey, factors[:, 1]))
        assert least < float((factors[:, 0] == factors[:, 1]).float().mean()) < most


def test_an_item_looks_the_same_in_a_smaller_part(root: Path) -> None:
    whole, _ = read(digits(root), "train")
    part, factors = read(digits(root, train_size=20), "train")
    assert part.shape == (20, 3, 28, 28)
    assert factors[:, 0].bincount().tolist() == [2] * 10
    assert all(any(torch.equal(image, other) for other in whole) for image in part)


def test_more_correlation_moves_colours_to_those_of_the_digits_only(root: Path) -> None:
    (_, less), (_, more) = (read(digits(root, correlation=c), "train") for c in (0.3, 0.8))
    moved = less[:, 1] != more[:, 1]
    assert bool(moved.any())
    assert torch.equal(more[moved, 1], more[moved, 0])


def test_colours_of_the_recipe_stay_the_same(root: Path) -> None:
    drawn = torch.cat([read(digits(root), split)[1][:, 1] for split in ("train", "test", "test_uncorrelated")])
    digest = hashlib.sha256(drawn.numpy().tobytes()).hexdigest()[:16]
    assert digest == "cf3aab4a8a0a3500", "other colours need another RECIPE"


def test_occlusion_makes_whole_cells_grey_and_leaves_the_others(root: Path) -> None:
    (clear, factors), (images, same) = (read(digits(root, occlusion=part), "train") for part in (0.0, 0.3))
    assert torch.equal(factors, same)
    assert torch.equal(images, read(digits(root, occlusion=0.3), "train")[0])  # the same cells each time
    cells, whole = (x.reshape(-1, 3, 4, 7, 4, 7) for x in (images, clear))  # (N, 3, 4, 7, 4, 7)
    is_grey = (cells == 128).all(5).all(3).all(1)  # (N, 4, 4)
    assert float(is_grey.double().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(cells.permute(0, 2, 4, 1, 3, 5)[~is_grey], whole.permute(0, 2, 4, 1, 3, 5)[~is_grey])


def test_the_digest_is_not_that_of_mnist_and_needs_no_data(tmp_path: Path) -> None:
    digest = digits(tmp_path).digest()
    assert digest.startswith("sha256:")
    assert digest != MNISTFiles("mnist", tmp_path).digest()


def test_what_cannot_be_read_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"correlation must be in \[0, 1\], got -0.1"):
        ColourDigitsConfig(correlation=-0.1)
    with pytest.raises(ValueError, match=r"occlusion must be in \[0, 1\), got 1.0"):
        ColourDigitsConfig(occlusion=1.0)
    with pytest.raises(ConfigError, match="train_size must be at most 200, got 201"):
        digits(root, train_size=201).spec()
    with pytest.raises(RequestError, match="no split named 'validation'"):
        digits(root).load("validation")
    (root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataMissingError, match=r"colour_digits: .*t10k-labels-idx1-ubyte.*--download"):
        digits(root).load("test_uncorrelated")


def test_it_is_registered() -> None:
    assert bench_datasets() == {"colour_digits": ColourDigits}
