"""VGG-16 with batch norm: NAC's network for hashing, without its three fully connected layers.

Paper: Simonyan and Zisserman, ICLR 2015, https://arxiv.org/abs/1409.1556 (configuration D)
Code:  torchvision.models.vgg16_bn; the average over all positions as in https://github.com/yookoon/nac
Note:  Random initialisation. Written out here because torchvision's network comes with 124 million
    parameters of classifier, which would be made and thrown away.

Shapes: N images, C channels, H x W pixels, 512 features.
"""

from torch import Tensor, nn

from bench_core import DataSpec, Encoder, NoConfig, hookimpl
from bench_core.nn.layers import Standardize, image_skip_reason

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16BN(Encoder):
    """13 convolutions in five blocks, each ended by a max-pool, and the average over what is left."""

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build for the size and channels of these images."""
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
        """(N, C, H, W) in [0, 1] -> (N, 512), each >= 0."""
        return self.maps(inputs)["block5"].mean((2, 3))

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """`block1` to `block5`, after their max-pool: 64, 128, 256, 512, 512 channels."""
        found, here = {}, self.standardize(inputs)
        for name, block in self.blocks.items():
            found[name] = here = block(here)
        return found

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Images of at least 32 x 32, which five max-pools leave 1 x 1 of."""
        return image_skip_reason(data, smallest=32)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"vgg16_bn": VGG16BN}
