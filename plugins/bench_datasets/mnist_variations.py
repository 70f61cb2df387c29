"""MNIST turned by random angles, and MNIST on random backgrounds, made from MNIST's files by code.

Source: Larochelle, Erhan, Courville, Bergstra, Bengio, ICML 2007, https://doi.org/10.1145/1273496.1273556 (mnist-rot
    and mnist-back-rand); used by Vincent et al., JMLR 11, 2010, https://jmlr.org/papers/v11/vincent10a.html
Note:  The published sets have 12,000 images to train on and 50,000 to test on, drawn from all of MNIST. Ours keep
    MNIST's own split, so numbers of these papers are not comparable with ours. With `train_size=12000` only the number
    of training images agrees. The scripts that made the published sets are not public. So the interpolation, and what
    happens at the grey edge of a stroke, are ours.

Each split has a random stream of its own, and item i takes the i-th numbers of it, whatever the sizes of the parts.
The rotation computes with integers, so all machines make the same pixels.

Shapes: 60,000 + 10,000 images, (1, 28, 28) each, 10 classes.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core import Dataset, DataSpec, Split, hookimpl
from bench_core.data import MNIST_COUNTS, MNISTFiles, Subsets, digest_of, subset, subset_counts

RECIPE = "1"  # part of the digests; raised when the code below makes other pixels
SEEDS = {"train": 0, "test": 1}
SIDE = 28
PARTS = 1024  # sines and cosines are rounded to 1 / PARTS, which moves no pixel by more than 0.02 of its side
CHUNK = 1000  # images that are turned at a time


class MNISTRotated(Dataset):
    """70,000 digits, each turned by a random angle.

    Angles are uniform in the whole circle; 28 x 28 pixels, 10 classes, grey. Reads MNIST's files, under `MNIST/raw` of
    the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.files, self.config = MNISTFiles("mnist_rotated", root), config

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; mean and std are those of all training images, computed by us."""
        return _spec(self.config, mean=0.1306, std=0.2898)

    def digest(self) -> str:
        """Return the SHA-256 of MNIST's published md5 sums and of the version of the recipe."""
        return digest_of(self.files.digest(), "rotated", RECIPE)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        self.files.download()

    def _whole(self, name: str) -> Split:
        """Return all of `train` or `test`, turned."""
        upright = self.files.load(name)
        assert isinstance(upright.inputs, Tensor)
        angles = np.random.RandomState(SEEDS[name]).uniform(0, 2 * math.pi, len(upright))
        return Split(turned(upright.inputs, angles), upright.labels)


class MNISTBackground(Dataset):
    """70,000 digits on backgrounds of random pixels.

    Background pixels are uniform in 0 to 255; 28 x 28 pixels, 10 classes, grey. Reads MNIST's files, under `MNIST/raw`
    of the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.files, self.config = MNISTFiles("mnist_background", root), config

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; mean and std are those of all training images, computed by us."""
        return _spec(self.config, mean=0.5351, std=0.3096)

    def digest(self) -> str:
        """Return the SHA-256 of MNIST's published md5 sums and of the version of the recipe."""
        return digest_of(self.files.digest(), "background", RECIPE)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        self.files.download()

    def _whole(self, name: str) -> Split:
        """Return all of `train` or `test`; where MNIST's pixel is 0, a random one is."""
        black = self.files.load(name)
        assert isinstance(black.inputs, Tensor)
        noise = np.random.RandomState(SEEDS[name]).randint(0, 256, black.inputs.shape, np.uint8)
        return Split(torch.where(black.inputs == 0, torch.from_numpy(noise), black.inputs), black.labels)


def turned(images: Tensor, angles: npt.NDArray[np.float64]) -> Tensor:
    """Turn each image about its centre, with bilinear interpolation and 0 outside of it.

    Args:
        images: uint8 (N, 1, 28, 28).
        angles: Angles (N,) in radians, counter-clockwise as one sees the image.

    Returns:
        uint8 (N, 1, 28, 28).
    """
    cosines, sines = (np.rint(f(angles) * PARTS).astype(np.int32) for f in (np.cos, np.sin))
    parts = [
        _turned(images[start : start + CHUNK, 0].numpy(), cosines[start : start + CHUNK], sines[start : start + CHUNK])
        for start in range(0, len(images), CHUNK)
    ]
    return torch.from_numpy(np.concatenate(parts))[:, None]


def _turned(images: npt.NDArray[np.uint8], cosines: npt.NDArray[Any], sines: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Turn images (n, 28, 28) by angles whose cosines and sines (n,) are given as integers, times `PARTS`.

    Coordinates are integers, too, in units of 1 / (2 * PARTS) of a pixel's side: twice a distance from the centre,
    13.5, is an integer.
    """
    unit, border = 2 * PARTS, 7  # a corner comes from at most 5.6 pixels outside, and its neighbour from one more
    away = 2 * np.arange(SIDE, dtype=np.int32) - (SIDE - 1)
    cos, sin = cosines[:, None, None], sines[:, None, None]
    middle = PARTS * (SIDE - 1) + unit * border
    x = cos * away - sin * away[:, None] + middle  # (n, 28, 28): where each pixel comes from, in the padded image
    y = sin * away + cos * away[:, None] + middle
    left, top, right_part, lower_part = x // unit, y // unit, x % unit, y % unit
    padded = np.pad(images, ((0, 0), (border, border), (border, border)))
    width = SIDE + 2 * border
    first = np.arange(len(images), dtype=np.int32)[:, None, None] * width**2 + top * width + left
    flat = padded.ravel().astype(np.int32)
    upper = flat[first] * (unit - right_part) + flat[first + 1] * right_part
    lower = flat[first + width] * (unit - right_part) + flat[first + width + 1] * right_part
    total = upper * (unit - lower_part) + lower * lower_part  # at most 255 * 2^22, which fits into int32
    rounded: npt.NDArray[np.uint8] = ((total + unit**2 // 2) // unit**2).astype(np.uint8)
    return rounded


def _spec(config: Subsets, *, mean: float, std: float) -> DataSpec:
    """Return shapes, classes and the counts that follow from the config."""
    return DataSpec(
        shape=(1, SIDE, SIDE),
        splits=subset_counts(config, **MNIST_COUNTS),
        num_classes=10,
        mean=(mean,),
        std=(std,),
        views="glyph",
    )


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"mnist_rotated": MNISTRotated, "mnist_background": MNISTBackground}
