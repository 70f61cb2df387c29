"""Grids of images as PNG inside a record, so that the images lie beside the number that they illustrate.

Shapes: N images, C channels (1 or 3), H x W pixels.
"""

import base64
import io

import torch
from torch import Tensor

from bench_core.contracts import MOST_IMAGES

_COLUMNS = 8
_GAP = 1  # white pixels between two images


def image_grid(images: Tensor) -> str:
    """Return a PNG in base64 of images (N, C, H, W) uint8, eight in a row.

    Raises:
        ValueError: Not 1 to 64 uint8 images of 1 or 3 channels.
    """
    if (
        images.dtype != torch.uint8
        or images.ndim != 4
        or not 1 <= len(images) <= MOST_IMAGES
        or images.shape[1] not in (1, 3)
    ):
        raise ValueError(
            f"a grid is 1 to {MOST_IMAGES} uint8 images (N, 1 or 3, H, W), "
            f"got {images.dtype} of shape {tuple(images.shape)}"
        )
    from PIL import Image

    n, channels, height, width = images.shape
    rows, columns = -(-n // _COLUMNS), min(n, _COLUMNS)
    sheet = torch.full(
        (channels, rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), 255, dtype=torch.uint8
    )
    for number, image in enumerate(images.cpu()):
        top, left = number // _COLUMNS * (height + _GAP), number % _COLUMNS * (width + _GAP)
        sheet[:, top : top + height, left : left + width] = image
    pixels = sheet.permute(1, 2, 0).squeeze(2).contiguous().numpy()
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG", optimize=True)
    return base64.b64encode(png.getvalue()).decode("ascii")
