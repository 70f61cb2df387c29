"""Points of the plane from narrow Gaussians whose centres lie on a ring or on a grid: a test of covered modes.

Source: ours, after VEEGAN (Srivastava et al., NeurIPS 2017, https://arxiv.org/abs/1705.07761) and PacGAN
    (https://github.com/fjxmlzn/PacGAN/tree/b331f4f/synthetic_data_experiments), scaled to values from about -1 to 1.
Note:  Values are rounded to 2^-20, so that machines whose cosines differ in the last bit draw the same points. A test
    checks their SHA-256; VERSION rises if they change.

Shapes: N points (N, 2); labels are the modes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import digest_of
from bench_core.errors import RequestError

VERSION = 1  # of the points; part of the digest
_SEEDS = {"train": 0, "test": 1}
_STEP = 2**-20  # values are whole multiples of it


@dataclass(frozen=True, kw_only=True)
class GaussianRingConfig(Config):
    """Parameters of the mixture, and numbers of points."""

    modes: int = param(25, "number of Gaussians; a square number for a grid", "MINE, section 5.1: 25", ge=2, le=1000)
    layout: Literal["ring", "grid"] = param(
        "ring", "where the centres lie: on the unit circle, or on a square grid from -1 to 1", "ours; VEEGAN has both"
    )
    std: float = param(
        0.01, "standard deviation of each Gaussian in both directions", "ours: neighbours are 25 of it apart", gt=0
    )
    train_size: int = param(10_000, "number of points to train on", "ours: 400 of each mode", ge=1)
    test_size: int = param(2_500, "number of points to test on", "ours: 100 of each mode", ge=1)

    def __post_init__(self) -> None:
        """Check that a grid is square, and that each mode has a point to train on."""
        super().__post_init__()
        if self.layout == "grid" and math.isqrt(self.modes) ** 2 != self.modes:
            raise ValueError(f"modes must be a square number for a grid (4, 9, 16, 25), got {self.modes}")
        if self.train_size < self.modes:
            raise ValueError(f"train_size must be >= modes, got {self.train_size} and {self.modes}")


class GaussianRing(Dataset):
    """Points from 25 Gaussians on a ring, no download.

    Vectors of two values, whose labels are the Gaussians. Points are made by a formula from a seed, and nothing is read
    from the data root.
    """

    Config = GaussianRingConfig
    licence = "Apache-2.0, made by code of this project"

    def __init__(self, root: Path, config: GaussianRingConfig) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return counts, with mean and std of the mixture."""
        points = centres(self.config.modes, self.config.layout)
        variance = (points**2).mean(0) + self.config.std**2  # the centres have mean 0
        return DataSpec(
            shape=(2,),
            splits={"train": self.config.train_size, "test": self.config.test_size},
            num_classes=self.config.modes,
            mean=(0.0, 0.0),
            std=(math.sqrt(variance[0]), math.sqrt(variance[1])),
        )

    def digest(self) -> str:
        """Return the SHA-256 of VERSION and of the parameters that define the points."""
        config = self.config
        return digest_of("gaussian_ring", f"{VERSION} {config.modes} {config.layout} {config.std}")

    def load(self, split: str) -> Split:
        """Draw the points of `train` or `test`: as many of each mode, to one, in turn.

        Raises:
            RequestError: No split has this name.
        """
        if split not in _SEEDS:
            raise RequestError(f"no split named {split!r}; there are: train, test.")
        count = {"train": self.config.train_size, "test": self.config.test_size}[split]
        labels = np.arange(count) % self.config.modes
        noise = np.random.RandomState(_SEEDS[split]).standard_normal((count, 2))
        points = centres(self.config.modes, self.config.layout)[labels] + self.config.std * noise
        rounded = (np.round(points / _STEP) * _STEP).astype(np.float32)
        return Split(torch.from_numpy(rounded), torch.from_numpy(labels))


def centres(modes: int, layout: Literal["ring", "grid"]) -> npt.NDArray[np.float64]:
    """Return the centres (modes, 2) of the Gaussians; their mean is 0."""
    if layout == "ring":
        angles = 2 * np.pi * np.arange(modes) / modes
        return np.stack([np.cos(angles), np.sin(angles)], 1)
    side = np.linspace(-1, 1, math.isqrt(modes))
    return np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(modes, 2)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"gaussian_ring": GaussianRing}
