"""An encoder's local map: which one, how large, and its locations as rows.

Shapes: N images, K channels, h x w positions, L = h * w locations.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import ConfigError, DataSpec, Encoder

PIXELS = 4  # a location, along a side: Deep InfoMax's maps on MNIST, CIFAR and Tiny ImageNet (15 x 15 of 64 x 64)
LEAST = 4  # locations along a side, where the encoder has such a map: those of a 2 x 2 map see nearly all of an image


class LocalMap(NamedTuple):
    """The map's name, its K channels and L locations."""

    name: str
    channels: int
    locations: int


def choose_map(encoder: Encoder, data: DataSpec, name: str | None = None) -> LocalMap:
    """A map by name; without one the middle one (the shallower of two) of those with about 4 pixels a location.

    Maps of less than 4 locations along a side are left aside if there are others.

    Args:
        encoder: Reads one black image, in eval mode; no parameter, buffer or generator changes.
        data: Images.
        name: Of one of the encoder's maps, or None.

    Raises:
        ConfigError: The encoder has no map of this name; lists those it has.
    """
    training = encoder.training
    with torch.no_grad():
        device = next((p.device for p in encoder.parameters()), None)
        maps = encoder.eval().maps(torch.zeros(1, *data.shape, device=device))
    encoder.train(training)
    if name is None:
        widths = {key: found.shape[3] for key, found in maps.items()}
        widths = {key: width for key, width in widths.items() if width >= LEAST} or widths
        best = min(widths.values(), key=lambda width: abs(math.log(data.shape[2] / width / PIXELS)))
        alike = [key for key, width in widths.items() if width == best]
        name = alike[(len(alike) - 1) // 2]
    if name not in maps:
        raise ConfigError(f"{type(encoder).__name__} has no map named {name!r}. Its maps: {', '.join(maps)}.")
    _, channels, height, width = maps[name].shape
    return LocalMap(name, channels, height * width)


def draw_locations(n: int, locations: int, count: int | None, rng: torch.Generator) -> Tensor | None:
    """For each of n images `count` different ones of L locations, (n, count) int64 on rng's device; None for all."""
    if count is None:
        return None
    return torch.rand(n, locations, generator=rng, device=rng.device).topk(count).indices


def rows(local_map: Tensor, chosen: Tensor | None = None) -> Tensor:
    """Locations of a map.

    Args:
        local_map: (N, K, h, w).
        chosen: (N, S) int64, which locations of each image, counted row by row; None for all.

    Returns:
        (N, L, K), or (N, S, K) in the order of `chosen`.
    """
    found = local_map.flatten(2).transpose(1, 2)
    return found if chosen is None else found.gather(1, chosen[:, :, None].expand(-1, -1, found.shape[2]))


def flat(local_map: Tensor, side: int = 4) -> Tensor:
    """(N, K, h, w) -> (N, K * h' * w'), sides averaged down to at most `side` positions: small enough to store."""
    size = (min(side, local_map.shape[2]), min(side, local_map.shape[3]))
    return F.adaptive_avg_pool2d(local_map, size).flatten(1)
