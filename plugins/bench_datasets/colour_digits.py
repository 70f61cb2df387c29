"""Colour digits: MNIST's digits in ten colours, where digit and colour go together in train and need not in a test.

Source: ours, from MNIST's files, after the correlated attributes of Funke, Vicol, Wang, Kümmerer, Zemel, Bethge,
    CoLLAs 2022, https://arxiv.org/abs/2112.14754 (pairs of digits, and faces)
Note:  With `correlation` c the colour is, with chance c, the digit's own, else any of the ten. So Cramer's V of digit
    and colour is c, up to the draw. Of two digits and two colours, c would be their correlation, as in the paper.
    `test` has the correlation of train; `test_uncorrelated` has the same digits in colours drawn without regard to
    them. Item i takes the i-th numbers of its split's stream, whatever the sizes of the parts.
    With `occlusion` some of the 16 cells of 7 x 7 pixels are grey in each image, the same ones each time it is read, so
    that some digits cannot be told and their colour helps. The paper draws smoother occlusions, anew each time.
    A shape in any colour is the same digit, so `views` is "glyph": nothing changes the colour.

Shapes: N images of (3, 28, 28); F = 2 factors: digit, colour. Labels are the digits.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import MNIST_COUNTS, MNISTFiles, Subsets, digest_of, subset, subset_counts

RECIPE = "1"  # part of the digest; raised when the code below makes other pixels
SEEDS = {"train": 0, "test": 1, "test_uncorrelated": 2}
OCCLUSION_SEED, GREY = 10, 128
COLOURS = (  # red, green and blue of colour k, which is that of digit k
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255),
    (0, 255, 255), (255, 255, 255), (255, 128, 0), (128, 0, 255), (0, 128, 128),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ColourDigitsConfig(Config):
    """Parameters of the set: sizes of its parts, and how much digit and colour go together."""

    train_size: int | None = param(
        None, "items to train on, balanced over digits; none: all 60,000", "ours: all of it", ge=1
    )
    test_size: int | None = param(
        None, "items of each test split, balanced over digits; none: all 10,000", "ours: all of it", ge=1
    )
    correlation: float = param(
        0.8, "correlation of digit and colour in train and test, Cramer's V", "paper: of its faces", ge=0, le=1
    )
    occlusion: float = param(
        0.0, "chance of each of 4 x 4 cells of an image to be grey, so that the digit is in doubt", "ours: off", ge=0,
        lt=1,
    )  # fmt: skip


class ColourDigits(Dataset):
    """MNIST's digits in colours that go with them.

    Colour images of 28 x 28 pixels, factors digit and colour. The splits are `train`, `test` with the same correlation,
    and `test_uncorrelated`. Reads MNIST's files, under `MNIST/raw` of the data root.
    """

    Config = ColourDigitsConfig
    licence = MNISTFiles.licence

    def __init__(self, root: Path, config: ColourDigitsConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.files, self.config = MNISTFiles("colour_digits", root), config
        self.sizes = Subsets(train_size=config.train_size, test_size=config.test_size)

    def spec(self) -> DataSpec:
        """Return shapes, factors and counts; mean and std are those of the default train split (ours)."""
        counts = subset_counts(self.sizes, **MNIST_COUNTS)
        return DataSpec(
            shape=(3, 28, 28),
            splits={**counts, "test_uncorrelated": counts["test"]},
            num_classes=10,
            mean=(0.0756, 0.0614, 0.0725),
            std=(0.2370, 0.2086, 0.2326),
            factors={"digit": 10, "colour": len(COLOURS)},
            views="glyph",
        )

    def digest(self) -> str:
        """Return the SHA-256 of MNIST's published md5 sums and of the version of the recipe."""
        return digest_of(self.files.digest(), "colours", RECIPE)

    def load(self, split: str) -> Split:
        """Read one split: `train`, `test` or `test_uncorrelated`."""
        correlation = 0.0 if split == "test_uncorrelated" else self.config.correlation
        part = "test" if split == "test_uncorrelated" else split
        return subset(self.sizes, part, lambda name: self._coloured(name, SEEDS[split], correlation))

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        self.files.download()

    def _coloured(self, name: str, seed: int, correlation: float) -> Split:
        """Return all of MNIST's `train` or `test`, in colours."""
        grey = self.files.load(name)
        assert isinstance(grey.inputs, Tensor)
        assert grey.labels is not None, "MNIST has classes"
        colours = drawn_colours(grey.labels, seed, correlation)
        images = occluded(painted(grey.inputs, colours), seed, self.config.occlusion)
        return Split(images, grey.labels, torch.stack([grey.labels, colours], 1))


def drawn_colours(digits: Tensor, seed: int, correlation: float) -> Tensor:
    """Draw the colour (N,) of each digit (N,): its own with chance `correlation`, else any of the ten."""
    stream = np.random.RandomState(seed)
    is_own = torch.from_numpy(stream.uniform(size=len(digits)) < correlation)
    return torch.where(is_own, digits, torch.from_numpy(stream.randint(len(COLOURS), size=len(digits))))


def painted(grey: Tensor, colours: Tensor) -> Tensor:
    """Return uint8 images (N, 3, H, W): grey images (N, 1, H, W) in the colours (N,), rounded."""
    parts = torch.tensor(COLOURS)[colours][:, :, None, None]
    return ((grey.int() * parts.int() + 127) // 255).to(torch.uint8)


def occluded(images: Tensor, seed: int, chance: float) -> Tensor:
    """Return uint8 images (N, 3, 28, 28) of which each of 4 x 4 cells is grey with a chance."""
    if not chance:
        return images
    cells = np.random.RandomState(OCCLUSION_SEED + seed).uniform(size=(len(images), 1, 4, 4)) < chance
    is_grey = torch.from_numpy(cells).repeat_interleave(7, 2).repeat_interleave(7, 3)
    return images.masked_fill(is_grey, GREY)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"colour_digits": ColourDigits}
