"""Errors of reconstructed images: mean squared error, peak signal-to-noise ratio, structural similarity.

Paper: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
       IEEE Trans. Image Processing 13(4), 2004, https://doi.org/10.1109/TIP.2003.819861

Shapes: N images, C channels, H x W pixels; all values in [0, 1].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 7  # pixels a side; the paper has a Gaussian window of 11, which is too large for small images
_LEAST_ERROR = 1 / (12 * 255**2)  # mean squared error of rounding to 8 bits; smaller errors count as this
MOST_SIGNAL_TO_NOISE = -10 * math.log10(_LEAST_ERROR)  # dB


def squared_error(images: Tensor, copies: Tensor) -> Tensor:
    """Return the mean squared error (N,) of each image (N, C, H, W)."""
    return (images - copies).square().flatten(1).mean(1)


def peak_signal_to_noise(error: Tensor) -> Tensor:
    """Return the ratio in dB (N,) of mean squared errors (N,); at most 58.9, that of rounding to 8 bits."""
    return -10 * error.clamp_min(_LEAST_ERROR).log10()


def structural_similarity(images: Tensor, copies: Tensor) -> Tensor:
    """Return the mean structural similarity (N,) over all windows of 7 x 7 pixels and all channels, in [-1, 1].

    Windows are uniform and lie within the image. Constants are the paper's; variances divide by the number of pixels.

    Raises:
        ValueError: A side is shorter than a window.
    """
    if min(images.shape[2:]) < WINDOW:
        raise ValueError(f"structural similarity needs sides of {WINDOW} pixels or more, got {tuple(images.shape[2:])}")
    x, y = images.double(), copies.double()
    mx, my, xx, yy, xy = (F.avg_pool2d(values, WINDOW, stride=1) for values in (x, y, x * x, y * y, x * y))
    c1, c2 = 0.01**2, 0.03**2
    light = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    structure = (2 * (xy - mx * my) + c2) / (xx - mx * mx + yy - my * my + c2)
    return torch.mul(light, structure).flatten(1).mean(1)
