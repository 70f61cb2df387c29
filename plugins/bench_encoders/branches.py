"""Two networks side by side, one for each modality of a pair; the features are those of both.

Source: ours. Images: stages of 3x3 convolution, batch norm (Ioffe and Szegedy, ICML 2015,
    https://arxiv.org/abs/1502.03167) and ReLU, then the average over positions; vectors: linear layers with the same.
Note: Each stage of convolution halves the map while at least 2 x 2 positions remain. No weight is shared, so the two
    modalities may be of different shapes and kinds.

Shapes: N pairs, D features of each branch = the last width.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, hookimpl, param
from bench_core.data import Pair
from bench_core.nn.layers import Standardize

READ = ("image", "vector")  # kinds of modalities


@dataclass(frozen=True, kw_only=True)
class BranchesConfig(Config):
    """Parameters of both branches: number and width of their stages."""

    widths: tuple[int, ...] = param(
        (32, 64, 128), "channels or units of each stage of a branch, shallow to deep", "ours: as `convnet`", ge=1
    )

    def __post_init__(self) -> None:
        """Check that there is a stage."""
        super().__post_init__()
        if not self.widths:
            raise ValueError("widths must have at least one number, got none")


class Branches(Encoder):
    """One small network for each modality (ours).

    Reads pairs of images or vectors, in any mixture. Features are those of the first branch, then those of the second.
    """

    Config = BranchesConfig
    kinds = frozenset({"pairs"})

    def __init__(self, data: DataSpec, config: BranchesConfig) -> None:
        """Build a branch for each modality."""
        super().__init__(data, config)
        assert data.modalities is not None, "pairs have modalities"
        self.dim = 2 * config.widths[-1]
        self.first, self.second = (_Branch(spec, config.widths) for spec in data.modalities.values())

    def forward(self, inputs: Pair) -> Tensor:
        """Return features (N, 2 D) of pairs; images are in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Pair) -> dict[str, Tensor]:
        """Return the maps of each stage, (N, width, h, w) of images and (N, width, 1) of vectors.

        They are `first1`, `first2`, ... and `second1`, `second2`, ..., stage by stage.
        """
        first, second = self.first(inputs.first), self.second(inputs.second)
        maps = dict[str, Tensor]()
        for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
            maps |= {f"first{number}": one, f"second{number}": other}
        return maps

    def features_and_maps(self, inputs: Pair) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features (N, 2 D) and all maps."""
        maps = self.maps(inputs)
        last = [maps[f"{side}{len(self.first.stages)}"].flatten(2).mean(2) for side in ("first", "second")]
        return torch.cat(last, 1), maps

    @classmethod
    def skip_reason(cls, data: DataSpec, config: BranchesConfig) -> str | None:
        """Return a reason unless the data are pairs of images or vectors."""
        if data.modalities is None:
            return f"reads pairs; this data has the kind {data.kind}"
        for name, spec in data.modalities.items():
            if spec.kind not in READ:
                return f"reads pairs of images or vectors; modality {name} has the kind {spec.kind}"
        return None


class _Branch(nn.Module):
    """Network of one modality, which returns the map of each stage."""

    def __init__(self, data: DataSpec, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.standardize = Standardize(data) if data.is_image else nn.Flatten()
        channels = data.shape[0] if data.is_image else math.prod(data.shape)
        side = min(data.shape[1:]) if data.is_image else 1
        self.stages = nn.ModuleList()
        for before, after in itertools.pairwise((channels, *widths)):
            stride = 2 if side >= 4 else 1
            side = (side + stride - 1) // stride
            layer: list[nn.Module]
            if data.is_image:  # batch norm has the bias
                layer = [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after)]
            else:
                layer = [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after)]
            self.stages.append(nn.Sequential(*layer, nn.ReLU(inplace=True)))

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Return the map of each stage, (N, width, h, w) of images and (N, width, 1) of vectors."""
        x, maps = self.standardize(inputs), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x if x.ndim == 4 else x[..., None])
        return maps


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"branches": Branches}
