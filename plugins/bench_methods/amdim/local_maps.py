"""Locations of an encoder's maps: which two maps the method reads, their heads, and their locations as rows.

Shapes: N images, K channels, h x w positions, L = h * w locations, U units.
"""

import itertools
import math

import torch
from torch import Tensor, nn

from bench_core import ConfigError, DataSpec, Encoder

# Sides of the two maps of the paper. Other encoders give the pair of maps that is the nearest to it.
SHALLOW_SIDE, DEEP_SIDE = 7, 5


@torch.no_grad()
def map_shapes(encoder: Encoder, data: DataSpec) -> dict[str, tuple[int, int, int]]:
    """Return the shape (K, h, w) of each map by name, from one black image in eval mode; nothing of the encoder moves.

    Raises:
        ConfigError: The encoder has no two maps over the positions of an image.
    """
    training = encoder.training
    device = next((parameter.device for parameter in encoder.parameters()), None)
    maps = encoder.eval().maps(torch.zeros(1, *data.shape, device=device))
    encoder.train(training)
    shapes = {name: tuple(each.shape[1:]) for name, each in maps.items() if each.ndim == 4}
    if len(shapes) < 2:
        raise ConfigError(
            f"amdim needs two maps over the positions of an image, (N, channels, h, w), and {type(encoder).__name__} "
            f"has {len(shapes)}; take an encoder of convolutions, such as --encoders amdim_net."
        )
    return shapes


def choose_maps(shapes: dict[str, tuple[int, int, int]], shallow: str | None, deep: str | None) -> tuple[str, str]:
    """Return the names of two maps, the shallower one first.

    The default is the pair whose widths are the nearest to 7 and 5, on a scale of logarithms; of equal pairs the
    deepest.

    Args:
        shapes: Shapes (K, h, w) by name, from shallow to deep.
        shallow: Name of the shallower map, or None for the default.
        deep: Name of the deeper map, or None for the default.

    Raises:
        ConfigError: There is no map of such a name, or the maps do not lie in this order.
    """
    for parameter, name in (("shallow_map", shallow), ("deep_map", deep)):
        if name is not None and name not in shapes:
            raise ConfigError(f"{parameter}: the encoder has no map named {name!r}. Its maps: {', '.join(shapes)}.")
    pairs = [
        (first, second)
        for first, second in itertools.combinations(shapes, 2)
        if shallow in (None, first) and deep in (None, second)
    ]
    if not pairs:
        raise ConfigError(
            f"shallow_map must lie before deep_map, got shallow_map={shallow!r} and deep_map={deep!r}. Maps from "
            f"shallow to deep: {', '.join(shapes)}."
        )
    # The last of equal pairs is the deepest, as pairs come in the order of the maps.
    return min(reversed(pairs), key=lambda pair: _distance(shapes[pair[0]][2], shapes[pair[1]][2]))


def _distance(shallow_side: int, deep_side: int) -> float:
    return abs(math.log(shallow_side / SHALLOW_SIDE)) + abs(math.log(deep_side / DEEP_SIDE))


class LocationHead(nn.Module):
    """Head that embeds each location alone: two 1 x 1 layers plus a linear shortcut, then batch norm.

    It starts as the shortcut, which copies the channels where there are at least as many units.
    """

    def __init__(self, channels: int, units: int) -> None:
        """Build the layers.

        Args:
            channels: K.
            units: U. With fewer units than channels the shortcut keeps torch's initialisation.
        """
        super().__init__()
        self.hidden = nn.Linear(channels, units, bias=False)
        self.output = nn.Linear(units, units, bias=False)
        self.shortcut = nn.Linear(channels, units)
        self.norm = nn.BatchNorm1d(units)
        nn.init.zeros_(self.output.weight)
        if units >= channels:
            with torch.no_grad():
                self.shortcut.weight.uniform_(-0.01, 0.01).fill_diagonal_(1.0)

    def forward(self, locations: Tensor) -> Tensor:
        """Embed locations (N, L, K) as (N, L, U); the norm's statistics are over all locations of all images."""
        N, L, _ = locations.shape
        rows = locations.flatten(0, 1)
        embedded: Tensor = self.norm(self.output(self.hidden(rows).relu()) + self.shortcut(rows))
        return embedded.view(N, L, -1)


def rows_of(local_map: Tensor) -> Tensor:
    """Return the locations of a map (N, K, h, w) as rows (N, L, K), counted row by row."""
    return local_map.flatten(2).transpose(1, 2)
