"""A plain convolutional network, small enough for a CPU.

Source: ours. Stages of 3x3 convolution, batch norm (Ioffe and Szegedy, ICML 2015,
    https://arxiv.org/abs/1502.03167) and ReLU, then the average over all positions (Lin et al., ICLR 2014, https://arxiv.org/abs/1312.4400).
Note: Every stage halves the map as long as 2 x 2 remain: 8x8 images have maps of side 4, 2, 2, and 32x32 of
    16, 8, 4. A first stage at full resolution costs 2 to 8 times as much on a CPU, mostly in batch norm and ReLU.

Shapes: N images, C channels, H x W pixels, D = the last width.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from bench_core import DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason


@dataclass(frozen=True, kw_only=True)
class ConvNetConfig:
    """How many stages, and how wide."""

    widths: tuple[int, ...] = param(
        (32, 64, 128), "channels of each stage, shallow to deep", "ours: digits on one core"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths must be one or more numbers >= 1, got {self.widths}")


class ConvNet(Encoder):
    """Any number of channels, any size of image."""

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
        """(N, C, H, W) in [0, 1] -> (N, D), each >= 0."""
        return self.maps(inputs)[f"conv{len(self.stages)}"].mean((2, 3))

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """`conv1`, `conv2`, ...: (N, width, h, w)."""
        found, here = {}, self.standardize(inputs)
        for name, stage in self.stages.items():
            found[name] = here = stage(here)
        return found

    @classmethod
    def skip_reason(cls, data: DataSpec, config: ConvNetConfig) -> str | None:
        """Images only."""
        return image_skip_reason(data)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"convnet": ConvNet}
