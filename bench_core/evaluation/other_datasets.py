"""Embedding images of a dataset that the method was not trained on, after converting them to the method's shape.

Shapes: N images, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.contracts import Embedded, Frozen, Split
from bench_core.data import take
from bench_core.errors import BenchError
from bench_core.training.embed import embed_split

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L"
_BLOCK = 1000  # number of images resized at once


def fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Convert images to a shape: grey is repeated over channels, or colours are reduced to luma; then they are resized.

    Args:
        images: Images (N, 1 or 3, h, w) uint8.
        shape: Target shape (C, H, W) with C of 1 or 3.

    Returns:
        Images (N, C, H, W) uint8, resized with bilinear interpolation and antialiasing and rounded; the same tensor if
        it already has the shape.

    Raises:
        BenchError: The inputs are not uint8 images.
    """
    if images.ndim != 4 or images.dtype != torch.uint8 or len(shape) != 3:
        raise BenchError(f"only uint8 images fit another shape, got {images.dtype} of shape {tuple(images.shape)}.")
    if images.shape[1:] == shape:
        return images
    return torch.cat([_fitted(images[start : start + _BLOCK], shape) for start in range(0, len(images), _BLOCK)])


def _fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    values = images.float()
    if values.shape[1] != shape[0]:
        luma = torch.tensor(_LUMA)[:, None, None]
        values = (values * luma).sum(1, keepdim=True) if shape[0] == 1 else values.expand(-1, shape[0], -1, -1)
    if values.shape[2:] != shape[1:]:
        values = F.interpolate(values, size=shape[1:], mode="bilinear", antialias=True, align_corners=False)
    return values.round().clamp(0, 255).to(torch.uint8)


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
