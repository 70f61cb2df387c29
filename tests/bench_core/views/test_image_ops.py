"""Image operations equal those of torchvision, image by image."""

import itertools

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from bench_core.views.image_ops import (
    _turn_hue,
    affine,
    band_jitter,
    color_jitter,
    drop_bands,
    gaussian_blur,
    mean_of_bands,
    resized_crop,
    solarize,
    to_grayscale,
)

TORCHVISION = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
ORDERS = torch.tensor(list(itertools.permutations(range(4))))


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    return torch.stack(_turn_hue(images.unbind(1), factor), dim=1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(*shape: int) -> Tensor:
    """Make uniform images with a grey, a black and a white row, the corner cases of hue and clamps."""
    images = torch.rand(shape, generator=rng(7))
    images[..., 0, :] = images[:, :1, 0, :]
    images[..., 1, :] = 0.0
    images[..., 2, :] = 1.0
    return images


def some_factors(n: int) -> Tensor:
    """Make factors (n, 4): three from 0 to 2, and hue over the whole circle."""
    factors = 2 * torch.rand(n, 4, generator=rng(8))
    factors[:, 3] = factors[:, 3] / 2 - 0.5
    return factors


BOXES = torch.tensor(  # top, left, height, width in 24 x 40
    [
        [0, 0, 24, 40],
        [3, 5, 1, 1],
        [20, 30, 4, 10],
        [0, 7, 24, 2],
        [11, 0, 13, 40],
        [5, 5, 12, 12],
        [0, 39, 1, 1],
    ]
)

TOP, LEFT, HEIGHT, WIDTH = BOXES.unbind(1)


@pytest.mark.parametrize("size", [(24, 40), (32, 32), (8, 8), (7, 61), (1, 1)])
@pytest.mark.parametrize("antialias", [True, False])
def test_resized_crop_equals_torchvision_image_by_image(size: tuple[int, int], antialias: bool) -> None:
    images = torch.rand(len(BOXES), 3, 24, 40, generator=rng())
    expected = [
        tv.resized_crop(image, *box, list(size), InterpolationMode.BILINEAR, antialias)
        for image, box in zip(images, BOXES.tolist(), strict=True)
    ]
    result = resized_crop(images, TOP, LEFT, HEIGHT, WIDTH, size, antialias=antialias)
    torch.testing.assert_close(result, torch.stack(expected), atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(24, 40), (32, 32), (25, 61)])
def test_compiled_resized_crop_equals_torchvision(size: tuple[int, int]) -> None:
    torch.compiler.reset()
    images = torch.rand(len(BOXES), 3, 24, 40, generator=rng())
    expected = [
        tv.resized_crop(image, *box, list(size), InterpolationMode.BILINEAR, True)
        for image, box in zip(images, BOXES.tolist(), strict=True)
    ]
    graph = torch.compile(resized_crop, backend="eager", fullgraph=True, dynamic=False)
    result = graph(images, TOP, LEFT, HEIGHT, WIDTH, size)
    torch.testing.assert_close(result, torch.stack(expected), atol=2e-6, rtol=0)


def test_resized_crop_of_the_whole_image_is_the_image() -> None:
    images = torch.rand(2, 1, 8, 8, generator=rng())
    box = (torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([8, 8]), torch.tensor([8, 8]))
    assert torch.equal(resized_crop(images, *box, (8, 8)), images)


def test_halving_with_antialias_weighs_four_pixels_1_3_3_1() -> None:
    row = torch.tensor([[[[0.0, 0.0, 0.8, 0.0, 0.0, 0.0]]]])
    whole = (torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), torch.tensor([6]))
    halved = resized_crop(row, *whole, (1, 3))[0, 0, 0]
    # Pixel 2 is 1.5, 0.5 and 2.5 from the three centres, and the filter ends at 2: weights 1/7, 3/8 and 0.
    torch.testing.assert_close(halved, torch.tensor([0.8 / 7, 0.8 * 3 / 8, 0.0]))


def test_flip_mirrors_the_crop_of_the_chosen_images_only() -> None:
    images = torch.rand(len(BOXES), 3, 24, 40, generator=rng())
    flip = torch.arange(len(BOXES)) % 2 == 0
    plain = resized_crop(images, TOP, LEFT, HEIGHT, WIDTH, (16, 20))
    flipped = resized_crop(images, TOP, LEFT, HEIGHT, WIDTH, (16, 20), flip=flip)
    torch.testing.assert_close(flipped[flip], plain[flip].flip(-1))
    assert torch.equal(flipped[~flip], plain[~flip])


