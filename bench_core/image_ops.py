"""Batched image operations with one parameter per image; nothing here is random.

Each function takes images as float32 (N, C, H, W) in [0, 1] on any device, returns images in [0, 1], and
leaves its input as it was. Where torchvision has the same operation for one image, results agree to rounding
(`tests/bench_core/test_image_ops.py`). Shapes are static and nothing waits for the device.

Under `torch.set_float32_matmul_precision("high")` a GPU computes crop and blur in TF32: off by 1e-3 or so.

Shapes: N images, C channels, H x W pixels, h x w output pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # columns of `factors`, and what `order` is made of


def resized_crop(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    size: tuple[int, int],
    *,
    flip: Tensor | None = None,
    antialias: bool = True,
) -> Tensor:
    """Cut a box out of each image and resize it, as two products with a matrix of bilinear weights per image.

    Args:
        images: (N, C, H, W).
        top: (N,) first row of the box, a whole number as are the other three.
        left: (N,) first column.
        height: (N,) rows of the box, from 1 to H - top.
        width: (N,) columns, from 1 to W - left.
        size: (h, w) of the result.
        flip: (N,) bool, which results are mirrored left to right; None for none.
        antialias: Widen the filter where the box shrinks, as Pillow does; else two pixels an axis are read.

    Returns:
        (N, C, h, w).
    """
    rows = _resize_weights(top, height, images.shape[-2], size[0], None, antialias)
    columns = _resize_weights(left, width, images.shape[-1], size[1], flip, antialias)
    return _separable(images, rows, columns)


def _resize_weights(
    start: Tensor, length: Tensor, source: int, target: int, flip: Tensor | None, antialias: bool
) -> Tensor:
    """Weights (N, target, source) of the triangle filter along one axis; each row sums to 1.

    The filter's centre lies at (i + 1/2) length / target of the box, its half-width is one pixel, or
    length / target pixels where the box shrinks; what falls outside the box is left out.
    """
    start, length = (t.to(torch.float32)[:, None, None] for t in (start, length))
    scale = length / target
    goal = torch.arange(target, device=start.device)[:, None]
    if flip is not None:
        goal = torch.where(flip[:, None, None], target - 1 - goal, goal)
    centre = scale * (goal + 0.5)
    if not antialias:
        centre = centre.clamp(min=0.5).minimum(length - 0.5)
    pixel = torch.arange(source, device=start.device) - start + 0.5
    reach = scale.clamp(min=1.0) if antialias else torch.ones_like(scale)
    weights = (1.0 - (pixel - centre).abs() / reach).clamp_(min=0.0)
    weights = weights * ((pixel > 0) & (pixel < length))
    return weights / weights.sum(-1, keepdim=True)


def _separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each image times its own two matrices: (N, C, H, W), (N, h, H), (N, w, W) -> (N, C, h, w) in [0, 1]."""
    N, C, H, W = images.shape
    wide = torch.bmm(images.reshape(N, C * H, W), columns.mT).view(N, C, H, -1)
    return torch.matmul(rows[:, None], wide).clamp_(0.0, 1.0)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image with its own sigma; borders are reflected.

    Args:
        images: (N, C, H, W).
        sigma: (N,) positive, in pixels.
        kernel_size: Odd, and at most 2 min(H, W) - 1.

    Raises:
        ValueError: The kernel size is even or too large to reflect.
    """
    if kernel_size % 2 == 0 or not 0 < kernel_size < 2 * min(images.shape[-2:]):
        raise ValueError(
            f"kernel_size must be odd and at most {2 * min(images.shape[-2:]) - 1} here, got {kernel_size}"
        )
    radius = kernel_size // 2
    distance = torch.arange(radius + 2, device=images.device)
    taps = torch.exp(-0.5 * (distance / sigma[:, None]).square()) * (distance <= radius)
    taps = taps / (2.0 * taps.sum(1, keepdim=True) - taps[:, :1])
    return _separable(images, *(_blur_weights(taps, side) for side in images.shape[-2:]))


def _blur_weights(taps: Tensor, side: int) -> Tensor:
    """Weights (N, side, side) along one axis from taps (N, radius + 2) by distance, of which the last is 0.

    Pixel j is read by pixel i where it lies, and where its two mirror images lie, beyond either border.
    """
    far = taps.shape[1] - 1
    i = torch.arange(side, device=taps.device)[:, None]
    j = i.mT
    before = torch.where(j == 0, far, i + j)  # a border pixel is the mirror and has no image
    after = torch.where(j == side - 1, far, 2 * (side - 1) - i - j)
    distance = torch.stack(((i - j).abs(), before, after)).clamp(max=far)
    return taps.index_select(1, distance.flatten()).view(-1, 3, side, side).sum(1)


def color_jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, each image with its own factors in its own order.

    The first three are blends, `clamp(f x + (1 - f) y)` with y black, the mean grey or the grey image, so a
    single blend with y chosen per image serves all. Hue is dear, so it is done once, for all images together,
    between the blends that come before it and those that come after; a blend out of turn has f = 1, which
    changes nothing.

    Args:
        images: (N, C, H, W) with C = 3, or C = 1, where saturation and hue do nothing.
        factors: (N, 4) brightness, contrast, saturation, each >= 0, and hue in turns, from -0.5 to 0.5.
        order: (N, 4) a permutation of 0..3 (`BRIGHTNESS`, ... `HUE`) for each image: first to last.
    """
    slot = torch.arange(3, device=images.device)
    hue_at = (order == HUE).int().argmax(1, keepdim=True)
    blends = order.gather(1, slot + (slot >= hue_at))  # (N, 3): the order with hue taken out
    chosen = factors.gather(1, blends)
    if images.shape[1] == 1:
        chosen = torch.where(blends == SATURATION, 1.0, chosen)
    for k in range(3):
        images = _blend(images, blends[:, k], torch.where(k < hue_at[:, 0], chosen[:, k], 1.0))
    if images.shape[1] == 3:
        images = adjust_hue(images, factors[:, HUE])
    for k in range(3):
        images = _blend(images, blends[:, k], torch.where(k < hue_at[:, 0], 1.0, chosen[:, k]))
    return images


