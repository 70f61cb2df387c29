"""Batched image operations with separate parameters for each image; nothing here is random.

Each function takes images as float32 (N, C, H, W) in [0, 1] on any device, returns images in [0, 1], and does not
change its input. If torchvision has the same operation for one image, results agree up to rounding
(`tests/bench_core/views/test_image_ops.py`). On an accelerator shapes do not depend on values, so nothing waits for
the device. On the CPU work that would change nothing is left out; results are the same to the bit.

Under `torch.set_float32_matmul_precision("high")` a GPU computes crop and blur in TF32, with errors of about 1e-3.

Shapes: N images, C channels, H x W pixels, h x w output pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # columns of `factors`, and entries of `order`


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
        images: Images (N, C, H, W).
        top: First row of each box (N,), a whole number; so are the next three.
        left: First column (N,).
        height: Number of rows (N,), from 1 to H - top.
        width: Number of columns (N,), from 1 to W - left.
        size: Size (h, w) of the result.
        flip: Results that are mirrored left to right, (N,) bool; None for none.
        antialias: Widen the filter if the box shrinks, as Pillow does; else two pixels are read along each axis.

    Returns:
        Resized boxes (N, C, h, w).
    """
    columns = _resize_weights(left, width, images.shape[-1], size[1], flip, antialias)
    if torch.compiler.is_compiling() and size[0] >= images.shape[-2]:  # reading two rows is faster than a product
        images = _enlarged_rows(images, top, height, size[0])
        return torch.matmul(images.flatten(1, 2), columns.mT).view(*images.shape[:3], size[1]).clamp_(0.0, 1.0)
    rows = _resize_weights(top, height, images.shape[-2], size[0], None, antialias)
    return _separable(images, rows, columns)


def _enlarged_rows(images: Tensor, top: Tensor, height: Tensor, target: int) -> Tensor:
    """Interpolate the rows of boxes that do not shrink, each between two rows: (N, C, H, W) -> (N, C, target, W)."""
    top, height = top[:, None], height[:, None]
    row = torch.arange(target, device=top.device)
    centre = (height / target * (row + 0.5) - 0.5).clamp(min=0.0).minimum(height - 1.0)
    above = centre.floor()
    first = top + above.long()
    second = torch.minimum(first + 1, top + height - 1)
    upper, lower = (images.take_along_dim(rows[:, None, :, None], 2) for rows in (first, second))
    return torch.lerp(upper, lower, (centre - above)[:, None, :, None])


def _resize_weights(
    start: Tensor, length: Tensor, source: int, target: int, flip: Tensor | None, antialias: bool
) -> Tensor:
    """Return the weights (N, target, source) of the triangle filter along one axis; each row sums to 1.

    The centre of the filter for output pixel i lies at (i + 1/2) length / target of the box. Its half-width is one
    pixel, or length / target pixels if the box shrinks. Pixels outside the box have weight 0.
    """
    start, length = (t.to(torch.float32)[:, None, None] for t in (start, length))
    scale = length / target
    output = torch.arange(target, device=start.device)[:, None]
    if flip is not None:
        output = torch.where(flip[:, None, None], target - 1 - output, output)
    centre = scale * (output + 0.5)
    if not antialias:
        centre = centre.clamp(min=0.5).minimum(length - 0.5)
    pixel = torch.arange(source, device=start.device) - start + 0.5
    half_width = scale.clamp(min=1.0) if antialias else torch.ones_like(scale)
    weights = (1.0 - (pixel - centre).abs_().div_(half_width)).clamp_(min=0.0)
    weights.mul_((pixel > 0) & (pixel < length))
    return weights.div_(weights.sum(-1, keepdim=True))


def _separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply each image with its row and column matrix: (N, C, H, W), (N, h, H), (N, w, W) -> (N, C, h, w)."""
    N, C, H, W = images.shape
    wide = torch.bmm(images.reshape(N, C * H, W), columns.mT).view(N, C, H, columns.shape[1])
    return torch.matmul(rows[:, None], wide).clamp_(0.0, 1.0)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur each image with its own sigma; borders are reflected.

    Args:
        images: Images (N, C, H, W).
        sigma: Positive standard deviations (N,), in pixels.
        kernel_size: Odd number, at most 2 min(H, W) - 1.

    Raises:
        ValueError: The kernel size is even, or too large for reflected borders.
    """
    if kernel_size % 2 == 0 or not 0 < kernel_size < 2 * min(images.shape[-2:]):
        raise ValueError(f"kernel_size must be odd and at most {2 * min(images.shape[-2:]) - 1}, got {kernel_size}")
    radius = kernel_size // 2
    distance = torch.arange(radius + 2, device=images.device)
    taps = torch.exp(-0.5 * (distance / sigma[:, None]).square()) * (distance <= radius)
    taps = taps / (2.0 * taps.sum(1, keepdim=True) - taps[:, :1])
    return _separable(images, *(_blur_weights(taps, side) for side in images.shape[-2:]))


