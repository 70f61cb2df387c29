"""AlexNet as SeLa trains it: wide, with batch norm, up to its second fully connected layer.

Paper: Krizhevsky, Sutskever, Hinton, NeurIPS 2012; with batch norm in Asano, Rupprecht, Vedaldi, ICLR 2020,
    https://arxiv.org/abs/1911.05371
Code:  https://github.com/yukimasano/self-label/blob/149a96f9/models/alexnet.py (size "big")
Note:  SeLa's data loader enlarges CIFAR images to 256 pixels and crops 224. Here the encoder enlarges its input to
    224 pixels, after augmentation, so that views stay small.

Shapes: N images, C channels, H x W pixels, 4096 features.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

SMALLEST = 63  # side in pixels; in a smaller image the last max-pool would have less than 3 x 3 positions


@dataclass(frozen=True, kw_only=True)
class AlexNetConfig(Config):
    """Parameters of AlexNet: size of its input, and dropout."""

    upsample: int | None = param(
        224,
        "side in pixels that images are resized to, bilinearly; none: their own size",
        "self-label, cifar.py: 224",
        ge=SMALLEST,
    )
    dropout: float = param(
        0.5, "chance of dropping a unit before each fully connected layer", "self-label, models/alexnet.py", ge=0, lt=1
    )


class AlexNet(Encoder):
    """AlexNet with batch norm, as in SeLa (Asano 2020).

    Five convolutions of 96, 256, 384, 384 and 256 channels, and two fully connected layers of 4096 units.
    """

    Config = AlexNetConfig

    def __init__(self, data: DataSpec, config: AlexNetConfig) -> None:
        """Build the layers and initialise them as SeLa's code does."""
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
        """Return features (N, 4096) >= 0 of images (N, C, H, W) in [0, 1]: after the last ReLU, as SeLa's kNN does."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `conv1` to `conv5` after their ReLU and before any max-pool, as SeLa's probes of layers read them."""
        x = self.standardize(inputs)
        if self.upsample is not None and x.shape[2:] != (self.upsample, self.upsample):
            size = (self.upsample, self.upsample)
            x = F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        maps = {}
        for name, conv in self.convs.items():
            if name in ("conv2", "conv3"):
                x = self.pool(x)
            x = conv(x)
            maps[name] = x
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return self.fc(self.pool(maps["conv5"])), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: AlexNetConfig) -> str | None:
        """Return a reason unless the data are images, of at least 63 x 63 pixels without `upsample`."""
        return image_skip_reason(data, smallest=SMALLEST if config.upsample is None else 1)


def _conv(before: int, after: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    """Return a convolution from `before` to `after` channels, with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _initialise(net: nn.Module) -> None:
    """Initialise convolutions by He normal over the fan out, linear layers by N(0, 0.01), biases by 0."""
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
