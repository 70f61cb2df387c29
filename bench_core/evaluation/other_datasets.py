"""Converting images: to another shape, to embed a dataset that the method was not trained on; to bytes, for pictures.

Shapes: N images, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.contracts import DataSpec, Embedded, Frozen, Split
from bench_core.data import take
from bench_core.errors import BenchError
from bench_core.training.embed import embed_split

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_COLOURS = (1, 3)  # numbers of channels that are converted into each other
_BLOCK = 1000  # number of images resized at once


def colours_skip_reason(data: DataSpec) -> str | None:
    """Return the reason why images of other datasets cannot be converted to this dataset's shape, or None if they can.

    Bands beside red, green and blue cannot be made of grey or colour.
    """
    if not data.is_image:
        return "needs images"
    return None if data.shape[0] in _COLOURS else "needs images of one or three channels"


def as_bytes(images: Tensor) -> Tensor:
    """Return images in [0, 1] rounded to 256 levels, as uint8; uint8 images as they are."""
    return images if images.dtype == torch.uint8 else (images.float() * 255).round().clamp(0, 255).to(torch.uint8)


def fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Convert images to a shape: grey is repeated over channels, or colours are reduced to luma; then they are resized.

    Args:
        images: Images (N, 1 or 3, h, w), uint8 or float in [0, 1].
        shape: Target shape (C, H, W) with C of 1 or 3.

    Returns:
        Images (N, C, H, W) of the same type, resized with bilinear interpolation and antialiasing, uint8 rounded; the
        same tensor if it already has the shape.

    Raises:
        BenchError: The inputs are not images, or have another number of channels.
    """
    if images.ndim != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()) or len(shape) != 3:
        raise BenchError(f"only images, uint8 or float, fit another shape, got {images.dtype} {tuple(images.shape)}.")
    if images.shape[1:] == shape:
        return images
    if images.shape[1] != shape[0] and not {images.shape[1], shape[0]} <= set(_COLOURS):
        raise BenchError(
            f"images of {images.shape[1]} channels cannot become images of {shape[0]}: only 1 and 3 are converted into "
            "each other. Choose a dataset with the same channels."
        )
    return torch.cat([_fitted(images[start : start + _BLOCK], shape) for start in range(0, len(images), _BLOCK)])


def _fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    values = images.float()
    if values.shape[1] != shape[0]:
        luma = torch.tensor(_LUMA)[:, None, None]
        values = (values * luma).sum(1, keepdim=True) if shape[0] == 1 else values.expand(-1, shape[0], -1, -1)
    if values.shape[2:] != shape[1:]:
        values = F.interpolate(values, size=shape[1:], mode="bilinear", antialias=True, align_corners=False)
    return values.clamp(0, 1) if images.is_floating_point() else values.round().clamp(0, 255).to(torch.uint8)


def embed_images(frozen: Frozen, split: Split, index: Tensor | None = None) -> Embedded:
    """Embed images that are no split of the method's dataset, and return them with their labels and factors.

    Args:
        frozen: The trained method; images are converted to the shape of its dataset.
        split: A split of any dataset of images.
        index: Positions (M,) int64 of the images to embed; None embeds all.
    """
    part = take(split, torch.arange(len(split)) if index is None else index)
    images = Split(fitted(part.read(torch.arange(len(part))), frozen.data.shape))
    return Embedded(embed_split(frozen.method(), images, frozen.device), part.labels, part.factors)