@pytest.mark.parametrize("operation", range(4), ids=["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_color_operation_equals_torchvision(operation: int, channels: int) -> None:
    images, random_factors = some_images(24, channels, 9, 11), some_factors(24)
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]).repeat(24, 1)
    factors[:, operation] = random_factors[:, operation]
    expected = [TORCHVISION[operation](i, f.item()) for i, f in zip(images, factors[:, operation], strict=True)]
    result = color_jitter(images, factors, ORDERS)
    torch.testing.assert_close(result, torch.stack(expected), atol=2e-6, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_equals_torchvision_one_by_one_in_every_order(channels: int) -> None:
    images, factors = some_images(24, channels, 9, 11), some_factors(24)
    expected = []
    for image, factor, order in zip(images, factors.tolist(), ORDERS.tolist(), strict=True):
        for operation in order:
            image = TORCHVISION[operation](image, factor[operation])
        expected.append(image)
    result = color_jitter(images, factors, ORDERS)
    torch.testing.assert_close(result, torch.stack(expected), atol=5e-6, rtol=0)
    chosen = torch.arange(24) % 3 > 0
    partly = color_jitter(images, factors, ORDERS, chosen)
    assert torch.equal(partly[chosen], result[chosen])
    assert torch.equal(partly[~chosen], images[~chosen])


def test_hue_turned_by_a_third_permutes_the_channels() -> None:
    images = some_images(4, 3, 9, 11)
    turned = adjust_hue(images, torch.full((4,), 1 / 3))
    torch.testing.assert_close(turned, images[:, [2, 0, 1]], atol=2e-6, rtol=0)


def test_hue_does_not_change_grey() -> None:
    grey = torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(5, 3, 16, 16)
    assert torch.equal(adjust_hue(grey, torch.linspace(-0.5, 0.5, 5)), grey)


def test_grayscale_equals_torchvision() -> None:
    images = some_images(4, 3, 9, 11)
    torch.testing.assert_close(to_grayscale(images), tv.rgb_to_grayscale(images))


def test_grayscale_of_one_channel_is_the_image() -> None:
    images = some_images(4, 1, 9, 11)
    assert torch.equal(to_grayscale(images), images)


@pytest.mark.parametrize("kernel_size", [1, 3, 9, 15])
def test_blur_with_a_sigma_for_each_image_equals_torchvision(kernel_size: int) -> None:
    images, sigma = torch.rand(5, 3, 8, 13, generator=rng()), torch.tensor([0.1, 0.5, 1.0, 2.0, 7.0])
    if kernel_size == 1:
        expected = images
    else:
        expected = torch.stack(
            [tv.gaussian_blur(i, [kernel_size] * 2, [s] * 2) for i, s in zip(images, sigma.tolist(), strict=True)]
        )
    torch.testing.assert_close(gaussian_blur(images, sigma, kernel_size), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kernel_size", [4, 17, -1])
def test_blur_refuses_a_kernel_that_is_even_or_too_large_to_reflect(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=rf"odd and at most 15, got {kernel_size}"):
        gaussian_blur(torch.rand(1, 1, 8, 13), torch.ones(1), kernel_size)


def test_solarize_equals_torchvision_and_inverts_values_at_the_threshold() -> None:
    images = some_images(4, 3, 9, 11)
    images[0, 0, 5, 5] = 0.25
    result = solarize(images, 0.25)
    assert torch.equal(result, tv.solarize(images, 0.25))
    assert result[0, 0, 5, 5] == 0.75


@pytest.mark.parametrize("shape", [(8, 8), (17, 32)])
def test_affine_equals_torchvision(shape: tuple[int, int]) -> None:
    n = 16
    images = torch.rand(n, 3, *shape, generator=rng())
    draw = torch.rand(n, 6, generator=rng(1)) - 0.5
    angle, translate, scale, shear = 360 * draw[:, 0], 8 * draw[:, 1:3], 1 + draw[:, 3], 80 * draw[:, 4:]
    expected = [
        tv.affine(images[i], angle[i].item(), translate[i].tolist(), scale[i].item(), shear[i].tolist(),
                  interpolation=InterpolationMode.BILINEAR)
        for i in range(n)
    ]  # fmt: skip
    result = affine(images, angle, translate, scale, shear)
    torch.testing.assert_close(result, torch.stack(expected), atol=2e-5, rtol=0)  # grids agree to 1e-6 of a side


def test_affine_by_a_quarter_turn_is_a_rotation_of_the_array() -> None:
    images = torch.rand(2, 1, 8, 8, generator=rng())
    angle, still = torch.tensor([90.0, -90.0]), torch.zeros(2, 2)
    turned = affine(images, angle, still, torch.ones(2), still)
    torch.testing.assert_close(turned[0], images[0].rot90(-1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], images[1].rot90(1, (1, 2)), atol=1e-5, rtol=0)


def test_affine_translation_moves_right_and_down_and_fills_with_black() -> None:
    images = torch.rand(1, 1, 8, 8, generator=rng())
    still = torch.zeros(1, 2)
    moved = affine(images, torch.zeros(1), torch.tensor([[2.0, 1.0]]), torch.ones(1), still)
    torch.testing.assert_close(moved[0, 0, 1:, 2:], images[0, 0, :-1, :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 0, 0], torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0, 0, :, :2], torch.zeros(8, 2), atol=1e-5, rtol=0)


def test_band_jitter_is_brightness_and_contrast_written_slowly() -> None:
    images, factors = torch.rand(6, 5, 4, 3, generator=rng()), 2 * torch.rand(6, 2, generator=rng(1))
    first = torch.arange(6) % 2 == 0
    result = band_jitter(images, factors, first)
    for n in range(6):
        image = images[n].double()
        for step in (0, 1):
            if (step == 0) == bool(first[n]):
                middle = sum(float(v) for v in image.flatten()) / image.numel()
                image = (middle + float(factors[n, 1]) * (image - middle)).clamp(0, 1)
            else:
                image = (float(factors[n, 0]) * image).clamp(0, 1)
        torch.testing.assert_close(result[n].double(), image, atol=1e-6, rtol=0)


def test_band_jitter_by_hand() -> None:
    images = torch.tensor([[[[0.2]], [[0.4]], [[0.6]]]])  # the mean is 0.4
    doubled_contrast = band_jitter(images, torch.tensor([[1.0, 2.0]]), torch.tensor([True]))
    torch.testing.assert_close(doubled_contrast.flatten(), torch.tensor([0.0, 0.4, 0.8]))
    brighter_later = band_jitter(images, torch.tensor([[1.5, 2.0]]), torch.tensor([True]))
    torch.testing.assert_close(brighter_later.flatten(), torch.tensor([0.0, 0.6, 1.0]))  # 1.2 is cut


def test_band_jitter_does_not_depend_on_the_order_of_bands() -> None:
    images, factors = torch.rand(4, 7, 5, 5, generator=rng()), 0.6 + 0.8 * torch.rand(4, 2, generator=rng(1))
    order, first = torch.randperm(7, generator=rng(2)), torch.tensor([True, False, True, False])
    shuffled = band_jitter(images[:, order], factors, first)
    torch.testing.assert_close(shuffled, band_jitter(images, factors, first)[:, order])


def test_band_jitter_of_one_band_equals_the_colour_jitter_of_a_grey_image() -> None:
    images, factors = torch.rand(8, 1, 6, 6, generator=rng()), 2 * torch.rand(8, 2, generator=rng(1))
    first = torch.arange(8) % 2 == 0
    order = torch.where(first[:, None], torch.tensor([[1, 0, 2, 3]]), torch.tensor([[0, 1, 2, 3]]))
    four = torch.cat([factors, torch.ones(8, 1), torch.zeros(8, 1)], 1)
    torch.testing.assert_close(band_jitter(images, factors, first), color_jitter(images, four, order))


def test_mean_of_bands_and_dropped_bands_by_hand() -> None:
    images = torch.tensor([[[[0.2]], [[0.4]], [[0.9]]], [[[0.1]], [[0.1]], [[0.1]]]])
    torch.testing.assert_close(mean_of_bands(images).flatten(), torch.tensor([0.5, 0.1]))
    dropped = drop_bands(images, torch.tensor([[True, False, False], [False, False, True]]))
    torch.testing.assert_close(dropped.flatten(), torch.tensor([0.0, 0.4, 0.9, 0.1, 0.1, 0.0]))
    assert images[0, 0] == 0.2
