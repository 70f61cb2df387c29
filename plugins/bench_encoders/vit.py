"""A small vision transformer, whose features are the mean of its tokens.

Paper: Dosovitskiy et al., ICLR 2021, https://arxiv.org/abs/2010.11929; the size "tiny" is that of DeiT (Touvron et al.,
    ICML 2021, https://arxiv.org/abs/2012.12877, table 1): width 192, 12 blocks, 3 heads.
Code:  timm.models.vision_transformer.VisionTransformer, random initialisation, without random depth
Note:  The mean of the patches' tokens replaces the class token, so there is none. Views of another size than the data's
    are read with resampled position embeddings; sides that are no multiple of the patch are padded with zeros.

Shapes: N images, C channels, H x W pixels, D = 192 features, h x w patches.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.nn.layers import Standardize, image_skip_reason

PATCHES = 8  # along a side, where the size of a patch is not given


@dataclass(frozen=True, kw_only=True)
class ViTTinyConfig(Config):
    """Parameters of the network: its depth and the size of its patches."""

    depth: int = param(12, "number of blocks", "DeiT, table 1", ge=1)
    patch: int = param(0, "side of a patch in pixels; 0 is an eighth of the shorter side, at least 1", "ours", ge=0)


class ViTTiny(Encoder):
    """Vision transformer, 192 features (DeiT-Ti).

    Each patch is a token. Blocks of self-attention mix the tokens; features are their mean, normalised.
    """

    Config = ViTTinyConfig

    def __init__(self, data: DataSpec, config: ViTTinyConfig) -> None:
        """Build the network for the size and channels of these images."""
        super().__init__(data, config)
        self.dim = 192
        self.standardize, self.net = Standardize(data), _network(data, config)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, 192) of images (N, C, H, W) in [0, 1]."""
        features: Tensor = self.net(self.standardize(inputs))
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the tokens behind each block, `block1` to the last: (N, 192, h, w)."""
        return self.features_and_maps(inputs)[1]

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and maps of one pass."""
        net: Any = self.net
        tokens, maps = net.forward_intermediates(self.standardize(inputs))
        features: Tensor = net.forward_head(tokens, pre_logits=True)
        return features, {f"block{number}": of_block for number, of_block in enumerate(maps, 1)}

    @classmethod
    def skip_reason(cls, data: DataSpec, config: ViTTinyConfig) -> str | None:
        """Return a reason unless the data are images, with sides of at least one patch, and timm is there."""
        if find_spec("timm") is None:
            return "needs timm; type: pip install 'bench-core[timm]'"
        if reason := image_skip_reason(data):
            return reason
        if config.patch > min(data.shape[1:]):
            return f"patch = {config.patch} is larger than the images, {data.shape[1]} x {data.shape[2]}"
        return None


def _network(data: DataSpec, config: ViTTinyConfig) -> nn.Module:
    """Return timm's network for these images, without a classifier."""
    from timm.models.vision_transformer import VisionTransformer  # an extra; importing it takes seconds

    channels, *sides = data.shape
    network: nn.Module = VisionTransformer(
        img_size=(sides[0], sides[1]),
        patch_size=config.patch or max(1, min(sides) // PATCHES),
        in_chans=channels,
        num_classes=0,
        global_pool="avg",
        class_token=False,
        embed_dim=192,
        depth=config.depth,
        num_heads=3,
        dynamic_img_size=True,
        dynamic_img_pad=True,
    )
    return network


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"vit_tiny": ViTTiny}
