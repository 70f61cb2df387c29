"""AlexNet as SeLa trains it: wide, with batch norm, up to its second fully connected layer.

Paper: Krizhevsky, Sutskever, Hinton, NeurIPS 2012; with batch norm in Asano, Rupprecht, Vedaldi, ICLR 2020,
    https://arxiv.org/abs/1911.05371
Code:  https://github.com/yukimasano/self-label/blob/149a96f9/models/alexnet.py (size "big")
Note:  There the data loader enlarges CIFAR images to 256 pixels and crops 224; here the encoder enlarges
    what it is given to 224, after augmentation, so that views stay small.

Shapes: N images, C channels, H x W pixels, 4096 features.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

SMALLEST = 63  # pixels: from here on the last max-pool finds its 3 x 3


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig:
    """What is done with images of another size than 224."""

    upsample: int | None = param(
        224, "side that images are resized to, bilinear; none: as they are", "self-label, cifar.py: 224"
    )
    dropout: float = param(0.5, "before each fully connected layer", "self-label, models/alexnet.py")

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.upsample is not None and self.upsample < SMALLEST:
            raise ValueError(f"upsample must be >= {SMALLEST}, got {self.upsample}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class AlexNet(Encoder):
    """Five convolutions of 96, 256, 384, 384, 256 channels and two layers of 4096."""

    Config = AlexNetConfig

    def __init__(self, data: DataSpec, config: AlexNetConfig) -> None:
        """Build and initialise."""
        super().__init__(data, config)
        self.dim = 4096
        self.upsample = config.upsample
        self.standardize = Standardize(data)
        self.convs = nn.ModuleDict(
            {
                "conv1": _conv(data.shape[0], 96, 11, stride=4, padding=2),
                "conv2": _conv(96, 256, 5, padding=2),
                "conv3": _conv(256, 384, 3, padding=1),
                "conv4": _conv(384, 384, 3, padding=1),
                "conv5": _conv(384, 256, 3, padding=1),
            }
        )
        self.pool = nn.MaxPool2d(3, 2)
        self.fc = nn.Sequential(
            nn.AdaptiveAvgPool2d(6),  # 224 pixels leave 6 x 6 already
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
        )
        _initialise(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, 4096), each >= 0: after the last ReLU, where SeLa's kNN reads."""
        features: Tensor = self.fc(self.pool(self.maps(inputs)["conv5"]))
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """`conv1` to `conv5` after their ReLU, before any max-pool: what SeLa's probes by layer read."""
        here = self.standardize(inputs)
        if self.upsample is not None and here.shape[2:] != (self.upsample, self.upsample):
            size = (self.upsample, self.upsample)
            here = F.interpolate(here, size, mode="bilinear", align_corners=False, antialias=True)
        found = {}
        for name, conv in self.convs.items():
            found[name] = conv(self.pool(here) if name in ("conv2", "conv3") else here)
            here = found[name]
        return found

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AlexNetConfig) -> str | None:
        """Images only; at least 63 x 63 without `upsample`."""
        return image_skip_reason(data, smallest=SMALLEST if config.upsample is None else 1)


def _conv(before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _initialise(net: nn.Module) -> None:
    """He normal over the fan out for convolutions, N(0, 0.01) for linear layers, no bias."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"alexnet": AlexNet}
