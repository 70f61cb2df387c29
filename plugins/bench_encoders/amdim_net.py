"""AMDIM's encoder: residual blocks without padding, so that each location of its 7 x 7 map sees one patch of the image.

Paper: Bachman, Hjelm, Buchwalter, NeurIPS 2019, https://arxiv.org/abs/1906.00910
Code:  https://github.com/Philip-Bachman/amdim-public/blob/8754ae1/model.py (Encoder, ConvResNxN, ConvResBlock)
Note:  The code has networks for images of side 32, 64 and 128. Ours: images up to 1/8 smaller are mirrored at their
       borders until they fit, as the code pads its network for 128. The code's heads on the 5 x 5 and 7 x 7 maps belong
       to the method and not to the encoder.

Shapes: N images, C channels, H x W pixels, D features.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

SIDES = (32, 64, 128)  # of the images that fit without mirrored pixels
SMALLEST = {fit: fit * 7 // 8 for fit in SIDES}  # ours: more mirrored pixels than this would fill whole locations

# The stages down to 7 x 7: kernel, stride, and channels in units of `width`. None of them pads.
Stage = tuple[int, int, int]
STAGES: dict[int, tuple[Stage, ...]] = {
    32: ((4, 2, 2), (2, 2, 4)),
    64: ((4, 2, 2), (4, 2, 4), (2, 2, 8)),
    128: ((4, 2, 2), (4, 2, 4), (2, 2, 8)),
}


@dataclass(frozen=True, kw_only=True)
class AMDIMNetConfig(Config):
    """Parameters of the encoder: its widths and depth; defaults are those of the code's command line."""

    width: int = param(
        128,
        "channels of the first layers; the last maps have 4 times as many, or 8 times for images above 32 pixels",
        "code, train.py: ndf",
        ge=1,
    )
    depth: int = param(3, "residual layers of each block; all but the first are 1 x 1", "code, train.py: n_depth", ge=1)
    output_dim: int = param(
        1024, "number of features; at least the channels of the last maps", "code, train.py: n_rkhs", ge=1
    )
    batch_norm: bool = param(
        False, "batch norm within the blocks; that of the features is always there", "code, train.py: use_bn 0"
    )

    def __post_init__(self) -> None:
        """Check that the features are as many as the channels that the last shortcut passes on."""
        super().__post_init__()
        if self.output_dim < 4 * self.width:
            raise ValueError(
                f"output_dim must be at least 4 x width = {4 * self.width}, got {self.output_dim}; set a smaller width"
            )


