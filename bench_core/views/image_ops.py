"""Batched image operations with one parameter per image; nothing here is random.

Each function takes images as float32 (N, C, H, W) in [0, 1] on any device, returns images in [0, 1], and
leaves its input as it was. Where torchvision has the same operation for one image, results agree to rounding
(`tests/bench_core/views/test_image_ops.py`). Shapes are static and nothing waits for an accelerator; on the CPU,
work that
changes nothing is left out, to the same bits.

Under `torch.set_float32_matmul_precision("high")` a GPU computes crop and blur in TF32: off by 1e-3 or so.

Shapes: N images, C channels, H x W pixels, h x w output pixels.
"""

from collections.abc import Sequence

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
    columns = _resize_weights(left, width, images.shape[-1], size[1], flip, antialias)
    if torch.compiler.is_compiling() and size[0] >= images.shape[-2]:  # reading two rows beats a product
        images = _enlarged_rows(images, top, height, size[0])
        return torch.matmul(images.flatten(1, 2), columns.mT).view(*images.shape[:3], size[1]).clamp_(0.0, 1.0)
    rows = _resize_weights(top, height, images.shape[-2], size[0], None, antialias)
    return _separable(images, rows, columns)


def _enlarged_rows(images: Tensor, top: Tensor, height: Tensor, target: int) -> Tensor:
    """Rows of a box that does not shrink, each between two of it: (N, C, H, W) -> (N, C, target, W)."""
    top, height = top[:, None], height[:, None]
    goal = torch.arange(target, device=top.device)
    centre = (height / target * (goal + 0.5) - 0.5).clamp(min=0.0).minimum(height - 1.0)
    above = centre.floor()
    first = top + above.long()
    second = torch.minimum(first + 1, top + height - 1)
    one, other = (images.take_along_dim(row[:, None, :, None], 2) for row in (first, second))
    return torch.lerp(one, other, (centre - above)[:, None, :, None])


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
    weights = (1.0 - (pixel - centre).abs_().div_(reach)).clamp_(min=0.0)
    weights.mul_((pixel > 0) & (pixel < length))
    return weights.div_(weights.sum(-1, keepdim=True))


def _separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each image times its own two matrices: (N, C, H, W), (N, h, H), (N, w, W) -> (N, C, h, w) in [0, 1]."""
    N, C, H, W = images.shape
    wide = torch.bmm(images.reshape(N, C * H, W), columns.mT).view(N, C, H, columns.shape[1])
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


def color_jitter(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Brightness, contrast, saturation and hue, each image with its own factors in its own order.

    The first three are blends, `clamp(f x + (1 - f) y)` with y black, the mean grey or the grey image, so a
    single blend with y chosen per image serves all. Hue is dear, so it is done once, for all images together,
    between the blends that come before it and those that come after; a blend out of turn has f = 1, which
    changes nothing.

    Args:
        images: (N, C, H, W) with C = 3, or C = 1, where saturation and hue do nothing.
        factors: (N, 4) brightness, contrast, saturation, each >= 0, and hue in turns, from -0.5 to 0.5.
        order: (N, 4) a permutation of 0..3 (`BRIGHTNESS`, ... `HUE`) for each image: first to last.
        chosen: (N,) bool, whom it happens to; None for all.
    """
    hue_at = (order == HUE).int().argmax(1)
    if may_wait(images):
        return _jitter_by_place_of_hue(images, factors, order, hue_at, chosen)
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


def _jitter_by_place_of_hue(
    images: Tensor, factors: Tensor, order: Tensor, hue_at: Tensor, chosen: Tensor | None
) -> Tensor:
    """The same bits without what changes nothing: sorted by the place of hue, those whose turn it is lie in a row."""
    place = hue_at if chosen is None else torch.where(chosen, hue_at, 4)
    *ends, num_chosen = torch.bincount(place, minlength=4).cumsum(0)[:4].tolist()  # ends[k]: hue is at k or before
    rows = place.argsort()
    hue_at, factors, order, ordered = (t.index_select(0, rows) for t in (hue_at, factors, order, images))
    blends = _shares(*_blends(factors, order, hue_at, images.shape[1]))
    channels = ordered[:num_chosen].unbind(1)
    for end, shares in zip(ends, blends, strict=True):
        late = [channel[end:] for channel in channels]
        _blend(late, shares[:, end:num_chosen], out=late)
    if images.shape[1] == 3:
        _turn_hue(channels, factors[:num_chosen, HUE], out=channels)
    for end, shares in zip(ends, blends, strict=True):
        early = [channel[:end] for channel in channels]
        _blend(early, shares[:, :end], out=early)
    return ordered.index_select(0, rows.argsort())


