"""Sprites: grey pictures of a square, an ellipse or a heart, made by code from known factors.

Source: ours, after dSprites (Matthey, Higgins, Hassabis, Lerchner, 2017,
    https://github.com/google-deepmind/dsprites-dataset): the same factors and numbers of values. Its pictures are
    64 x 64, binary and of another outline of the heart: numbers on the two do not compare.
Note:  A pixel is the part of its 4 x 4 points that lie within the shape. All sums are of whole numbers and exact, so
    every machine makes the same pictures; a test holds their SHA-256, and VERSION rises when they change.
    A square looks the same after a quarter turn, an ellipse after half a turn: no code can tell those orientations
    apart, and no score that asks for orientation reaches 1.
    `views` is "glyph": a crop changes scale and position, a mirror orientation and position. Small affine changes
    change them, too, but least. Methods that learn from views are told that what views change does not matter.

Shapes: N images of (1, size, size); F = 5 factors: shape, scale, orientation, x, y. Labels are the shapes.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bench_core import Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import (
    FactorDraws,
    digest_of,
    drawn,
    values_of,
)

VERSION = 1  # of the pictures
FACTORS = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")
_UNIT, _TURN = 256, 1024  # length of a pixel, and of the vectors (cos, sin), in whole numbers
_POINTS = 4  # on each side of a pixel
_BLOCK = 128  # images that are drawn at once

Place = npt.NDArray[np.int64]  # (N, 5): radius, centre x and y, cos and sin of the turn
Grid = npt.NDArray[np.float64]  # whole numbers below 2**53: exact, and faster than int64


@dataclass(frozen=True, kw_only=True)
class SpritesConfig(FactorDraws):
    """How large, and of what."""

    size: int = param(32, "side of an image in pixels, 8 to 256", "ours: dSprites has 64, a CPU has less")
    sizes: tuple[int, int, int, int, int] = param(
        (3, 6, 40, 32, 32), "values of shape (3 at most), scale, orientation, x and y", "dSprites"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if not 8 <= self.size <= 256:
            raise ValueError(f"size must be in [8, 256], got {self.size}")
        if min(self.sizes) < 1 or self.sizes[0] > len(SHAPES):
            raise ValueError(f"sizes must be >= 1, of shape <= {len(SHAPES)}, got {self.sizes}")
        if not self.train_size + self.test_size <= math.prod(self.sizes) <= 10_000_000:
            raise ValueError(f"sizes must make train_size + test_size to 10,000,000 combinations, got {self.sizes}")


class Sprites(Dataset):
    """Known factors without a download."""

    Config = SpritesConfig

    def __init__(self, root: Path, config: SpritesConfig) -> None:
        """Keep the config; nothing lies under `root`."""
        self.config = config

    def spec(self) -> DataSpec:
        """Counts under the config; mean and std are computed, of the default's training images."""
        sizes = self.config.sizes
        return DataSpec(
            shape=(1, self.config.size, self.config.size),
            splits={"train": self.config.train_size, "test": self.config.test_size},
            num_classes=sizes[0],
            mean=(0.0663,),
            std=(0.2388,),
            factors=dict(zip(FACTORS, sizes, strict=True)),
            views="glyph",
        )

    def digest(self) -> str:
        """Of the version of the pictures, and what the config makes of them."""
        return digest_of("sprites", f"{VERSION} {self.config.size} {self.config.sizes}")

    def load(self, split: str) -> Split:
        """`train` and `test`."""
        sizes = self.config.sizes
        factors = values_of(drawn(self.config, split, math.prod(sizes)), sizes)
        images = draw_sprites(factors.numpy(), sizes, self.config.size)
        return Split(torch.from_numpy(images), factors[:, 0].clone(), factors)


def draw_sprites(factors: npt.NDArray[np.int64], sizes: tuple[int, ...], size: int) -> npt.NDArray[np.uint8]:
    """Pictures of these factors.

    At the largest scale a sprite lies within a circle with a quarter of the image's side as radius, at the smallest an
    eighth; centres go from where this circle touches one edge to where it touches the other. Values of a factor
    stand at equal distances, orientations at equal parts of a whole turn.

    Args:
        factors: (N, 5) from 0.
        sizes: Values that each factor has.
        size: Side of an image in pixels.

    Returns:
        (N, 1, size, size), white on black.
    """
    reach = size * _UNIT // 4
    shape, scale, orientation, x, y = factors.T
    last = size * _UNIT - reach
    place = [
        _between(reach // 2, reach, scale, sizes[1]),
        _between(reach, last, x, sizes[3]),
        _between(reach, last, y, sizes[4]),
    ]
    angle = [2 * math.pi * k / sizes[2] for k in range(sizes[2])]
    turn = np.array([[round(_TURN * math.cos(a)), round(_TURN * math.sin(a))] for a in angle])[orientation]
    around = np.stack([*place, *turn.T], 1)
    images = np.zeros((len(factors), size, size), np.uint8)
    for kind, name in enumerate(SHAPES):
        chosen = np.flatnonzero(shape == kind)
        for start in range(0, len(chosen), _BLOCK):
            index = chosen[start : start + _BLOCK]
            _draw(images, index, name, around[index], -(-2 * reach // _UNIT) + 1)
    return images[:, None]


def _between(low: int, high: int, value: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Whole numbers at equal distances from `low`, of value 0, to `high`, of the last; an only value is halfway."""
    return low + (high - low) * value // (count - 1) if count > 1 else value + (low + high) // 2


def _draw(images: npt.NDArray[np.uint8], index: npt.NDArray[np.int64], name: str, around: Place, side: int) -> None:
    """Draw one shape into some images; only the `side` x `side` pixels around each centre are looked at."""
    size = images.shape[1]
    radius, x, y, cos, sin = (column[:, None, None].astype(np.float64) for column in around.T)
    points = (np.arange(side * _POINTS) * 2 + 1) * (_UNIT // (2 * _POINTS))
    left, top = (np.clip((c - (side - 1) * _UNIT // 2) // _UNIT, 0, size - side) for c in (x, y))
    right = points[None, None, :] + left * _UNIT - x
    down = points[None, :, None] + top * _UNIT - y
    inside = _inside(name, cos * right + sin * down, cos * down - sin * right, radius * _TURN)
    count = inside.reshape(len(index), side, _POINTS, side, _POINTS).sum((2, 4), dtype=np.int64)
    value = (count * 255 * 2 + _POINTS**2) // (2 * _POINTS**2)
    rows, columns = (corner[:, 0].astype(np.int64) + np.arange(side) for corner in (top, left))
    images[index[:, None, None], rows[:, :, None], columns[:, None, :]] = value


def _inside(name: str, u: Grid, v: Grid, radius: Grid) -> npt.NDArray[np.bool_]:
    """Which points (u, v), in the sprite's own axes with v down, lie within a shape that fits a circle of this radius.

    The heart is a square that stands on its tip and two discs over its upper sides.
    """
    half = radius * 181 // 256  # 1 / sqrt(2)
    if name == "square":
        return (abs(u) <= half) & (abs(v) <= half)
    if name == "ellipse":
        return u * u + 4 * v * v <= radius * radius
    p, q = u + v, v - u
    return (
        ((abs(p) <= half) & (abs(q) <= half))
        | (p * p + (q + half) ** 2 <= half * half)
        | ((p + half) ** 2 + q * q <= half * half)
    )


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"sprites": Sprites}
