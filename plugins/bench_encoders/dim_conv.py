"""Deep InfoMax's encoders: a few strided convolutions and a wide fully connected layer, by the size of the images.

Paper: Hjelm, Fedorov, Lavoie-Marchildon, Grewal, Bachman, Trischler, Bengio, ICLR 2019, https://arxiv.org/abs/1808.06670
Code:  https://github.com/rdevon/DIM/blob/bac4765/cortex_DIM/configs/convnets.py (basic28x28, basic32x32, alex64x64)
Note:  The code has networks for images of side 28, 32 and 64. Here the first is for sides below 32 pixels, the second
       for 32 to 63, the third for 64 and more. The code's last layer, y, belongs to the method and not to the encoder.

Shapes: N images, C channels, H x W pixels, D features.
"""

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

# One convolution: channels, kernel, stride, padding, and if a max-pool of 3 with stride 2 follows.
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
class DIMConvConfig(Config):
    """Parameters of the encoders: their width; defaults are the code's."""

    width: float = param(1.0, "factor of the channels of all convolutions", "code: 1", gt=0)
    fc: int | None = param(
        None,
        "width of the fully connected layers, in units; none: 1024, and 4096 for images of 64 pixels or more",
        "code, convnets.py",
        ge=1,
    )


class DIMConv(Encoder):
    """Deep InfoMax's convolutional encoder (Hjelm 2019).

    Two to five convolutions, then one fully connected layer, or two for images of 64 pixels or more. Batch norm and
    ReLU follow each layer.
    """

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
        for k, (code_channels, kernel, stride, padding, pool) in enumerate(layers, start=1):
            after = max(1, round(code_channels * config.width))
            self.convs[f"conv{k}"] = nn.Sequential(
                nn.Conv2d(channels, after, kernel, stride, padding, bias=False),  # batch norm has the bias
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                *([nn.MaxPool2d(3, 2)] if pool else []),
            )
            height, width = (_side(side, kernel, stride, padding, pool) for side in (height, width))
            channels = after
        self.fc = nn.Sequential(nn.Flatten())
        widths = (
            [channels * height * width, self.dim] if short < 64 else [channels * height * width, self.dim, self.dim]
        )
        for before, after in itertools.pairwise(widths):
            self.fc.extend([nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) >= 0 of images (N, C, H, W) in [0, 1]: the paper's fc."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `conv1`, `conv2`, ... after ReLU and max-pool, if there is one; the last is the paper's conv."""
        x = self.standardize(inputs)
        maps = {}
        for name, conv in self.convs.items():
            x = conv(x)
            maps[name] = x
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return self.fc(maps[f"conv{len(self.convs)}"]), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: DIMConvConfig) -> str | None:
        """Return a reason unless the data are images."""
        return image_skip_reason(data)


def _side(side: int, kernel: int, stride: int, padding: int, pool: bool) -> int:
    """Return the number of positions along one side after a layer."""
    side = (side + 2 * padding - kernel) // stride + 1
    return (side - 3) // 2 + 1 if pool else side


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"dim_conv": DIMConv}
