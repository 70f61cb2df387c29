"""Toy images and toy components that checks and tests run on: small, seeded, on the CPU."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.contracts import Batch, DataSpec, Encoder, Loss, Objective, Player, Split
from bench_core.errors import CheckError, DataMissingError

SIDES = (32, 64, 8)  # image sizes; a component is checked on the first one that it does not skip
NUM_ITEMS, NUM_CLASSES = 160, 4
FACTORS = {"kind": NUM_CLASSES, "turn": 5}  # ground-truth factors of the toy data and their numbers of values


def require(condition: bool, message: str) -> None:
    """Raise CheckError with this message unless the condition holds."""
    if not condition:
        raise CheckError(message)


def image_spec(side: int) -> DataSpec:
    """Describe toy images (3, side, side) with classes."""
    return DataSpec(
        shape=(3, side, side),
        splits={"train": NUM_ITEMS, "test": NUM_ITEMS},
        num_classes=NUM_CLASSES,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


def spec_for(cls: Any) -> DataSpec:
    """Describe toy images, with classes and factors, of the first size that the component does not skip.

    Raises:
        DataMissingError: The component skips all sizes.
    """
    reasons = []
    for side in SIDES:
        spec = replace(image_spec(side), factors=FACTORS)
        reason = cls.skip_reason(spec, cls.Config())
        if reason is None:
            return spec
        reasons.append(reason)
    raise DataMissingError(f"it skips the toy images: {reasons[0]}")


def images_of(spec: DataSpec, count: int = 16) -> Tensor:
    """Make random images (count, C, H, W) in [0, 1]; the same ones at every call."""
    return torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(1))


def factors_of(count: int) -> Tensor:
    """Make factor values (count, 2) int64: all combinations of `FACTORS` in turn; the first factor is the label."""
    index = torch.arange(count)
    return torch.stack([index % FACTORS["kind"], index // FACTORS["kind"] % FACTORS["turn"]], 1)


def split_of(spec: DataSpec) -> Split:
    """Make a train split of random images with labels and factors."""
    images = (images_of(spec, spec.num_train) * 255).to(torch.uint8)
    return Split(images, torch.arange(spec.num_train) % NUM_CLASSES, factors_of(spec.num_train))


class TinyEncoder(Encoder):
    """Encoder of two convolutions (ours)."""

    Config = NoConfig

    def __init__(self, data: DataSpec, config: Any = None) -> None:
        """Build the layers for images of any size."""
        super().__init__(data, config)
        self.dim = 12
        self.first = nn.Conv2d(data.shape[0], 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, self.dim, 3, padding=1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the output of both layers."""
        first = F.relu(self.first(inputs))
        return {"first": first, "second": F.relu(self.second(first))}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the mean over locations of the second map: (N, C, H, W) -> (N, 12)."""
        return self.maps(inputs)["second"].mean((2, 3))


class Untrained(Objective):
    """Method that trains nothing (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Player]:
        """Return no players."""
        return []
