"""Deep InfoMax's encoders: a few strided convolutions and a wide layer over all positions; one for each image size.

Paper: Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio, ICLR 2019, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/configs/convnets.py (basic28x28, basic32x32, alex64x64)
Note:  The code has a network for sides of 28, 32 and 64 pixels. Here the first reads everything below 32, the second
       32 to 63, the third from 64 on. Its last layer, y, belongs to the method and not to the encoder.

Shapes: N images, C channels, H x W pixels, D features.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from bench_core import DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

# Of each convolution: channels, kernel, stride, padding, max-pool of 3 with stride 2 after it.
Layer = tuple[int, int, int, int, bool]
SIDE_28: tuple[Layer, ...] = ((64, 5, 2, 2, False), (128, 5, 2, 2, False))
SIDE_32: tuple[Layer, ...] = ((64, 4, 2, 1, False), (128, 4, 2, 1, False), (256, 4, 2, 1, False))
SIDE_64: tuple[Layer, ...] = (
    (96, 3, 1, 1, True),
    (192, 3, 1, 1, True),
    (384, 3, 1, 1, False),
    (384, 3, 1, 1, False),
    (192, 3, 1, 1, True),
)


@dataclass(frozen=True, kw_only=True)
class DIMConvConfig:
    """How wide; the defaults are the code's."""

    width: float = param(1.0, "> 0, channels of all convolutions are multiplied by it", "code: 1")
    fc: int | None = param(
        None, "width of the fully connected layers; none: 1024, from 64 pixels on two of 4096", "code, convnets.py"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.width > 0:
            raise ValueError(f"width must be > 0, got {self.width}")
        if self.fc is not None and self.fc < 1:
            raise ValueError(f"fc must be >= 1, got {self.fc}")


class DIMConv(Encoder):
    """Convolutions, then fully connected layers; batch norm and ReLU after each."""

    Config = DIMConvConfig

    def __init__(self, data: DataSpec, config: DIMConvConfig) -> None:
        """Choose the layers by the shorter side of the images."""
        super().__init__(data, config)
        channels, height, width = data.shape
        short = min(height, width)
        layers = SIDE_28 if short < 32 else SIDE_32 if short < 64 else SIDE_64
        self.dim = config.fc or (1024 if short < 64 else 4096)
        self.standardize = Standardize(data)
        self.convs = nn.ModuleDict()
        for k, (full, kernel, stride, padding, pool) in enumerate(layers, start=1):
            after = max(1, round(full * config.width))
            self.convs[f"conv{k}"] = nn.Sequential(
                nn.Conv2d(channels, after, kernel, stride, padding, bias=False),  # batch norm has the bias
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                *([nn.MaxPool2d(3, 2)] if pool else []),
            )
            height, width = (_side(side, kernel, stride, padding, pool) for side in (height, width))
            channels = after
        self.fc = nn.Sequential(nn.Flatten())
        for before, after in itertools.pairwise([channels * height * width, *[self.dim] * (1 if short < 64 else 2)]):
            self.fc.extend([nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)])

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, D), each >= 0: the paper's fc."""
        features: Tensor = self.fc(self.maps(inputs)[f"conv{len(self.convs)}"])
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """`conv1`, `conv2`, ...: after ReLU and, where there is one, the max-pool; the last is the paper's conv."""
        found, here = {}, self.standardize(inputs)
        for name, conv in self.convs.items():
            found[name] = here = conv(here)
        return found

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DIMConvConfig) -> str | None:
        """Images only."""
        return image_skip_reason(data)


def _side(side: int, kernel: int, stride: int, padding: int, pool: bool) -> int:
    """Positions along one side that a layer leaves."""
    side = (side + 2 * padding - kernel) // stride + 1
    return (side - 3) // 2 + 1 if pool else side


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"dim_conv": DIMConv}
