from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_methods.cross_view.views import VIEWS, lab, scaled_lab, views_skip_reason, y_cb_cr

COLOURS = DataSpec(shape=(3, 8, 8), splits={"train": 96}, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2))


def pixel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [  # published values of the corners of sRGB
        ((1, 1, 1), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
    ],
)
def test_lab_of_known_colours(colour: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert lab(pixel(*colour)).flatten().tolist() == pytest.approx(expected, abs=0.02)


def test_lab_equals_the_definition_pixel_by_pixel() -> None:
    images = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    images[0, :, 0, 0] = torch.tensor([0.01, 0.02, 0.005])  # the line of sRGB, and that of Lab
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    white = (0.95047, 1.0, 1.08883)
    converted = lab(images)
    for n, i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(3)).tolist():
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in images[n, :, i, j].tolist()]
        f = []
        for row, reference in zip(matrix, white, strict=True):
            t = sum(weight * value for weight, value in zip(row, linear, strict=True)) / reference
            f.append(t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29)
        expected = (116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2]))
        assert converted[n, :, i, j].tolist() == pytest.approx(expected, abs=1e-4)


def test_lab_agrees_with_scikit_image() -> None:
    color = pytest.importorskip("skimage.color", reason="scikit-image is not installed")
    images = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    expected = torch.from_numpy(color.rgb2lab(images.movedim(1, -1).numpy())).movedim(-1, 1)
    assert torch.allclose(lab(images), expected.float(), atol=0.05)  # its matrix is rounded otherwise


def test_greys_have_no_colour() -> None:
    greys = torch.linspace(0, 1, 16).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    assert lab(greys)[:, 1:].abs().max() < 1e-3
    assert torch.allclose(y_cb_cr(greys), torch.stack([greys[:, 0], *[torch.full((16, 2, 2), 0.5)] * 2], 1), atol=1e-6)


def test_y_cb_cr_of_the_primary_colours() -> None:
    for colour, expected in {(1, 0, 0): (0.299, 0.3313, 1.0), (0, 0, 1): (0.114, 1.0, 0.4187)}.items():
        assert y_cb_cr(pixel(*colour)).flatten().tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_channels_between_0_and_1(name: str) -> None:
    images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    images[0] = torch.eye(3).repeat(1, 22)[:, :64].view(3, 8, 8)  # fully saturated pixels
    views = VIEWS[name].split(images)
    assert "_".join(views).replace("red_green_blue", "r_g_b") == name
    for view, spec in zip(views.values(), VIEWS[name].specs(COLOURS).values(), strict=True):
        assert view.shape == (32, *spec.shape)
        assert view.min() >= 0
        assert view.max() <= 1


def test_l_and_ab_are_the_channels_of_lab() -> None:
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    views = VIEWS["l_ab_lab"].split(images)
    assert torch.equal(torch.cat([views["l"], views["ab"]], 1), views["lab"])
    assert torch.equal(views["lab"], scaled_lab(images))


def test_colours_are_converted_in_the_precision_of_the_images() -> None:
    images = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    assert {view.dtype for view in VIEWS["l_ab"].split(images).values()} == {torch.float64}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(lab(images.float()), lab(images.float()).float())


def test_specs_describe_each_view() -> None:
    specs = VIEWS["l_ab"].specs(COLOURS)
    assert {name: spec.shape for name, spec in specs.items()} == {"l": (1, 8, 8), "ab": (2, 8, 8)}
    assert specs["ab"].mean == (0.5, 0.5)
    assert specs["ab"].std == (0.05, 0.05)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (replace(COLOURS, shape=(1, 8, 8)), "needs images of 3 channels, these have 1"),
        (replace(COLOURS, shape=(5, 8, 8)), "needs images of 3 channels, these have 5"),
        (replace(COLOURS, views="bands"), "bands of a spectrum"),
        (replace(COLOURS, shape=(7,)), "reads images"),
    ],
)
def test_images_without_colours_are_skipped(data: DataSpec, reason: str) -> None:
    assert reason in (views_skip_reason(data) or "")
    assert views_skip_reason(COLOURS) is None
