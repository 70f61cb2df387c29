"""Augmentation, which says what may happen to an image, and the random draws of what happens to each image of a batch.

This module computes no pixels: `bench_core.views.pipeline` applies the draws.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes that turn an image into a view, with their probabilities and ranges; by default none.

    Attributes:
        affine_prob: Probability of the affine change, whose four parameters are drawn uniformly.
        rotation: Largest rotation in either direction, in degrees.
        translation: Largest shift in either direction along each axis, as a fraction of the side; not rounded to
            pixels.
        scaling: Smallest and largest magnification.
        shear: Largest shear in either direction along each axis, in degrees.
        crop_scale: Smallest and largest fraction of the area that a random resized crop keeps; None for no crop.
        crop_ratio: Smallest and largest width / height of the crop's box, drawn uniformly in the logarithm.
        flip_prob: Probability of mirroring left to right.
        jitter_prob: Probability of the colour jitter, whose four operations come in random order; ignored unless there
            are one or three channels, or `bands`: the luma of other channels is not known.
        jitter: Strengths s of brightness, contrast and saturation (factors in [max(0, 1 - s), 1 + s]) and of
            hue (turns in [-s, s]). Images of one channel, and bands, have no saturation and no hue.
        gray_prob: Probability of removing the colours; ignored unless there are three channels, or `bands`.
        blur_prob: Probability of Gaussian blur, with a kernel of a tenth of the side (`blur_kernel_size`).
        blur_sigma: Smallest and largest sigma, in pixels.
        solarize_prob: Probability of inverting all values >= 1/2.
        noise: Standard deviation of the normal noise that is added to every value of every image.
        size: Side of the square views, in pixels; None for the size of the images.
        bands: True if the channels are bands of a spectrum, any number of them: the grey of a pixel is then the mean
            of its bands, and a grey image has this mean in every band.
        band_drop_prob: Probability of setting a band to 0, for each band of each image; one band always stays.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    affine_prob: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    scaling: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.0
    jitter_prob: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    gray_prob: float = 0.0
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_prob: float = 0.0
    noise: float = 0.0
    size: int | None = None
    bands: bool = False
    band_drop_prob: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        probabilities = "affine_prob", "flip_prob", "jitter_prob", "gray_prob", "blur_prob", "solarize_prob"
        for name in (*probabilities, "band_drop_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("scaling", "crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name) or (1.0, 1.0)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be (low, high) with 0 < low <= high, got {getattr(self, name)}")
        if self.crop_scale is not None and self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale must not exceed 1, got {self.crop_scale}")
        if min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise ValueError(f"jitter must be >= 0, and at most 0.5 for hue, got {self.jitter}")
        if self.noise < 0:
            raise ValueError(f"noise must be >= 0, got {self.noise}")


class AugmentationDraws(NamedTuple):
    """Random draws that decide what happens to each of N images, in the order in which it is applied.

    None means that a change happens to no image. `chosen` (N,) bool says to which images it happens.

    Attributes:
        affine: Angle (N,), shift (N, 2), magnification (N,), shear (N, 2) as `image_ops.affine` takes them; chosen.
        flip: chosen.
        box: Box of the crop: top, left, height, width, each (N,) int64.
        jitter: Factors (N, 4) and order (N, 4) as `image_ops.color_jitter` takes them; chosen.
        gray: chosen.
        blur: Sigma (N,); chosen.
        solarize: chosen.
        noise: Noise (N, C, h, w) that is added to the views.
        band_jitter: Factors of brightness and contrast (N, 2), and whether contrast comes first (N,), as
            `image_ops.band_jitter` takes them; chosen. In the place of `jitter`.
        band_gray: chosen. In the place of `gray`.
        band_drop: Bands (N, C) bool that are set to 0.
    """

    affine: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None = None
    flip: Tensor | None = None
    box: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
    jitter: tuple[Tensor, Tensor, Tensor] | None = None
    gray: Tensor | None = None
    blur: tuple[Tensor, Tensor] | None = None
    solarize: Tensor | None = None
    noise: Tensor | None = None
    band_jitter: tuple[Tensor, Tensor, Tensor] | None = None
    band_gray: Tensor | None = None
    band_drop: Tensor | None = None


def draw(
    shape: tuple[int, ...], rng: torch.Generator, augmentation: Augmentation, size: tuple[int, int]
) -> AugmentationDraws:
    """Draw what happens to each image of a batch, without waiting for the device.

    Published numbers depend on the order of these draws.

    Args:
        shape: Shape (N, C, H, W) of the images.
        rng: Generator on their device.
        augmentation: Probabilities and ranges.
        size: Size (h, w) of the views.
    """
    N, C, H, W = shape
    draws = AugmentationDraws()
    if augmentation.affine_prob > 0:
        draws = draws._replace(affine=_draw_affine(N, H, W, augmentation, rng))
    if augmentation.flip_prob > 0:
        draws = draws._replace(flip=_chance(N, augmentation.flip_prob, rng))
    if augmentation.crop_scale is not None:
        box = draw_boxes(N, H, W, augmentation.crop_scale, augmentation.crop_ratio, rng)
        draws = draws._replace(box=box)
    if augmentation.bands:
        draws = _draw_band_colors(N, augmentation, rng, draws)
    if augmentation.jitter_prob > 0 and C in (1, 3) and not augmentation.bands:
        draws = draws._replace(jitter=_draw_jitter(N, augmentation, rng))
    if augmentation.gray_prob > 0 and C == 3 and not augmentation.bands:
        draws = draws._replace(gray=_chance(N, augmentation.gray_prob, rng))
    if augmentation.blur_prob > 0:
        sigma = _uniform((N,), *augmentation.blur_sigma, rng)
        draws = draws._replace(blur=(sigma, _chance(N, augmentation.blur_prob, rng)))
    if augmentation.solarize_prob > 0:
        draws = draws._replace(solarize=_chance(N, augmentation.solarize_prob, rng))
    if augmentation.noise > 0:
        noise = torch.randn((N, C, *size), generator=rng, device=rng.device).mul_(augmentation.noise)
        draws = draws._replace(noise=noise)
    if augmentation.band_drop_prob > 0:
        draws = draws._replace(band_drop=_draw_band_drop(N, C, augmentation.band_drop_prob, rng))
    return draws


def _draw_affine(
    N: int, H: int, W: int, augmentation: Augmentation, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Draw angle (N,), shift (N, 2), magnification (N,), shear (N, 2) and chosen (N,)."""
    rotation, translation, shear = augmentation.rotation, augmentation.translation, augmentation.shear
    angle = _uniform((N,), -rotation, rotation, rng)
    x, y = (_uniform((N,), -translation * side, translation * side, rng) for side in (W, H))
    scale = _uniform((N,), *augmentation.scaling, rng)
    shears = _uniform((N, 2), -shear, shear, rng)
    return angle, torch.stack((x, y), 1), scale, shears, _chance(N, augmentation.affine_prob, rng)


