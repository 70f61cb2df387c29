"""Features and maps of a network for a batch of images, and the choice of one map.

Shapes: N images, C channels, H x W pixels, D features, K channels of a map of h x w positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import ConfigError, DataSpec, Encoder


class Layers(NamedTuple):
    """Features (N, D) of a network, and its maps (N, K, h, w) by name, none where they are not needed."""

    features: Tensor
    maps: dict[str, Tensor]


def read(encoder: Encoder, images: Tensor, with_maps: bool) -> Layers:
    """Read the features of images (N, C, H, W), with maps in one pass where the encoder can."""
    return Layers(*encoder.features_and_maps(images)) if with_maps else Layers(encoder(images), {})


@torch.no_grad()
def read_black_image(encoder: Encoder, data: DataSpec, with_maps: bool) -> Layers:
    """Read one black image in eval mode, which tells the sizes of all layers; nothing of the encoder changes."""
    training = encoder.training
    device = next((parameter.device for parameter in encoder.parameters()), None)
    layers = read(encoder.eval(), torch.zeros(1, *data.shape, device=device), with_maps)
    encoder.train(training)
    return layers


def choose_map(layers: Layers, parameter: str, name: str | None) -> str:
    """Return the name of a map: by default of the last but one, or of the only map.

    Args:
        layers: Layers of an encoder for any images.
        parameter: Name of the parameter that chooses, for messages.
        name: Value of that parameter.

    Raises:
        ConfigError: There is no such map, or its positions do not lie in two dimensions.
    """
    if not layers.maps:
        raise ConfigError(f"{parameter}: the encoder has no maps; set local_weight and maps_weight to 0")
    if name is None:
        name = list(layers.maps)[-2:][0]
    if name not in layers.maps:
        raise ConfigError(f"{parameter}: the encoder has no map {name!r}. Its maps: {', '.join(layers.maps)}.")
    if layers.maps[name].ndim != 4:
        shape = tuple(layers.maps[name].shape)
        raise ConfigError(f"{parameter}: map {name!r} has shape {shape}, expected (images, channels, height, width)")
    return name
