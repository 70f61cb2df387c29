"""Networks beside the encoder: generators of images and of vectors, and the statistics network of MINE.

Shapes: N items, P latents, K coordinates of the code, C channels, H x W pixels or D values of an item.
"""

import math

import torch
from torch import Tensor, nn

from bench_core import DataSpec
from bench_core.nn.decoders import conv_decoder, decoder_skip_reason
from bench_core.nn.heads import mlp


def make_generator(data: DataSpec, latent_dim: int, width: int, units: int) -> nn.Sequential:
    """Build a generator: latents (N, P) -> images (N, C, H, W) in [0, 1] as real ones are, or vectors (N, D).

    Args:
        data: The items.
        latent_dim: P.
        width: Channels before the last stage, for images.
        units: Units of the two hidden layers, for vectors.
    """
    if data.is_image:
        return nn.Sequential(conv_decoder(latent_dim, data.shape, width), nn.Sigmoid())
    return mlp(latent_dim, units, units, data.shape[0], norm=False)


class StatisticsNetwork(nn.Module):
    """Critic T of MINE: scores pairs of an item and a code, high for an item that was made from this code."""

    def __init__(self, data: DataSpec, code_dim: int, units: int) -> None:
        """Build two hidden layers on the item, flattened, and the code.

        Args:
            data: The items.
            code_dim: K.
            units: Units of each hidden layer.
        """
        super().__init__()
        self.layers = mlp(math.prod(data.shape) + code_dim, units, units, 1, norm=False)

    def forward(self, items: Tensor, codes: Tensor) -> Tensor:
        """Return scores (N,) of items (N, ...) with codes (N, K), row by row."""
        scores: Tensor = self.layers(torch.cat([items.flatten(1), codes], 1))
        return scores.squeeze(1)


def generator_skip_reason(data: DataSpec) -> str | None:
    """Return the reason why such items cannot be generated, or None; for a method's `skip_reason`."""
    if data.kind == "vector":
        return None
    return decoder_skip_reason(data) if data.is_image else f"generates images or vectors; this data is {data.kind}"
