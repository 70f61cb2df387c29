import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats.contingency import association

from bench_core.errors import RequestError
from bench_datasets.sprites import FACTORS, Sprites, SpritesConfig, bench_datasets, draw_sprites

SIZES = (3, 6, 40, 32, 32)
SQUARE, ELLIPSE, HEART = range(3)


def sprites(**config: Any) -> Sprites:
    return Sprites(Path("nowhere"), SpritesConfig(**config))


def draw(*factors: list[int], size: int = 32, sizes: tuple[int, ...] = SIZES) -> npt.NDArray[np.uint8]:
    return draw_sprites(np.array(factors), sizes, size)[:, 0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (16, "fa7cf7a0d859c8cd65dbc992c39b04368d7f14f7775d64403b9267573b4bc08d"),
        (32, "a28869418c7efbc58964076fa411c8ba77f47ea10f6296d82c70a042a48c589d"),
        (64, "318958c8bfea33b42865aa7d0f4438674aaa345bafb9fba2e143a5f27a939dab"),
    ],
)
def test_the_images_have_the_known_digest(size: int, expected: str) -> None:
    some = [[k % 3, k % 6, 7 * k % 40, 5 * k % 32, 11 * k % 32] for k in range(120)]
    digest = hashlib.sha256(draw(*some, size=size).tobytes()).hexdigest()
    assert digest == expected, "images changed; if that is intended, raise VERSION and replace this digest"


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_a_pixel_is_the_part_of_its_points_within_the_shape(shape: int) -> None:
    factors, size = [shape, 4, 7, 3, 30], 16
    reach = 64 * size  # a quarter of the side, 256 to a pixel
    radius = reach // 2 + reach // 2 * 4 // 5
    x, y = (reach + 2 * reach * k // 31 for k in factors[3:])
    angle = 2 * np.pi * 7 / 40
    cos, sin = round(1024 * np.cos(angle)), round(1024 * np.sin(angle))
    half = radius * 1024 * 181 // 256
    expected = np.zeros((size, size), int)
    for row, column in np.ndindex(size, size):
        for a, b in np.ndindex(4, 4):
            right, down = column * 256 + 64 * b + 32 - x, row * 256 + 64 * a + 32 - y
            u, v = cos * right + sin * down, cos * down - sin * right
            p, q = u + v, v - u
            expected[row, column] += [
                max(abs(u), abs(v)) <= half,
                u**2 + 4 * v**2 <= (radius * 1024) ** 2,
                max(abs(p), abs(q)) <= half or p**2 + (q + half) ** 2 <= half**2 or (p + half) ** 2 + q**2 <= half**2,
            ][shape]
    assert np.array_equal(draw(factors, size=size)[0], np.floor(expected * 255 / 16 + 0.5))


def test_only_symmetric_orientations_give_equal_images() -> None:
    for shape, distinct in ((SQUARE, 10), (ELLIPSE, 20), (HEART, 40)):
        turned = draw(*([shape, 5, k, 16, 16] for k in range(40)), size=64)
        assert np.array_equal(turned[:distinct], turned[40 - distinct :])
        assert len(np.unique(turned.reshape(40, -1), axis=0)) == distinct


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_position_only_moves_a_sprite(shape: int) -> None:
    sizes = (3, 6, 40, 33, 33)  # at 64 pixels one value is one pixel
    first, right, low = draw(
        [shape, 5, 3, 0, 0], [shape, 5, 3, 32, 0], [shape, 5, 3, 9, 32], size=64, sizes=sizes
    )  # fmt: skip
    assert np.array_equal(right, np.roll(first, 32, axis=1))
    assert np.array_equal(low, np.roll(first, (32, 9), axis=(0, 1)))


def test_scale_makes_a_sprite_twice_as_wide_in_equal_steps() -> None:
    for shape in (SQUARE, ELLIPSE, HEART):
        area = draw(*([shape, k, 0, 16, 16] for k in range(6)), size=64).sum((1, 2)) / 255
        assert np.sqrt(area) == pytest.approx(np.linspace(0.5, 1, 6) * np.sqrt(area[5]), rel=0.03)
    square = draw([SQUARE, 5, 0, 16, 16], size=64)
    assert square.sum() / 255 == pytest.approx(2 * 16**2, rel=0.02)  # its corners lie on a circle of 16 pixels


def test_a_factor_of_one_value_is_in_the_middle() -> None:
    only = draw([HEART, 0, 0, 0, 0], sizes=(3, 1, 1, 1, 1))
    middle = draw([HEART, 1, 0, 1, 1], sizes=(3, 3, 1, 3, 3))
    assert np.array_equal(only, middle)


def test_splits_have_the_shapes_of_the_spec() -> None:
    data = sprites(train_size=300, test_size=100, size=16)
    spec = data.spec()
    assert (spec.shape, spec.num_classes, spec.views) == ((1, 16, 16), 3, "glyph")
    assert spec.factors == dict(zip(FACTORS, SIZES, strict=True))
    seen = []
    for name, count in spec.splits.items():
        split = data.load(name)
        assert isinstance(split.inputs, torch.Tensor)
        assert split.labels is not None
        assert split.factors is not None
        assert split.inputs.shape == (count, 1, 16, 16)
        assert split.inputs.dtype == torch.uint8
        assert torch.equal(split.labels, split.factors[:, 0])
        assert split.factors.dtype == torch.int64
        seen += [tuple(row) for row in split.factors.tolist()]
    assert len(set(seen)) == 400  # no combination twice, on whichever side


def test_other_numbers_of_values_are_drawn_from_all_their_combinations() -> None:
    data = sprites(train_size=20, test_size=4, size=8, sizes=(2, 3, 1, 2, 2))
    factors = torch.cat([f for name in ("train", "test") if (f := data.load(name).factors) is not None])
    assert sorted(map(tuple, factors.tolist())) == [tuple(v) for v in np.ndindex(2, 3, 1, 2, 2)]


def test_mean_and_std_are_those_of_the_training_images() -> None:
    data = sprites()
    inputs = data.load("train").inputs
    assert isinstance(inputs, torch.Tensor)
    pixels = inputs.double() / 255
    assert data.spec().mean == pytest.approx((pixels.mean().item(),), abs=5e-4)
    assert data.spec().std == pytest.approx((pixels.std().item(),), abs=5e-4)


def test_the_digest_depends_on_the_images_and_not_on_their_number() -> None:
    digest = sprites().digest()
    assert digest == "sha256:901a0faf2e68b5c1a89f834b81aab3d3b8c2c398a37505437e2c0ec6312fe485"
    assert sprites(train_size=10).digest() == digest
    assert sprites(size=16).digest() != digest
    assert sprites(sizes=(3, 6, 40, 16, 16)).digest() != digest


def factors_of(data: Sprites, split: str) -> npt.NDArray[np.int64]:
    factors = data.load(split).factors
    assert factors is not None
    return factors.numpy()


def test_without_correlation_nothing_changes() -> None:
    plain, off = (
        sprites(train_size=50, test_size=20, size=8),
        sprites(train_size=50, test_size=20, size=8, correlation=0),
    )
    assert plain.spec() == off.spec()
    assert plain.spec().splits == {"train": 50, "test": 20}
    digest = hashlib.sha256(factors_of(sprites(), "train").tobytes()).hexdigest()[:16]
    assert digest == "3291e052f9607688", "another draw of combinations makes all published numbers stale"
    with pytest.raises(RequestError, match="no split named 'test_uncorrelated'"):
        plain.load("test_uncorrelated")


@pytest.mark.parametrize("correlation", [0.3, 0.8, 1.0])
def test_correlation_is_cramers_v_of_shape_and_scale(correlation: float) -> None:
    data = sprites(size=8, train_size=3000, test_size=1500, correlation=correlation)
    assert data.spec().splits == {"train": 3000, "test": 1500, "test_uncorrelated": 1500}
    for split, expected in (("train", correlation), ("test", correlation), ("test_uncorrelated", 0.0)):
        shape, scale = factors_of(data, split)[:, :2].T
        table = np.zeros((3, 6), np.int64)
        np.add.at(table, (shape, scale), 1)
        assert association(table) == pytest.approx(expected, abs=0.06)  # what chance gives to 1,500 independent items
        if split != "test_uncorrelated":
            share = correlation + (1 - correlation) / 3
            assert (scale // 2 == shape).sum() == round(share * len(shape))  # exact: squares go with scales 0 and 1


def test_correlation_of_two_shapes_and_two_scales_is_their_correlation_coefficient() -> None:
    data = sprites(size=8, sizes=(2, 2, 40, 32, 32), train_size=4000, test_size=100, correlation=0.6)
    shape, scale = factors_of(data, "train")[:, :2].T
    assert np.corrcoef(shape, scale)[0, 1] == pytest.approx(0.6, abs=0.01)


def test_correlated_train_shares_no_sprite_with_either_test_split() -> None:
    data = sprites(size=8, sizes=(3, 6, 4, 5, 5), train_size=300, test_size=200, correlation=0.5)
    rows = {split: set(map(tuple, factors_of(data, split).tolist())) for split in data.spec().splits}
    assert [len(rows[split]) for split in rows] == [300, 200, 200]
    assert not rows["train"] & (rows["test"] | rows["test_uncorrelated"])


def test_the_uncorrelated_split_is_the_test_split_without_correlation() -> None:
    sizes = {"size": 8, "train_size": 100, "test_size": 40}
    ours, plain = sprites(**sizes, correlation=0.9).load("test_uncorrelated"), sprites(**sizes).load("test")
    assert isinstance(ours.inputs, torch.Tensor)
    assert isinstance(plain.inputs, torch.Tensor)
    assert torch.equal(ours.inputs, plain.inputs)


def test_a_smaller_correlated_split_is_part_of_a_larger_one() -> None:
    for split in ("train", "test"):
        small, large = (
            set(map(tuple, factors_of(sprites(size=8, train_size=n, test_size=n, correlation=0.8), split).tolist()))
            for n in (50, 200)
        )
        assert small < large


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"correlation": 1.1}, r"correlation must be in \[0, 1\], got 1.1"),
        ({"correlation": 0.5, "sizes": (3, 4, 40, 32, 32)}, "the number of scales a multiple of theirs"),
        ({"correlation": 0.5, "sizes": (1, 6, 40, 32, 32)}, "two shapes or more"),
        ({"correlation": 1.0, "sizes": (3, 6, 10, 10, 10)}, "needs 15,000 combinations with its shape's own scales"),
        ({"size": 7}, r"size must be in \[8, 256\], got 7"),
        ({"sizes": (4, 6, 40, 32, 32)}, "the first of sizes, of shape, must be <= 3"),
        ({"sizes": (3, 0, 40, 32, 32)}, "sizes must each be >= 1"),
        ({"sizes": (3, 2, 2, 2, 2)}, "the product of sizes must be from train_size"),
        ({"train_size": 20, "test_size": 5, "sizes": (2, 3, 1, 2, 2)}, "the product of sizes must be from train_size"),
        ({"sizes": (1, 1, 1, 1, 10_000_001)}, "to 10,000,000 combinations"),
        ({"train_size": 0}, "train_size must be >= 1"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpritesConfig(**changes)


def test_it_is_registered() -> None:
    assert bench_datasets() == {"sprites": Sprites}