class AMDIMNet(Encoder):
    """AMDIM's encoder (Bachman 2019).

    Residual blocks without padding lead to maps of 7 x 7, 5 x 5 and 3 x 3 locations, then to the features. In images of
    32 pixels, a location of the 7 x 7 map sees a patch of 8 x 8 pixels, one of the 5 x 5 map a patch of 16 x 16. Batch
    norm is the last step. Reads images of 28 to 32, 56 to 64 or 112 to 128 pixels a side.
    """

    Config = AMDIMNetConfig

    def __init__(self, data: DataSpec, config: AMDIMNetConfig) -> None:
        """Choose the stages by the size of the images."""
        super().__init__(data, config)
        fit = _fit(data)
        if fit is None:
            raise ValueError(self.skip_reason(data, config))
        top, bottom = _margins(fit - data.shape[1])
        left, right = _margins(fit - data.shape[2])
        self.mirrored = (left, right, top, bottom)
        self.dim = config.output_dim
        width, normed = config.width, config.batch_norm

        self.standardize = Standardize(data)
        self.blocks = nn.ModuleDict()
        stem: list[nn.Module]
        if fit == 128:
            stem, side = [Stem(data.shape[0], width, 5, 2, padding=2), Stem(width, width, 3)], 62
        elif fit == 64:
            stem, side = [Stem(data.shape[0], width, 3)], 62
        else:
            stem, side = [Stem(data.shape[0], width, 3), Residual(width, width, 1, 1, normed)], 30
        self.blocks[f"map{side}"] = nn.Sequential(*stem)
        channels = width
        for kernel, stride, factor in STAGES[fit]:
            side = (side - kernel) // stride + 1
            block = _block(channels, factor * width, kernel, stride, config)
            channels = factor * width
            if side == 7 and normed:
                block.append(nn.BatchNorm2d(channels))
            self.blocks[f"map{side}"] = block
        for side in (5, 3):
            self.blocks[f"map{side}"] = _block(channels, channels, 3, 1, config)
        self.last = nn.Sequential(Residual(channels, self.dim, 3, 1, normed), nn.Flatten(), nn.BatchNorm1d(self.dim))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1], standardised over the batch in training."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return a map of each stage by its side: `map30`, `map14`, `map7`, `map5`, `map3`; before a ReLU."""
        x = self.standardize(inputs)
        if any(self.mirrored):
            x = F.pad(x, self.mirrored, mode="reflect")
        maps = {}
        for name, block in self.blocks.items():
            x = block(x)
            maps[name] = x
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return self.last(maps["map3"]), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AMDIMNetConfig) -> str | None:
        """Return a reason unless the data are images of a side that leads to 7 x 7 locations, and the features fit."""
        if not data.is_image:
            return image_skip_reason(data)
        fit = _fit(data)
        if fit is None:
            height, width = data.shape[1:]
            ranges = " or ".join(f"{low} to {high}" for high, low in SMALLEST.items())
            return f"needs images of {ranges} pixels a side, to end in 7 x 7 locations; these have {height} x {width}"
        channels = STAGES[fit][-1][2]
        if config.output_dim < channels * config.width:
            return (
                f"output_dim must be at least {channels} x width = {channels * config.width} for images above 32 "
                f"pixels, it is {config.output_dim}"
            )
        return None


class Stem(nn.Module):
    """Convolution with bias, then ReLU; padding mirrors the image."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        """Build the convolution."""
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, padding, padding_mode="reflect" if padding else "zeros")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the map after ReLU."""
        y: Tensor = self.relu(self.conv(x))
        return y


class Residual(nn.Module):
    """Convolution, ReLU and 1 x 1 convolution beside a shortcut that averages the same patch.

    The second convolution starts at 0, so that an untrained block is its shortcut. New channels of the shortcut are 0.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int, normed: bool) -> None:
        """Build the layers.

        Args:
            before: Channels of the input.
            after: Channels of the output, at least as many.
            kernel: Side of the patch that a location reads.
            stride: Step between patches.
            normed: Batch norm before the ReLU.
        """
        super().__init__()
        self.kernel, self.stride, self.new_channels = kernel, stride, after - before
        self.conv1 = nn.Conv2d(before, after, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(after) if normed else nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 1, bias=False)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return branch plus shortcut; no ReLU follows."""
        branch: Tensor = self.conv2(self.relu(self.norm(self.conv1(x))))
        shortcut = F.avg_pool2d(x, self.kernel, self.stride) if self.kernel > 1 else x
        if self.new_channels:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return branch + shortcut


def _block(before: int, after: int, kernel: int, stride: int, config: AMDIMNetConfig) -> nn.Sequential:
    """Build a residual layer that reads patches, and `depth` - 1 layers of 1 x 1 after it."""
    layers = [Residual(before, after, kernel, stride, config.batch_norm)]
    layers += [Residual(after, after, 1, 1, config.batch_norm) for _ in range(config.depth - 1)]
    return nn.Sequential(*layers)


def _fit(data: DataSpec) -> int | None:
    """Return the side that the images are brought to, or None if they fit none."""
    for fit in SIDES:
        if all(SMALLEST[fit] <= side <= fit for side in data.shape[1:]):
            return fit
    return None


def _margins(missing: int) -> tuple[int, int]:
    """Split missing pixels between both borders."""
    return missing // 2, missing - missing // 2


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"amdim_net": AMDIMNet}