def _draw_jitter(N: int, augmentation: Augmentation, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw factors (N, 4), order (N, 4) and chosen (N,)."""
    *strengths, hue = augmentation.jitter
    factors = [_uniform((N,), max(0.0, 1.0 - s), 1.0 + s, rng) for s in strengths]
    factors.append(_uniform((N,), -hue, hue, rng))
    order = torch.rand((N, 4), generator=rng, device=rng.device).argsort(1)
    return torch.stack(factors, 1), order, _chance(N, augmentation.jitter_prob, rng)


def _draw_band_colors(
    N: int, augmentation: Augmentation, rng: torch.Generator, draws: AugmentationDraws
) -> AugmentationDraws:
    """Add the draws of brightness, contrast and grey of bands."""
    if augmentation.jitter_prob > 0:
        factors = [_uniform((N,), max(0.0, 1.0 - s), 1.0 + s, rng) for s in augmentation.jitter[:2]]
        contrast_first = _chance(N, 0.5, rng)
        chosen = _chance(N, augmentation.jitter_prob, rng)
        draws = draws._replace(band_jitter=(torch.stack(factors, 1), contrast_first, chosen))
    if augmentation.gray_prob > 0:
        draws = draws._replace(band_gray=_chance(N, augmentation.gray_prob, rng))
    return draws


def _draw_band_drop(N: int, C: int, probability: float, rng: torch.Generator) -> Tensor:
    """Draw the bands (N, C) to drop; the one whose number is largest always stays."""
    number = torch.rand((N, C), generator=rng, device=rng.device)
    return (number < probability) & (number < number.amax(1, keepdim=True))


def draw_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw boxes of random resized crops, with the distribution of torchvision's `RandomResizedCrop`.

    Ten candidates are drawn for each box: their fraction of the area is uniform in `scale`, width / height is uniform
    in the logarithm within `ratio`, and sides are rounded. The first one that fits into the image is placed uniformly.
    If none fits, the box is the largest allowed one in the middle of the image.

    Args:
        n: Number of boxes.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        scale: Smallest and largest fraction of the area.
        ratio: Smallest and largest width / height.
        rng: Generator on the device of the images.

    Returns:
        top, left, height, width, each (n,) int64.
    """
    area = _uniform((n, 10), *scale, rng).mul_(height * width)
    aspect = _uniform((n, 10), math.log(ratio[0]), math.log(ratio[1]), rng).exp_()
    h, w = (side.sqrt_().round_() for side in (area / aspect, area * aspect))
    fits = (h > 0) & (h <= height) & (w > 0) & (w <= width)
    first = fits.int().argmax(1, keepdim=True)
    any_fits = fits.any(1)
    h = torch.where(any_fits, h.gather(1, first)[:, 0], min(height, round(width / ratio[0])))
    w = torch.where(any_fits, w.gather(1, first)[:, 0], min(width, round(height * ratio[1])))
    top, left = ((side + 1) * torch.rand(n, generator=rng, device=rng.device) for side in (height - h, width - w))
    middle = (height - h) // 2, (width - w) // 2
    top, left = (torch.where(any_fits, t.floor(), m) for t, m in zip((top, left), middle, strict=True))
    return top.long(), left.long(), h.long(), w.long()


def _chance(n: int, probability: float, rng: torch.Generator) -> Tensor:
    return torch.rand(n, generator=rng, device=rng.device) < probability


def _uniform(shape: tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=rng, device=rng.device).mul_(high - low).add_(low)
