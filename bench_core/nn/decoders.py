"""The convolutional decoder that all generative methods use: latents -> images.

Source: the generator of DCGAN (Radford, Metz, Chintala, ICLR 2016, https://arxiv.org/abs/1511.06434), at 32 pixels with
        the widths and initial weights of https://github.com/Delay-Xili/LDR, Dai et al.'s code for closed-loop
        transcription.

Shapes: N items, P latents, C channels, H x W pixels.
"""

import itertools

import torch
from torch import nn

from bench_core.contracts import DataSpec
from bench_core.nn.layers import image_skip_reason

_SMALLEST = 8  # pixels of the shorter side; half of it is 4


def conv_decoder(latent_dim: int, shape: tuple[int, ...], width: int = 64) -> nn.Sequential:
    """Build a DCGAN generator without its tanh: (N, P) -> raw values (N, C, H, W), any real numbers.

    Example: for 32 pixels latent_dim -> 4 width (4x4) -> 2 width (8x8) -> width (16x16) -> C (32x32). The size of the
    first map is that of the image, halved and rounded up as long as both sides have 8 pixels: 32 -> 16 -> 8 -> 4,
    28 -> 14 -> 7. Each stage doubles the map and halves the channels. No convolution has a bias.

    Args:
        latent_dim: P.
        shape: (C, H, W) of an image; sides may be even or odd, and different.
        width: Channels before the last stage.

    Raises:
        ValueError: The shape is not that of images, or a side has less than 8 pixels.
    """
    if latent_dim < 1 or width < 1:
        raise ValueError(f"latent_dim and width must be >= 1, got {latent_dim} and {width}")
    if len(shape) != 3 or min(shape[1:]) < _SMALLEST:
        raise ValueError(f"shape must be (C, H, W) with sides >= {_SMALLEST}, got {tuple(shape)}")
    sides = [(shape[1], shape[2])]
    while min(sides[0]) >= _SMALLEST:
        sides.insert(0, ((sides[0][0] + 1) // 2, (sides[0][1] + 1) // 2))
    widths = [width * 2**k for k in reversed(range(len(sides) - 1))]
    layers: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1))]
    layers += [nn.ConvTranspose2d(latent_dim, widths[0], sides[0], bias=False)]
    for (before, after), side in zip(itertools.pairwise([*widths, shape[0]]), sides[1:], strict=True):
        # With stride 2 and padding 1 a kernel of 4 makes 2n pixels of n, and a kernel of 3 makes 2n - 1.
        kernel = (4 - side[0] % 2, 4 - side[1] % 2)
        layers += [nn.BatchNorm2d(before), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(before, after, kernel, stride=2, padding=1, bias=False)]
    return nn.Sequential(*layers).apply(_initialise)


def decoder_skip_reason(data: DataSpec) -> str | None:
    """Return why `conv_decoder` cannot produce such data, or None; for a method's `skip_reason`."""
    return image_skip_reason(data, smallest=_SMALLEST)


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Draw weights from a normal law with standard deviation .02, mean 0 for convolutions and 1 for batch norm."""
    if isinstance(module, nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
