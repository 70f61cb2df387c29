"""VGG-16 with batch norm and without fully connected layers, as NAC uses it for hashing.

Paper: Simonyan and Zisserman, ICLR 2015, https://arxiv.org/abs/1409.1556 (configuration D)
Code:  torchvision.models.vgg16_bn; the average over all positions as in https://github.com/yookoon/nac
Note:  Random initialisation. It is written out here because torchvision's network has a classifier of 124 million
    parameters, which would be built only to be deleted.

Shapes: N images, C channels, H x W pixels, 512 features.
"""

from torch import Tensor, nn

from bench_core import DataSpec, Encoder, NoConfig, hookimpl
from bench_core.nn.layers import Standardize, image_skip_reason

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16BN(Encoder):
    """VGG-16 with batch norm (Simonyan 2015).

    13 convolutions in five blocks, each with a max-pool at its end; features are the average of the last map over
    positions.
    """

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the network for the channels of these images."""
        super().__init__(data, config)
        self.dim = BLOCKS[-1][-1]
        self.standardize = Standardize(data)
        self.blocks = nn.ModuleDict()
        before = data.shape[0]
        for k, widths in enumerate(BLOCKS, start=1):
            layers: list[nn.Module] = []
            for width in widths:
                layers += [
                    nn.Conv2d(before, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                before = width
            self.blocks[f"block{k}"] = nn.Sequential(*layers, nn.MaxPool2d(2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, 512) >= 0 of images (N, C, H, W) in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `block1` to `block5` after their max-pool: 64, 128, 256, 512, 512 channels."""
        x = self.standardize(inputs)
        maps = {}
        for name, block in self.blocks.items():
            x = block(x)
            maps[name] = x
        return maps

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        maps = self.maps(inputs)
        return maps["block5"].mean((2, 3)), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Return a reason unless the data are images of at least 32 x 32, of which five max-pools leave 1 x 1."""
        return image_skip_reason(data, smallest=32)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"vgg16_bn": VGG16BN}
