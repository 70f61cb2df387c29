"""Choice of one of an encoder's maps, and its locations as rows.

Shapes: N images, K channels, h x w positions, L = h * w locations.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import ConfigError, DataSpec, Encoder

# Pixels of a location along one side, as in Deep InfoMax's maps on MNIST, CIFAR and Tiny ImageNet (15 x 15 of 64 x 64).
PIXELS = 4
# Fewest locations along one side, if the encoder has such a map: a location of a 2 x 2 map sees nearly the whole image.
LEAST = 4


class LocalMap(NamedTuple):
    """Name of a map, its number K of channels and its number L of locations."""

    name: str
    channels: int
    locations: int


def choose_map(encoder: Encoder, data: DataSpec, name: str | None = None) -> LocalMap:
    """Return a map of the encoder by name, or the default map.

    The default is a map with about 4 pixels for each location along a side. Of several with that size it is the middle
    one, and of two middle ones the shallower. Maps with fewer than 4 locations along a side are used only if there is
    no other.

    Args:
        encoder: Reads one black image in eval mode; no parameter, buffer or generator changes.
        data: Images.
        name: Name of one of the encoder's maps; None for the default map.

    Raises:
        ConfigError: The encoder has no map of this name, or none over the positions of an image; the message lists its
            maps.
    """
    training = encoder.training
    with torch.no_grad():
        device = next((p.device for p in encoder.parameters()), None)
        maps = encoder.eval().maps(torch.zeros(1, *data.shape, device=device))
    encoder.train(training)
    maps = {map_name: values for map_name, values in maps.items() if values.ndim == 4}
    if not maps:
        raise ConfigError(
            f"{type(encoder).__name__} has no map over the positions of an image, (N, channels, h, w); take an encoder "
            "of convolutions, such as --encoders convnet."
        )
    if name is None:
        widths = {map_name: local_map.shape[3] for map_name, local_map in maps.items()}
        widths = {map_name: width for map_name, width in widths.items() if width >= LEAST} or widths
        best = min(widths.values(), key=lambda width: abs(math.log(data.shape[2] / width / PIXELS)))
        candidates = [map_name for map_name, width in widths.items() if width == best]
        name = candidates[(len(candidates) - 1) // 2]
    if name not in maps:
        raise ConfigError(f"{type(encoder).__name__} has no map named {name!r}. Its maps: {', '.join(maps)}.")
    _, channels, height, width = maps[name].shape
    return LocalMap(name, channels, height * width)


def draw_locations(n: int, locations: int, count: int | None, rng: torch.Generator) -> Tensor | None:
    """Draw locations for each of n images, without replacement.

    Args:
        n: Number of images.
        locations: L, number of locations of an image.
        count: Number of locations that are drawn for each image; None for all.
        rng: Generator on the device of the images.

    Returns:
        (n, count) int64 on rng's device, or None for all locations.
    """
    if count is None:
        return None
    return torch.rand(n, locations, generator=rng, device=rng.device).topk(count).indices


def rows(local_map: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Return the locations of a map as rows.

    Args:
        local_map: (N, K, h, w).
        chosen: (N, S) int64, numbers of S locations for each image, counted row by row; None for all.

    Returns:
        (N, L, K), or (N, S, K) in the order of `chosen`.
    """
    all_rows = local_map.flatten(2).transpose(1, 2)  # (N, L, K)
    if chosen is None:
        return all_rows
    return all_rows.gather(1, chosen[:, :, None].expand(-1, -1, all_rows.shape[2]))


def flat(local_map: Tensor, side: int = 4) -> Tensor:
    """Average a map (N, K, h, w) to at most `side` positions along each side, and flatten it so that it can be stored.

    Returns:
        (N, K * h' * w') with h' and w' of at most `side`.
    """
    size = (min(side, local_map.shape[2]), min(side, local_map.shape[3]))
    return F.adaptive_avg_pool2d(local_map, size).flatten(1)
