"""A fully connected network for vectors and for images of one size, which may be trained one layer at a time.

Source: ours. Fully connected layers, each with ReLU or sigmoid. Initial weights of ReLU layers: He, Zhang, Ren, Sun,
    ICCV 2015, https://arxiv.org/abs/1502.01852; of sigmoid layers: Glorot, Bengio, AISTATS 2010.
Note: `layers` holds the layers, shallow to deep, for methods that train a stack of them one by one. Each is a linear
    layer `[0]` and its activation `[1]`, and reads the outputs of the one before; the first reads `flatten(inputs)`.

Shapes: N items, C channels, H x W pixels or D values, 1 location of each map.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize


@dataclass(frozen=True, kw_only=True)
class MLPConfig(Config):
    """Parameters of the network: number and width of its layers, their activation, and its first step."""

    widths: tuple[int, ...] = param((256, 256), "units of each layer, shallow to deep", "ours: small data", ge=1)
    activation: Literal["relu", "sigmoid"] = param("relu", "what follows each linear layer", "usual")
    standardize: bool = param(
        True,
        "subtract the data's mean and divide by its deviation first; off for sigmoid autoencoders, which need [0, 1]",
        "usual",
    )

    def __post_init__(self) -> None:
        """Check that there is a layer."""
        super().__post_init__()
        if not self.widths:
            raise ValueError("widths must have at least one number, got none")


class MLP(Encoder):
    """Fully connected network (ours).

    Layers of ReLU or sigmoid units, for vectors and for images, whose pixels it reads as a vector. Features are the
    outputs of the last layer.
    """

    Config = MLPConfig
    kinds = frozenset({"image", "vector"})

    def __init__(self, data: DataSpec, config: MLPConfig) -> None:
        """Build the layers and initialise them."""
        super().__init__(data, config)
        self.dim = config.widths[-1]
        self.channels = data.shape[0]
        self.standardize = Standardize(data) if config.standardize else nn.Identity()
        activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[config.activation]
        widths = (math.prod(data.shape), *config.widths)
        self.layers = nn.ModuleList(
            nn.Sequential(_linear(before, after, config.activation), activation())
            for before, after in itertools.pairwise(widths)
        )

    def flatten(self, inputs: Tensor) -> Tensor:
        """Return what the first layer reads: images (N, C, H, W) or vectors (N, D), standardised -> (N, D)."""
        by_channel = inputs.reshape(len(inputs), self.channels, -1, 1)
        flat: Tensor = self.standardize(by_channel)
        return flat.flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, dim), the outputs of the last layer; inputs as for `flatten`."""
        x = self.flatten(inputs)
        for layer in self.layers:
            x = layer(x)
        return x

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs (N, width, 1) of each layer: `layer1`, `layer2`, ..."""
        x, maps = self.flatten(inputs), {}
        for k, layer in enumerate(self.layers, start=1):
            x = layer(x)
            maps[f"layer{k}"] = x[..., None]
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features (N, dim) and the maps of one pass."""
        maps = self.maps(inputs)
        return maps[f"layer{len(self.layers)}"].squeeze(2), maps


def _linear(before: int, after: int, activation: str) -> nn.Linear:
    """Return a linear layer with biases of 0 and weights for its activation.

    ReLU: normal, variance 2 / `before`. Sigmoid: Glorot's uniform weights times 4, because its slope at 0 is 1/4.
    """
    linear = nn.Linear(before, after)
    if activation == "relu":
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(linear.weight, gain=4)
    nn.init.zeros_(linear.bias)
    return linear


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"mlp": MLP}
