"""Sprites: grey images of a square, an ellipse or a heart, drawn by code from known factors.

Source: ours, after dSprites (Matthey, Higgins, Hassabis, Lerchner, 2017,
    https://github.com/google-deepmind/dsprites-dataset): the same factors and numbers of values. Images of dSprites
    are 64 x 64, binary, and have another outline of the heart: scores on the two cannot be compared.
Note:  The value of a pixel is the part of its 4 x 4 points that lie within the shape. All sums are of whole numbers and
    exact, so every machine draws the same images. A test checks their SHA-256; VERSION rises if they change.
    A square looks the same after a quarter turn, an ellipse after half a turn. No features can distinguish these
    orientations, so no score that includes orientation reaches 1.
    With `correlation` c > 0 the scale of a sprite goes with its shape: with chance c it is one of the shape's own
    scales (0 and 1 of the square, 2 and 3 of the ellipse, 4 and 5 of the heart), else any scale. Splits hold this share
    of sprites exactly. So Cramer's V of shape and scale is c; of two shapes and two scales, c is their correlation, as
    in Funke et al., CoLLAs 2022, https://arxiv.org/abs/2112.14754. `test_uncorrelated` is the test split that there is
    without correlation.
    `views` is "glyph": a crop changes scale and position, a mirror orientation and position. Small affine changes
    change these factors as well, but least. Methods that learn from views learn to ignore what views change.

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
    draw_combinations,
    factor_values,
)

VERSION = 1  # of the drawing; part of the digest
FACTORS = ("shape", "scale", "orientation", "x", "y")
SHAPES = ("square", "ellipse", "heart")
_UNIT = 256  # length of a pixel, in whole numbers
_TURN = 1024  # length of a vector (cos, sin), in whole numbers
_POINTS = 4  # points along each side of a pixel
_BLOCK = 128  # images that are drawn together

Placement = npt.NDArray[np.int64]  # (N, 5): radius, centre x and y, cos and sin of the turn
Grid = npt.NDArray[np.float64]  # whole numbers below 2**53: exact, and faster than int64


@dataclass(frozen=True, kw_only=True)
class SpritesConfig(FactorDraws):
    """Parameters of the images and their factors."""

    size: int = param(32, "side of an image, in pixels", "ours: dSprites has 64, too slow for a CPU", ge=8, le=256)
    sizes: tuple[int, int, int, int, int] = param(
        (3, 6, 40, 32, 32), "number of values of shape (at most 3), scale, orientation, x and y", "dSprites", ge=1
    )

    correlation: float = param(
        0.0,
        "correlation of shape and scale in train and test, Cramer's V; above 0 there is a split test_uncorrelated",
        "ours: off",
        ge=0,
        le=1,
        added=True,
    )

    def __post_init__(self) -> None:
        """Check the number of shapes and of all combinations, and that a correlated draw has enough of both kinds."""
        super().__post_init__()
        if self.sizes[0] > len(SHAPES):
            raise ValueError(f"the first of sizes, of shape, must be <= {len(SHAPES)}, got {self.sizes}")
        if not self.train_size + self.test_size <= math.prod(self.sizes) <= 10_000_000:
            raise ValueError(
                f"the product of sizes must be from train_size + test_size to 10,000,000 combinations, got {self.sizes}"
            )
        shapes, scales = self.sizes[:2]
        if self.correlation and (shapes < 2 or scales % shapes):
            raise ValueError(
                "with correlation there must be two shapes or more, and the number of scales a multiple of theirs, "
                f"got sizes {self.sizes}"
            )
        own = math.prod(self.sizes) // shapes
        for matching, there_are in ((True, own), (False, math.prod(self.sizes) - own)):
            needed = of_kind(self.train_size, self.correlation, shapes, matching=matching) + self.test_size
            if self.correlation and needed > there_are:
                kind = "its shape's own scales" if matching else "other scales"
                raise ValueError(
                    f"correlation {self.correlation} needs {needed:,} combinations with {kind}, of {there_are:,}; "
                    "lower train_size or test_size, or raise sizes"
                )


class Sprites(Dataset):
    """Drawn sprites of 5 known factors, no download.

    Grey images of 32 x 32 pixels by default, of which a seeded draw is used. With `correlation` shape and scale go
    together in train and test, and not in the split `test_uncorrelated`. Nothing is read from the data root.
    """

    Config = SpritesConfig
    licence = "Apache-2.0, made by code of this project"

    def __init__(self, root: Path, config: SpritesConfig) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return shapes, factors and counts; mean and std are those of the default config's training images."""
        sizes, counts = self.config.sizes, {"train": self.config.train_size, "test": self.config.test_size}
        if self.config.correlation:
            counts["test_uncorrelated"] = self.config.test_size
        return DataSpec(
            shape=(1, self.config.size, self.config.size),
            splits=counts,
            num_classes=sizes[0],
            mean=(0.0663,),
            std=(0.2388,),
            factors=dict(zip(FACTORS, sizes, strict=True)),
            views="glyph",
        )

    def digest(self) -> str:
        """Return the SHA-256 of VERSION and of the parameters that define the images."""
        return digest_of("sprites", f"{VERSION} {self.config.size} {self.config.sizes}")

    def load(self, split: str) -> Split:
        """Draw the images of `train`, `test`, or with correlation `test_uncorrelated`."""
        sizes = self.config.sizes
        if self.config.correlation and split in ("train", "test"):
            combinations = draw_correlated(self.config, split)
        else:
            plain = "test" if self.config.correlation and split == "test_uncorrelated" else split
            combinations = draw_combinations(self.config, plain, math.prod(sizes))
        factors = factor_values(combinations, sizes)
        images = draw_sprites(factors.numpy(), sizes, self.config.size)
        return Split(torch.from_numpy(images), factors[:, 0].clone(), factors)