def _blur_weights(taps: Tensor, side: int) -> Tensor:
    """Return the weights (N, side, side) along one axis from taps (N, radius + 2) by distance; the last tap is 0.

    Output pixel i reads pixel j at three distances: that of j, and those of its mirror images beyond the two borders.
    """
    far = taps.shape[1] - 1
    i = torch.arange(side, device=taps.device)[:, None]
    j = i.mT
    before = torch.where(j == 0, far, i + j)  # a border pixel is the mirror and has no mirror image
    after = torch.where(j == side - 1, far, 2 * (side - 1) - i - j)
    distance = torch.stack(((i - j).abs(), before, after)).clamp(max=far)
    return taps.index_select(1, distance.flatten()).view(-1, 3, side, side).sum(1)


def color_jitter(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, by its own factors and in its own order.

    The first three are blends `clamp(f x + (1 - f) y)`, in which y is black, the mean grey or the grey image. So one
    blend, with y selected for each image, computes all three. Hue is expensive, so it is computed once for all images
    together, between the blends that come before it and those that come after it. There are three blends on each side
    of hue; one that belongs to the other side gets f = 1, which changes nothing.

    Args:
        images: Images (N, C, H, W) with C = 3, or C = 1, for which saturation and hue do nothing.
        factors: Factors (N, 4) of brightness, contrast, saturation, each >= 0, and of hue in turns, from -0.5 to 0.5.
        order: For each image a permutation (N, 4) of 0..3 (`BRIGHTNESS`, ..., `HUE`), from first to last.
        chosen: Images (N,) bool that are changed; None for all.
    """
    hue_at = (order == HUE).int().argmax(1)
    if may_wait(images):
        return _jitter_sorted_by_hue(images, factors, order, hue_at, chosen)
    before = torch.arange(3, device=images.device) < hue_at[:, None]
    blends, factor = _blends(factors, order, hue_at, images.shape[1])
    channels: Sequence[Tensor] = images.unbind(1)
    for shares in _shares(blends, torch.where(before, factor, 1.0)):
        channels = _blend(channels, shares)
    if images.shape[1] == 3:
        channels = _turn_hue(channels, factors[:, HUE])
    for shares in _shares(blends, torch.where(before, 1.0, factor)):
        channels = _blend(channels, shares)
    jittered = torch.stack(list(channels), dim=1)
    return jittered if chosen is None else torch.where(chosen[:, None, None, None], jittered, images)


def _jitter_sorted_by_hue(
    images: Tensor, factors: Tensor, order: Tensor, hue_at: Tensor, chosen: Tensor | None
) -> Tensor:
    """Compute the same bits as the general case of `color_jitter`, without blends that change nothing.

    The images are sorted by the position of hue in their order, those that are not chosen last. Then the images that
    a blend changes, before or after hue, lie side by side.
    """
    position = hue_at if chosen is None else torch.where(chosen, hue_at, 4)
    *ends, num_chosen = torch.bincount(position, minlength=4).cumsum(0)[:4].tolist()  # ends[k]: hue is at k or before
    rows = position.argsort()
    hue_at, factors, order, ordered = (t.index_select(0, rows) for t in (hue_at, factors, order, images))
    blends = _shares(*_blends(factors, order, hue_at, images.shape[1]))
    channels = ordered[:num_chosen].unbind(1)
    for end, shares in zip(ends, blends, strict=True):
        before_hue = [channel[end:] for channel in channels]
        _blend(before_hue, shares[:, end:num_chosen], out=before_hue)
    if images.shape[1] == 3:
        _turn_hue(channels, factors[:num_chosen, HUE], out=channels)
    for end, shares in zip(ends, blends, strict=True):
        after_hue = [channel[:end] for channel in channels]
        _blend(after_hue, shares[:, :end], out=after_hue)
    return ordered.index_select(0, rows.argsort())


def may_wait(images: Tensor) -> bool:
    """Return True if shapes may depend on values: on the CPU, and not while compiling. On a GPU the host would wait."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def _blends(factors: Tensor, order: Tensor, hue_at: Tensor, num_channels: int) -> tuple[Tensor, Tensor]:
    """Return the three blends of each image in their order, (N, 3), and their factors, (N, 3)."""
    slot = torch.arange(3, device=order.device)
    blends = order.gather(1, slot + (slot >= hue_at[:, None]))  # skips hue
    factor = factors.gather(1, blends)
    return blends, factor if num_channels == 3 else torch.where(blends == SATURATION, 1.0, factor)


def _shares(blends: Tensor, factor: Tensor) -> Sequence[Tensor]:
    """Return, for each of the three blends, the shares (3, N, 1, 1) of the image, its grey and its mean grey."""
    rest = 1.0 - factor
    shares = torch.stack((factor, rest * (blends == SATURATION), rest * (blends == CONTRAST)))
    return shares[..., None, None].unbind(2)


def _blend(channels: Sequence[Tensor], shares: Tensor, out: Sequence[Tensor | None] = (None,) * 3) -> list[Tensor]:
    """Blend each image with its grey and its mean grey.

    Channels are separate tensors (N, H, W), so that a compiled graph computes the grey only once.
    """
    share, grey_share, mean_share = shares
    grey = _luma(channels)
    blended_with = grey * grey_share + grey.mean((1, 2), keepdim=True) * mean_share
    return [torch.addcmul(blended_with, x, share, out=o).clamp_(0.0, 1.0) for x, o in zip(channels, out, strict=False)]


def _turn_hue(channels: Sequence[Tensor], factor: Tensor, out: Sequence[Tensor | None] = (None,) * 3) -> list[Tensor]:
    """Turn the hue of channels red, green and blue, each (N, H, W).

    With p the hue in sixths of a turn, red at 0, the channels are low + chroma w with w, cut to [0, 1],
    |p - 3| - 1 for red, 2 - |p - 2| for green, 2 - |p - 4| for blue.
    """
    r, g, b = channels
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    is_red, is_green = (torch.eq(high, c, out=torch.empty_like(high)) for c in (r, g))
    # lerp by 0 or 1 selects as torch.where does, and is three times as fast on the CPU
    hue = torch.lerp(r - g + 4.0 * chroma, b - r + 2.0 * chroma, is_green)
    hue = torch.lerp(hue, g - b, is_red).div_(chroma.clamp(min=1e-12))  # a grey pixel has chroma 0 and no hue
    hue.add_(6.0 * factor[:, None, None])
    hue.sub_((hue / 6.0).floor_().mul_(6.0))
    weights = (hue - 3.0).abs_().sub_(1.0), 2.0 - (hue - 2.0).abs_(), 2.0 - (hue - 4.0).abs_()
    return [torch.addcmul(low, chroma, w.clamp_(0.0, 1.0), out=o) for w, o in zip(weights, out, strict=True)]


def to_grayscale(images: Tensor) -> Tensor:
    """Return luma (N, 1, H, W) by the weights of ITU-R BT.601, or the images unless they have three channels."""
    return _luma(images.unbind(1))[:, None] if images.shape[1] == 3 else images


def _luma(channels: Sequence[Tensor]) -> Tensor:
    if len(channels) != 3:
        return channels[0]
    r, g, b = channels
    return (0.2989 * r).add_(g, alpha=0.587).add_(b, alpha=0.114)


def band_jitter(images: Tensor, factors: Tensor, contrast_first: Tensor) -> Tensor:
    """Change brightness and contrast of images of any number of bands, one after the other.

    Brightness is `clamp(f x)`, contrast `clamp(f x + (1 - f) m)`, in which m is the mean of all bands and pixels. The
    differences between bands are part of the contrast, so both keep the order of the bands of a pixel.

    Args:
        images: Images (N, C, H, W).
        factors: Factors of brightness and contrast (N, 2), not negative.
        contrast_first: Images whose contrast is changed before their brightness, (N,) bool.
    """
    brightness, contrast = factors.unbind(1)
    for is_contrast in (contrast_first, ~contrast_first):
        factor = torch.where(is_contrast, contrast, brightness)[:, None, None, None]
        mean = images.mean((1, 2, 3), keepdim=True) * is_contrast[:, None, None, None]
        images = (images * factor + mean * (1.0 - factor)).clamp_(0.0, 1.0)
    return images


def mean_of_bands(images: Tensor) -> Tensor:
    """Return the mean over the bands of each pixel, (N, 1, H, W)."""
    return images.mean(1, keepdim=True)


def drop_bands(images: Tensor, dropped: Tensor) -> Tensor:
    """Set the dropped bands (N, C) bool to 0, as files of images store bands and pixels that are missing."""
    return images.masked_fill(dropped[:, :, None, None], 0.0)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert all values at or above the threshold."""
    return torch.where(images >= threshold, 1.0 - images, images)


def affine(images: Tensor, angle: Tensor, translate: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Shear, scale and turn each image about its centre, then move it; bilinear, black beyond the border.

    Args:
        images: Images (N, C, H, W).
        angle: Degrees (N,), clockwise as one looks at the image.
        translate: Pixels (N, 2) to the right and down.
        scale: Positive magnification (N,).
        shear: Degrees (N, 2) along x and y, between -90 and 90.
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
    # grid_sample needs the source of each output pixel (the inverse map), with -1 and 1 at the borders.
    grid = torch.stack(((d * x - b * y) * (2 / W), (a * y - c * x) * (2 / H)), dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False).clamp_(0.0, 1.0)
