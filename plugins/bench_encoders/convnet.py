"""A plain convolutional network, small enough for a CPU.

Source: ours. Stages of 3x3 convolution, batch norm (Ioffe and Szegedy, ICML 2015,
    https://arxiv.org/abs/1502.03167) and ReLU, then the average over all positions (Lin et al., ICLR 2014, https://arxiv.org/abs/1312.4400).
Note: Each stage halves the map while at least 2 x 2 positions remain: 8 x 8 images have maps of side 4, 2, 2, and
    32 x 32 images of side 16, 8, 4. A first stage at full resolution would take 2 to 8 times as long on a CPU, mostly
    for batch norm and ReLU.

Shapes: N images, C channels, H x W pixels, D = the last width.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason


@dataclass(frozen=True, kw_only=True)
class ConvNetConfig(Config):
    """Parameters of the network: number and width of its stages."""

    widths: tuple[int, ...] = param(
        (32, 64, 128), "channels of each stage, shallow to deep", "ours: digits on one core", ge=1
    )

    def __post_init__(self) -> None:
        """Check that there is a stage."""
        super().__post_init__()
        if not self.widths:
            raise ValueError("widths must have at least one number, got none")


class ConvNet(Encoder):
    """Small plain network for a CPU (ours).

    Stages of 3 x 3 convolution, batch norm and ReLU, for images of any size and number of channels. Features are the
    average of the last map over positions.
    """

    Config = ConvNetConfig

    def __init__(self, data: DataSpec, config: ConvNetConfig) -> None:
        """Build the stages."""
        super().__init__(data, config)
        self.dim = config.widths[-1]
        self.standardize = Standardize(data)
        self.stages = nn.ModuleDict()
        side = min(data.shape[1:])
        channels = (data.shape[0], *config.widths)
        for k, (before, after) in enumerate(itertools.pairwise(channels), start=1):
            stride = 2 if side >= 4 else 1
            side = (side + stride - 1) // stride
            self.stages[f"conv{k}"] = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, padding=1, bias=False),  # batch norm has the bias
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) >= 0 of images (N, C, H, W) in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the map of each stage (N, width, h, w): `conv1`, `conv2`, ..."""
        x = self.standardize(inputs)
        maps = {}
        for name, stage in self.stages.items():
            x = stage(x)
            maps[name] = x
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return maps[f"conv{len(self.stages)}"].mean((2, 3)), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: ConvNetConfig) -> str | None:
        """Return a reason unless the data are images."""
        return image_skip_reason(data)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"convnet": ConvNet}
