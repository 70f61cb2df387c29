"""Small digits, each with a noisy copy or with its edges: pairs without a download.

Source: ours. Images: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    https://doi.org/10.24432/C50P49 (its test part), as `sklearn.datasets.load_digits` returns it. Edges: Sobel's
    operator.
Note:  Grey levels 0..16 become 0..255. The split is ours: 54 images of each class to test on, drawn with a seed, and
    the others to train on. It is not the split of `digits`.

Shapes: N = 1,797 pairs, (1, 8, 8) each image, 10 classes.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from bench_core import Dataset, DataSpec, Split, param
from bench_core.data import Pair, digest_of, draw_index, subset, take

from .left_out import DigitSubsets, counts_without, without

NUM_TEST = 540
TRAIN_COUNTS = (124, 128, 123, 129, 127, 128, 127, 125, 120, 126)  # of each class
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class DigitPairsConfig(DigitSubsets):
    """Parameters of the pairs: what the second image is."""

    second: Literal["noisy", "edges"] = param("noisy", "second image: a noisy copy, or the edges", "ours")
    noise: float = param(
        0.25, "standard deviation of the noisy copy's noise, as a part of the range of grey levels", "ours", ge=0
    )


class DigitPairs(Dataset):
    """Small digits with noisy copies or edges, bundled.

    10 classes, grey, 8 x 8 pixels an image; the images come with scikit-learn, and nothing is read from the data root.
    """

    Config = DigitPairsConfig
    licence = "CC-BY-4.0, Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, https://doi.org/10.24432/C50P49"

    def __init__(self, root: Path, config: DigitPairsConfig) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return modalities, classes and counts; mean and std of the digits are those of `digits`, used for both."""
        splits = counts_without(self.config, TRAIN_COUNTS, NUM_TEST, self.config.left_out)
        image = DataSpec(shape=(1, 8, 8), splits=splits, num_classes=10, mean=(0.3056,), std=(0.3764,), views="glyph")
        return DataSpec(
            shape=(),
            splits=splits,
            num_classes=10,
            kind="pairs",
            modalities={"digit": image, self.config.second: image},
        )

    def digest(self) -> str:
        """Return the SHA-256 of both images of all pairs, and of the labels."""
        images, labels = _digits()
        return digest_of(images, self._second(images), labels)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def _whole(self, name: str) -> Split:
        images, classes = _digits()
        labels = torch.from_numpy(classes.copy())
        pairs = Pair(torch.from_numpy(images.copy()), torch.from_numpy(self._second(images)))
        tested = torch.zeros(len(labels), dtype=torch.bool)
        tested[draw_index(labels, len(labels), NUM_TEST)] = True
        part = take(Split(pairs, labels), (tested if name == "test" else ~tested).nonzero().squeeze(1))
        return without(part, self.config.left_out if name == "train" else ())

    def _second(self, images: Pixels) -> Pixels:
        """Return the second image of each pair (N, 1, 8, 8)."""
        return edges(images) if self.config.second == "edges" else noisy(images, self.config.noise)


def noisy(images: Pixels, deviation: float) -> Pixels:
    """Add Gaussian noise, always the same, and cut the result to 0..255.

    Args:
        images: (N, C, H, W) uint8.
        deviation: Standard deviation, as a part of 255.
    """
    noise = np.random.RandomState(0).standard_normal(images.shape)  # this stream is the same in every version of numpy
    return np.rint(np.clip(images + 255 * deviation * noise, 0, 255)).astype(np.uint8)


def edges(images: Pixels) -> Pixels:
    """Return a quarter of the length of Sobel's gradient, at most 255; the images are 0 beyond their border.

    Args:
        images: (N, C, H, W) uint8.
    """
    rows = np.pad(images.astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    across = rows[..., 2:] - rows[..., :-2]  # (N, C, H + 2, W)
    down = rows[..., 2:, :] - rows[..., :-2, :]  # (N, C, H, W + 2)
    horizontal = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    vertical = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    gradient: Pixels = np.rint(np.minimum(np.sqrt(horizontal**2 + vertical**2) / 4, 255)).astype(np.uint8)
    return gradient


@cache
def _digits() -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return all images (1797, 1, 8, 8) and their classes (1797,)."""
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    bunch: Any = load_digits()
    images: Pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return images, bunch.target.astype(np.int64)
