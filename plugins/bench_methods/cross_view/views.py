"""Views of a colour image: channels of Lab, of Y, Cb and Cr, or of red, green and blue.

Sources: sRGB to XYZ and its white point D65: IEC 61966-2-1; XYZ to Lab: CIE 15; Y, Cb and Cr: ITU-T T.871 (JPEG).
Note:    Channels are scaled to values between 0 and 1, as of images, by constants that do not depend on the data.
         Encoders then standardise each view as they do images, by the mean and deviation that stand here.

Shapes: N images of H x W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.nn.layers import image_skip_reason

# Rows X, Y, Z of the linear mixture of red, green and blue, each divided by its sum: white is (1, 1, 1).
_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27  # where Lab changes from a cube root to a line, and the slope of the line


def lab(images: Tensor) -> Tensor:
    """Convert sRGB images to Lab for the white point D65.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 3, H, W): L in [0, 100]; a and b, which are 0 for greys and lie between -108 and 99.
    """
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear.unbind(1)
    x, y, z = (_lightness(r * red + g * green + b * blue) for r, g, b in _XYZ)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _lightness(part: Tensor) -> Tensor:
    """Return the cube root of a part of white, and a line where it is small."""
    return torch.where(part > _EPSILON, part.clamp(min=_EPSILON) ** (1 / 3), (_KAPPA * part + 16) / 116)


def scaled_lab(images: Tensor) -> Tensor:
    """Return L / 100, (a + 128) / 256 and (b + 128) / 256 of sRGB images (N, 3, H, W) in [0, 1]."""
    lightness, a, b = lab(images).unbind(1)
    return torch.stack([lightness / 100, (a + 128) / 256, (b + 128) / 256], 1)


def y_cb_cr(images: Tensor) -> Tensor:
    """Return luma Y and chroma Cb and Cr, each in [0, 1], of images (N, 3, H, W) in [0, 1]; 1/2 is no chroma."""
    red, green, blue = images.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, 0.5 + (blue - luma) / 1.772, 0.5 + (red - luma) / 1.402], 1)


def red_green_blue(images: Tensor) -> Tensor:
    """Return the images (N, 3, H, W) unchanged."""
    return images


@dataclass(frozen=True)
class Views:
    """A choice of views of one colour space.

    Attributes:
        convert: Function from images (N, 3, H, W) in [0, 1] to the channels of the colour space, of the same shape.
        deviation: About the standard deviation of each channel over photographs; the mean of each is about 1/2.
        channels: Name of each view and its channels; the first view is the core of a core graph.
    """

    convert: Callable[[Tensor], Tensor]
    deviation: tuple[float, float, float]
    channels: Mapping[str, tuple[int, ...]]

    def split(self, images: Tensor) -> dict[str, Tensor]:
        """Return each view (N, C, H, W) of images (N, 3, H, W) in [0, 1], by name."""
        converted = self.convert(images).unbind(1)
        return {name: torch.stack([converted[c] for c in channels], 1) for name, channels in self.channels.items()}

    def specs(self, data: DataSpec) -> dict[str, DataSpec]:
        """Describe the images that the encoder of each view reads, with the mean and deviation of its channels."""
        return {
            name: replace(
                data,
                shape=(len(channels), *data.shape[1:]),
                mean=(0.5,) * len(channels),
                std=tuple(self.deviation[channel] for channel in channels),
            )
            for name, channels in self.channels.items()
        }


# Deviations were measured on 2,000 training images of cifar10_jpeg (.24, .04 and .06 of Lab; .24, .06 and .05 of Y, Cb
# and Cr) and rounded.
_LAB, _Y_CB_CR, _RGB = (0.25, 0.05, 0.05), (0.25, 0.05, 0.05), (0.25, 0.25, 0.25)
VIEWS: Mapping[str, Views] = {
    "l_ab": Views(scaled_lab, _LAB, {"l": (0,), "ab": (1, 2)}),
    "l_a_b": Views(scaled_lab, _LAB, {"l": (0,), "a": (1,), "b": (2,)}),
    "l_ab_lab": Views(scaled_lab, _LAB, {"l": (0,), "ab": (1, 2), "lab": (0, 1, 2)}),
    "y_cbcr": Views(y_cb_cr, _Y_CB_CR, {"y": (0,), "cbcr": (1, 2)}),
    "y_cb_cr": Views(y_cb_cr, _Y_CB_CR, {"y": (0,), "cb": (1,), "cr": (2,)}),
    "r_g_b": Views(red_green_blue, _RGB, {"red": (0,), "green": (1,), "blue": (2,)}),
}


def views_skip_reason(data: DataSpec) -> str | None:
    """Return why images cannot be split into views by colour, or None: they must have red, green and blue."""
    if not data.is_image:
        return image_skip_reason(data)
    if data.shape[0] != 3:
        return f"views are parts of a colour, so it needs images of 3 channels, these have {data.shape[0]}"
    return "its channels are bands of a spectrum, not red, green and blue" if data.views == "bands" else None