def of_kind(items: int, correlation: float, shapes: int, *, matching: bool) -> int:
    """Return how many of a split's items have one of their shape's own scales, or (not `matching`) another scale."""
    own = round(items * (correlation + (1 - correlation) / shapes))
    return own if matching else items - own


def draw_correlated(config: SpritesConfig, split: str) -> npt.NDArray[np.int64]:
    """Draw the combinations of `train` or `test` with correlated shape and scale.

    As without correlation, train is the beginning of one random order of all combinations and test its end, here of
    the order of those that match and of the order of the others. No combination of train is in either test split: train
    leaves out the end of the whole order, which is `test_uncorrelated`.

    Returns:
        Numbers (N,) of the combinations, ascending.
    """
    sizes = config.sizes
    total, shapes, scales = math.prod(sizes), sizes[0], sizes[1]
    order = np.random.RandomState(0).permutation(total)
    order = order[: total - config.test_size] if split == "train" else order[::-1]
    shape, scale = (values.numpy() for values in factor_values(order, sizes)[:, :2].unbind(1))
    matches = scale * shapes // scales == shape
    items = config.train_size if split == "train" else config.test_size
    counts = {matching: of_kind(items, config.correlation, shapes, matching=matching) for matching in (True, False)}
    return np.sort(np.concatenate([order[matches == matching][:count] for matching, count in counts.items()]))


def draw_sprites(factors: npt.NDArray[np.int64], sizes: tuple[int, ...], size: int) -> npt.NDArray[np.uint8]:
    """Draw one image for each row of factors.

    A sprite fits a circle. Its radius is a quarter of the image's side at the largest scale, an eighth at the smallest.
    Centres lie between the two positions at which the largest circle touches an edge. Values of a factor have equal
    distances, orientations are equal parts of a whole turn.

    Args:
        factors: (N, 5), values counted from 0.
        sizes: Number of values of each factor.
        size: Side of an image in pixels.

    Returns:
        (N, 1, size, size), white on black.
    """
    reach = size * _UNIT // 4
    shape, scale, orientation, x, y = factors.T
    last = size * _UNIT - reach
    circles = [
        _between(reach // 2, reach, scale, sizes[1]),
        _between(reach, last, x, sizes[3]),
        _between(reach, last, y, sizes[4]),
    ]
    angles = [2 * math.pi * k / sizes[2] for k in range(sizes[2])]
    turns = np.array([[round(_TURN * math.cos(a)), round(_TURN * math.sin(a))] for a in angles])[orientation]
    placements = np.stack([*circles, *turns.T], 1)
    images = np.zeros((len(factors), size, size), np.uint8)
    for kind, name in enumerate(SHAPES):
        of_kind = np.flatnonzero(shape == kind)
        for start in range(0, len(of_kind), _BLOCK):
            index = of_kind[start : start + _BLOCK]
            _draw(images, index, name, placements[index], math.ceil(2 * reach / _UNIT) + 1)
    return images[:, None]


def _between(low: int, high: int, value: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Map values 0 to `count` - 1 to whole numbers at equal distances from `low` to `high`.

    If there is only one value it is mapped to the middle.
    """
    return low + (high - low) * value // (count - 1) if count > 1 else value + (low + high) // 2


def _draw(
    images: npt.NDArray[np.uint8], index: npt.NDArray[np.int64], name: str, placements: Placement, side: int
) -> None:
    """Draw one shape into some of the images, in place.

    Args:
        images: (N, size, size), black where nothing is drawn yet.
        index: (M,) numbers of the images to draw into.
        name: One of SHAPES.
        placements: (M, 5), circle and turn of each sprite.
        side: Only `side` x `side` pixels around each centre are computed.
    """
    size = images.shape[1]
    radius, x, y, cos, sin = (column[:, None, None].astype(np.float64) for column in placements.T)
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
    """Return the points that lie within a shape which fits a circle around (0, 0).

    The heart is a square that stands on its tip, with two discs over its upper sides.

    Args:
        name: One of SHAPES.
        u: Coordinates of the points in the sprite's own axes, to the right.
        v: Coordinates downwards.
        radius: Radius of the circle.
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