def _blend(images: Tensor, operation: Tensor, factor: Tensor) -> Tensor:
    """One of the three blends for each image: operation (N,) says which, factor (N,) is the image's share."""
    operation, factor = (t[:, None, None, None] for t in (operation, factor))
    grey = to_grayscale(images)
    mean = grey.mean((1, 2, 3), keepdim=True) * ((operation == CONTRAST) * (1.0 - factor))
    other = grey * ((operation == SATURATION) * (1.0 - factor)) + mean
    return torch.addcmul(other, images, factor).clamp_(0.0, 1.0)


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of each image, as HSV has it; largest and smallest channel value of a pixel stay.

    With p the hue in sixths of a turn, red at 0, the channels are low + chroma w with w, cut to [0, 1],
    |p - 3| - 1 for red, 2 - |p - 2| for green, 2 - |p - 4| for blue.

    Args:
        images: (N, 3, H, W).
        factor: (N,) in turns, from -0.5 to 0.5.
    """
    r, g, b = images.unbind(1)
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    blue_or_green = torch.where(high == g, b - r + 2.0 * chroma, r - g + 4.0 * chroma)
    hue = torch.where(high == r, g - b, blue_or_green) / chroma.clamp(min=1e-12)  # a grey pixel has none
    hue = hue + 6.0 * factor[:, None, None]
    hue = hue - 6.0 * (hue / 6.0).floor()
    weights = (hue - 3.0).abs() - 1.0, 2.0 - (hue - 2.0).abs(), 2.0 - (hue - 4.0).abs()
    return torch.stack([torch.addcmul(low, chroma, w.clamp_(0.0, 1.0)) for w in weights], dim=1)


def to_grayscale(images: Tensor) -> Tensor:
    """Luma (N, 1, H, W) by the weights of ITU-R BT.601; images of other than three channels as they are."""
    if images.shape[1] != 3:
        return images
    r, g, b = images.unbind(1)
    return (0.2989 * r).add_(g, alpha=0.587).add_(b, alpha=0.114)[:, None]


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert what is at or above the threshold."""
    return torch.where(images >= threshold, 1.0 - images, images)


def affine(images: Tensor, angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Shear, scale and turn each image about its centre, then move it; bilinear, black beyond the border.

    Args:
        images: (N, C, H, W).
        angle: (N,) degrees, clockwise as the image is seen.
        translate: (N, 2) pixels to the right and down.
        scale: (N,) positive.
        shear: (N, 2) degrees along x and y, between -90 and 90.
    """
    H, W = images.shape[-2:]
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    tan_x, tan_y = shear.deg2rad().tan().unbind(1)
    # The matrix [[a, b], [c, d]] of determinant 1: rotation, times shear along y, times shear along x.
    a, c = cos + sin * tan_y, sin - cos * tan_y
    b, d = -a * tan_x - sin, cos - c * tan_x
    a, b, c, d = ((t / scale)[:, None, None] for t in (a, b, c, d))
    x = torch.arange(W, device=images.device) - (W - 1) / 2 - translate[:, 0, None, None]
    y = torch.arange(H, device=images.device)[:, None] - (H - 1) / 2 - translate[:, 1, None, None]
    # grid_sample wants where each pixel comes from (the inverse), with -1 and 1 at the borders.
    grid = torch.stack(((d * x - b * y) * (2 / W), (a * y - c * x) * (2 / H)), dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False).clamp_(0.0, 1.0)