def may_wait(images: Tensor) -> bool:
    """Whether shapes may depend on values: not on an accelerator, which the host would wait for, nor in a graph."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def _blends(factors: Tensor, order: Tensor, hue_at: Tensor, num_channels: int) -> tuple[Tensor, Tensor]:
    """The three blends of each image in their order, (N, 3), and their factors, (N, 3)."""
    slot = torch.arange(3, device=order.device)
    blends = order.gather(1, slot + (slot >= hue_at[:, None]))  # hue is taken out
    factor = factors.gather(1, blends)
    return blends, factor if num_channels == 3 else torch.where(blends == SATURATION, 1.0, factor)


def _shares(blends: Tensor, factor: Tensor) -> Sequence[Tensor]:
    """For each of the three blends the shares of the image, its grey and its mean grey: (3, N, 1, 1)."""
    rest = 1.0 - factor
    shares = torch.stack((factor, rest * (blends == SATURATION), rest * (blends == CONTRAST)))
    return shares[..., None, None].unbind(2)


def _blend(channels: Sequence[Tensor], shares: Tensor, out: Sequence[Tensor | None] = (None,) * 3) -> list[Tensor]:
    """Each image with its grey and its mean grey; channels (N, H, W) apart, so that a graph computes the grey once."""
    share, grey_share, mean_share = shares
    grey = _luma(channels)
    other = grey * grey_share + grey.mean((1, 2), keepdim=True) * mean_share
    return [torch.addcmul(other, x, share, out=o).clamp_(0.0, 1.0) for x, o in zip(channels, out, strict=False)]


def adjust_hue(images: Tensor, factor: Tensor) -> Tensor:
    """Turn the hue of each image, as HSV has it; largest and smallest channel value of a pixel stay.

    Args:
        images: (N, 3, H, W).
        factor: (N,) in turns, from -0.5 to 0.5.
    """
    return torch.stack(_turn_hue(images.unbind(1), factor), dim=1)


def _turn_hue(channels: Sequence[Tensor], factor: Tensor, out: Sequence[Tensor | None] = (None,) * 3) -> list[Tensor]:
    """Hue of red, green and blue, each (N, H, W), turned.

    With p the hue in sixths of a turn, red at 0, the channels are low + chroma w with w, cut to [0, 1],
    |p - 3| - 1 for red, 2 - |p - 2| for green, 2 - |p - 4| for blue.
    """
    r, g, b = channels
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    is_red, is_green = (torch.eq(high, c, out=torch.empty_like(high)) for c in (r, g))
    # lerp by 0 or 1 is where, and on the CPU three times as fast
    hue = torch.lerp(r - g + 4.0 * chroma, b - r + 2.0 * chroma, is_green)
    hue = torch.lerp(hue, g - b, is_red).div_(chroma.clamp(min=1e-12))  # a grey pixel has none
    hue.add_(6.0 * factor[:, None, None])
    hue.sub_((hue / 6.0).floor_().mul_(6.0))
    weights = (hue - 3.0).abs_().sub_(1.0), 2.0 - (hue - 2.0).abs_(), 2.0 - (hue - 4.0).abs_()
    return [torch.addcmul(low, chroma, w.clamp_(0.0, 1.0), out=o) for w, o in zip(weights, out, strict=True)]


def to_grayscale(images: Tensor) -> Tensor:
    """Luma (N, 1, H, W) by the weights of ITU-R BT.601; images of other than three channels as they are."""
    return _luma(images.unbind(1))[:, None] if images.shape[1] == 3 else images


def _luma(channels: Sequence[Tensor]) -> Tensor:
    if len(channels) != 3:
        return channels[0]
    r, g, b = channels
    return (0.2989 * r).add_(g, alpha=0.587).add_(b, alpha=0.114)


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
