"""Residual networks, with a stem for small or large images.

Paper: He, Zhang, Ren, Sun, CVPR 2016, https://arxiv.org/abs/1512.03385
Code:  torchvision.models.resnet, random initialisation
Note:  Images under 64 pixels get the stem of self-supervised work on CIFAR (SimCLR, appendix B.9,
    https://arxiv.org/abs/2002.05709): a 3 x 3 convolution of stride 1 and no max-pool. Larger ones get the paper's.

Shapes: N images, C channels, H x W pixels, D = 512 (resnet18) or 2048 (resnet50).
"""

from torch import Tensor, nn

from bench_core import DataSpec, Encoder, NoConfig, hookimpl
from bench_core.nn.layers import Standardize, image_skip_reason

SMALL = 64  # side in pixels; of images of 32 pixels the paper's stem would leave one position in the last map


class ResNet18(Encoder):
    """ResNet-18, 512 features (He 2016).

    18 layers in basic blocks; features are the average of the last map over positions.
    """

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the network for the size and channels of these images."""
        super().__init__(data, config)
        self.dim = 512
        self.standardize, self.net = Standardize(data), _resnet("resnet18", data)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, 512) >= 0 of images (N, C, H, W) in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `layer1` to `layer4`: 64, 128, 256, 512 channels, each half the size of the one before."""
        return _maps(self.net, self.standardize(inputs))

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return maps["layer4"].mean((2, 3)), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Return a reason unless the data are images."""
        return image_skip_reason(data)


class ResNet50(Encoder):
    """ResNet-50, 2048 features (He 2016).

    50 layers in bottleneck blocks; features are the average of the last map over positions.
    """

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the network for the size and channels of these images."""
        super().__init__(data, config)
        self.dim = 2048
        self.standardize, self.net = Standardize(data), _resnet("resnet50", data)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, 2048) >= 0 of images (N, C, H, W) in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `layer1` to `layer4`: 256, 512, 1024, 2048 channels, each half the size of the one before."""
        return _maps(self.net, self.standardize(inputs))

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return maps["layer4"].mean((2, 3)), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Return a reason unless the data are images."""
        return image_skip_reason(data)


def _resnet(name: str, data: DataSpec) -> nn.Module:
    """Return torchvision's network with a stem for these images and without its classifier."""
    from torchvision import models  # here, because importing it takes seconds

    net: nn.Module = models.get_model(name, weights=None)
    net.fc = nn.Identity()
    if min(data.shape[1:]) < SMALL:
        net.conv1 = nn.Conv2d(data.shape[0], 64, 3, 1, padding=1, bias=False)
        net.maxpool = nn.Identity()
    else:
        net.conv1 = nn.Conv2d(data.shape[0], 64, 7, 2, padding=3, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    return net


def _maps(net: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return the outputs of the network's four layers for standardised inputs."""
    x = inputs
    for name in ("conv1", "bn1", "relu", "maxpool"):
        x = net.get_submodule(name)(x)
    maps = {}
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = net.get_submodule(name)(x)
        maps[name] = x
    return maps


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"resnet18": ResNet18, "resnet50": ResNet50}
