"""Land seen in 12 bands of light: fields of 8 kinds of land, drawn by code, each image with 1 to 3 of them.

Source: ours. The bands follow those of Sentinel-2's optical instrument, but all spectra are invented: scores say
    nothing about real images of the Earth.
Note:  A kind of land is a spectrum and a texture. Four spectra have two textures each, so that the mean of each band
    tells four kinds apart and only the pattern of pixels tells the others. What is no label differs from image to
    image: the light, the haze, which adds to the first bands most, the gain of each band, the noise of each value, and
    where fields and patterns lie. Whole numbers and numpy's RandomState, whose stream never changes, so every machine
    draws the same images. A test checks their SHA-256; VERSION rises if they change.

Shapes: N images of (12, size, size) uint8, L = K = 8 kinds of land.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import digest_of
from bench_core.errors import RequestError

VERSION = 1  # of the drawing; part of the digest
LAND = ("lake", "marsh", "forest", "orchard", "meadow", "crops", "soil", "town")
BANDS = 12
_SPECTRA = np.array(  # coastal, blue, green, red, 3 of the red edge, 2 near infrared, vapour, 2 short-wave infrared
    [
        [34, 32, 28, 22, 20, 20, 20, 18, 16, 12, 8, 6],
        [14, 14, 18, 14, 30, 70, 86, 90, 92, 88, 48, 24],
        [18, 20, 30, 24, 48, 90, 104, 110, 112, 104, 70, 40],
        [44, 52, 62, 74, 80, 84, 88, 90, 92, 92, 104, 96],
    ]
)
_HAZE = np.array([16, 14, 11, 8, 7, 6, 5, 4, 4, 3, 1, 0])  # of each band, in sixteenths
_MEAN = (0.1522, 0.1526, 0.1633, 0.1514, 0.1914, 0.2718, 0.3031, 0.3100, 0.3137, 0.2952, 0.2249, 0.1609)
_STD = (0.0678, 0.0753, 0.0832, 0.1064, 0.1101, 0.1425, 0.1662, 0.1771, 0.1836, 0.1793, 0.1611, 0.1477)
_MOST_FIELDS = 3
_BLOCK = 100  # images that are drawn together
_SPLITS = ("train", "test")

Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MadeBandsConfig(Config):
    """Parameters of the images and their labels."""

    size: int = param(16, "side of an image, in pixels", "ours: seconds on a CPU", ge=8, le=64)
    train_size: int = param(4000, "number of images to train on", "ours", ge=1, le=1_000_000)
    test_size: int = param(1000, "number of images to test on", "ours", ge=1, le=1_000_000)
    labels: Literal["many", "one"] = param(
        "many",
        "many: 1 to 3 kinds of land in an image, multi-hot labels; one: a single kind, classes",
        "ours: as BigEarthNet and as EuroSAT",
    )


class MadeBands(Dataset):
    """Drawn land in 12 bands, no download.

    Images of 16 x 16 pixels by default, with 1 to 3 of 8 kinds of land in each. A kind is a label of an image if it
    covers a sixteenth of it. Nothing is read from the data root.
    """

    Config = MadeBandsConfig
    licence = "Apache-2.0, made by code of this project"

    def __init__(self, root: Path, config: MadeBandsConfig) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return shapes, labels and counts; mean and std are those of the default config's training images."""
        many = self.config.labels == "many"
        return DataSpec(
            shape=(BANDS, self.config.size, self.config.size),
            splits={"train": self.config.train_size, "test": self.config.test_size},
            num_labels=len(LAND) if many else None,
            num_classes=None if many else len(LAND),
            mean=_MEAN,
            std=_STD,
            views="bands",
        )

    def digest(self) -> str:
        """Return the SHA-256 of VERSION and of the parameters that define the images."""
        return digest_of("made_bands", f"{VERSION} {self.config.size} {self.config.labels}")

    def load(self, split: str) -> Split:
        """Draw the images of `train` or `test`; the first images are the same whatever their number."""
        if split not in _SPLITS:
            raise RequestError(f"no split named {split!r}; there are: {', '.join(_SPLITS)}.")
        count = self.config.train_size if split == "train" else self.config.test_size
        most = _MOST_FIELDS if self.config.labels == "many" else 1
        blocks = [
            draw_land(np.random.RandomState([_SPLITS.index(split), number]), _BLOCK, self.config.size, most)
            for number in range(-(-count // _BLOCK))
        ]
        images, covered = (torch.from_numpy(np.concatenate(parts)[:count]) for parts in zip(*blocks, strict=True))
        labels = covered if self.config.labels == "many" else covered.long().argmax(1)
        return Split(images, labels)


def draw_land(
    rng: np.random.RandomState, count: int, size: int, most: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Draw images of land.

    Args:
        rng: Source of all random numbers.
        count: Number of images N.
        size: Side of an image in pixels.
        most: Largest number of fields in an image, 1 to 3; each number is equally likely.

    Returns:
        Images (N, 12, size, size), and which kinds of land (N, 8) cover a sixteenth of each.
    """
    land = _fields(rng, count, size, most)  # (N, size, size)
    textures = np.stack(_textures(rng, count, size), 1)  # (N, 8, size, size)
    texture = np.take_along_axis(textures, land[:, None], 1)  # (N, 1, size, size)
    light = 16 + texture  # in sixteenths
    light = light * _draw(rng, 88, 169, count, 1, 1, 1)  # of the whole image, in 128ths
    light = light * _draw(rng, 112, 145, count, BANDS, 1, 1)  # of each band, in 128ths
    values = _SPECTRA[land // 2].transpose(0, 3, 1, 2) * light // (16 * 128 * 128)
    values += _draw(rng, 0, 25, count, 1, 1, 1) * _HAZE[:, None, None] // 16
    values += _draw(rng, -6, 7, count, BANDS, size, size)
    covered = np.stack([(land == kind).sum((1, 2)) * 16 >= size * size for kind in range(len(LAND))], 1)
    return values.clip(0, 255).astype(np.uint8), covered


def _fields(rng: np.random.RandomState, count: int, size: int, most: int) -> Whole:
    """Divide each image into fields, and draw the kind of land of each: (N, size, size).

    A pixel belongs to the nearest of up to three points.
    """
    kinds = _draw(rng, 0, 2**31, count, len(LAND)).argsort(1, kind="stable")
    number = _draw(rng, 1, most + 1, count)
    x, y = _draw(rng, 0, size, 2, count, _MOST_FIELDS, 1, 1)
    row, column = np.arange(size)[:, None], np.arange(size)
    distance = (row - y) ** 2 + (column - x) ** 2  # (N, 3, size, size)
    unused = np.arange(_MOST_FIELDS) >= number[:, None]
    nearest = (distance + unused[:, :, None, None] * 3 * size**2).argmin(1)
    return np.take_along_axis(kinds[:, :, None, None], nearest[:, None], 1)[:, 0]


def _textures(rng: np.random.RandomState, count: int, size: int) -> list[Whole]:
    """Draw the pattern of each kind of land, in the order of LAND: (N, size, size), changes of light in sixteenths."""
    rows, columns = _draw(rng, 0, 12, 2, count, 1, 1)  # where a pattern begins; 12 is a multiple of all periods
    row, column = np.arange(size)[:, None] + rows, np.arange(size) + columns
    smooth = np.zeros((count, size, size), np.int64)
    speckle = 5 * (1 - 2 * _draw(rng, 0, 2, count, size, size))
    lines = np.where(_draw(rng, 0, 2, count, 1, 1) == 0, row + 0 * column, column + 0 * row)
    stripes = 5 * (1 - 2 * (lines // 2 % 2))
    dots = np.where((row % 3 == 0) & (column % 3 == 0), 16, -2)
    blocks = 5 * (1 - 2 * ((row // 3 + column // 3) % 2))
    return [smooth, speckle, speckle, dots, smooth, stripes, smooth, blocks]


def _draw(rng: np.random.RandomState, low: int, high: int, *shape: int) -> Whole:
    """Draw whole numbers from `low` to `high` - 1."""
    return rng.randint(low, high, shape, np.int64)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"made_bands": MadeBands}
