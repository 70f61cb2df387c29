"""Networks of one modality: features for its encoders and for log-ratios, encoders of latents, and decoders.

Shapes: N items, (C, H, W) an image or (D,) a vector, U units, Z coordinates of the common latent, P of a private one.
"""

import math

import torch
from torch import Tensor, nn

from bench_core import DataSpec
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.heads import mlp

SLOPE = 0.2  # of leaky ReLU below 0, as in the code


def modality_skip_reason(data: DataSpec) -> str | None:
    """Return why these networks cannot read and make a modality, or None: it must be images of 8 pixels, or vectors."""
    return None if data.kind == "vector" else decoder_skip_reason(data)


def feature_network(data: DataSpec, width: int, units: int) -> nn.Sequential:
    """Build a network without normalisation: one modality (N, ...) -> (N, units).

    Args:
        data: Images, whose map is halved twice, or vectors.
        width: Channels of the first convolution; the second has twice as many.
        units: U.
    """
    if not data.is_image:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(data.shape), units), nn.LeakyReLU(SLOPE),
            nn.Linear(units, units), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
    channels, height, side = data.shape
    positions = math.ceil(height / 4) * math.ceil(side / 4)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, padding=1), nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, 2 * width, 3, 2, padding=1), nn.LeakyReLU(SLOPE),
        nn.Flatten(), nn.Linear(2 * width * positions, units), nn.LeakyReLU(SLOPE),
    )  # fmt: skip


class ModalityEncoder(nn.Module):
    """Encoders of one modality x: the common latent q(z | x), and the private one q(u | x, z).

    Both are deterministic, as by default in the code.
    """

    def __init__(self, data: DataSpec, common: int, private: int, width: int, units: int) -> None:
        """Build the networks.

        Args:
            data: The modality.
            common: Z.
            private: P.
            width: Channels of the feature network.
            units: Units of the feature network.
        """
        super().__init__()
        self.features = feature_network(data, width, units)
        self.to_common = nn.Linear(units, common)
        self.to_private = nn.Linear(units + common, private)

    def private(self, features: Tensor, z: Tensor) -> Tensor:
        """Return the private latent (N, P) of features (N, U) and a common latent (N, Z)."""
        latent: Tensor = self.to_private(torch.cat([features, z], 1))
        return latent


class Decoder(nn.Module):
    """Makes one modality from the common and its private latent; images are in [0, 1]."""

    def __init__(self, data: DataSpec, common: int, private: int, width: int, units: int) -> None:
        """Build a convolutional network for images, a network of linear layers for vectors.

        Args:
            data: The modality.
            common: Z.
            private: P.
            width: Channels before the last convolution.
            units: Units of the linear layers.
        """
        super().__init__()
        latent, values = common + private, math.prod(data.shape)
        self.network: nn.Module = (
            nn.Sequential(conv_decoder(latent, data.shape, width), nn.Sigmoid())
            if data.is_image
            else nn.Sequential(mlp(latent, units, units, values, norm=False), nn.Unflatten(1, data.shape))
        )

    def forward(self, z: Tensor, private: Tensor) -> Tensor:
        """Decode a common (N, Z) and a private latent (N, P) to items (N, ...)."""
        items: Tensor = self.network(torch.cat([z, private], 1))
        return items
