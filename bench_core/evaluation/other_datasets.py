"""Another data set through a method's eyes: images brought to its shape, and embedded as its own were.

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
_BLOCK = 1000  # images that are resized at once


def fitted(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Images of another shape: grey repeated over channels or colours weighed to grey, then resized.

    Args:
        images: (N, 1 or 3, h, w) uint8.
        shape: (C, H, W) with C of 1 or 3.

    Returns:
        (N, C, H, W) uint8; bilinear with antialiasing, rounded; the images themselves where the shape is theirs.

    Raises:
        BenchError: Not images.
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
    """Embeddings of images that are no split of the method's own data set, with their labels and factors.

    Args:
        frozen: The trained method; images are brought to its data's shape.
        split: Of any data set of images.
        index: (M,) int64, which of them; None takes all.
    """
    chosen = take(split, torch.arange(len(split)) if index is None else index)
    inputs = chosen.inputs if isinstance(chosen.inputs, Tensor) else chosen.inputs.read(torch.arange(len(chosen)))
    images = Split(fitted(inputs, frozen.data.shape))
    return Embedded(embed_split(frozen.method(), images, frozen.device), chosen.labels, chosen.factors)
