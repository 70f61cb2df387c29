"""A method of pairs, with a dataset and an encoder of its own: both sides of a pair shall have similar features (ours).

Shapes: N pairs, D features of each side.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, Dataset, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, Split, hookimpl
from bench_core.data import Pair, digest_of

SPLITS = {"train": 96, "test": 64}


class SpotsAndSounds(Dataset):
    """160 pairs of an image and a vector (ours)."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        """Read nothing: the pairs are made here."""

    def spec(self) -> DataSpec:
        """Describe both modalities."""
        modalities = {
            "spot": DataSpec(shape=(1, 4, 4), splits=SPLITS),
            "sound": DataSpec(shape=(6,), splits=SPLITS),
        }
        return DataSpec(shape=(), splits=SPLITS, num_classes=4, kind="pairs", modalities=modalities)

    def digest(self) -> str:
        """Return the digest of both splits."""
        return digest_of(*(side for split in SPLITS for side in _make(split)))

    def load(self, split: str) -> Split:
        """Return one split."""
        spots, sounds, labels = _make(split)
        return Split(Pair(spots, sounds), labels)


def _make(split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Make spots in one of four rows (N, 1, 4, 4), sounds of one of four pitches (N, 6), and which of four (N,)."""
    rng = torch.Generator().manual_seed(list(SPLITS).index(split))
    labels = torch.arange(SPLITS[split]) % 4
    spots = torch.randint(0, 100, (len(labels), 1, 4, 4), dtype=torch.uint8, generator=rng)
    spots[torch.arange(len(labels)), 0, labels, :] += 100
    sounds = torch.sin(labels[:, None] * torch.arange(6)) + torch.randn(len(labels), 6, generator=rng) / 4
    return spots, sounds, labels


class TwoTowers(Encoder):
    """One linear layer for each modality (ours)."""

    kinds = frozenset({"pairs"})

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Build the layers."""
        super().__init__(data, config)
        self.dim = 16
        self.towers = nn.ModuleList(nn.Linear(math.prod(m.shape), 8) for m in (data.modalities or {}).values())

    def forward(self, inputs: Pair) -> Tensor:
        """Return the features of both modalities, side by side (N, 16)."""
        return torch.cat([values.squeeze(2) for values in self.maps(inputs).values()], 1)

    def maps(self, inputs: Pair) -> dict[str, Tensor]:
        """Return the features of each modality at one location, (N, 8, 1)."""
        sides = zip(("first", "second"), self.towers, (inputs.first, inputs.second), strict=True)
        return {name: tower(side.flatten(1))[..., None] for name, tower, side in sides}


class Align(Objective):
    """Find the partner among the batch (ours)."""

    recipe = Recipe(learning_rate=1e-2, epochs=10, batch_size=32)
    recipe_source = "ours: short, for tests"

    def make_views(self, batch: Batch, rng: torch.Generator) -> Pair:
        """Return the pairs unchanged."""
        pairs: Pair = batch.inputs
        return pairs

    def forward(self, views: Pair, player: str = "main") -> Loss:
        """Return the cross-entropy of each first side's partner among all second sides."""
        first, second = self.encoder(views).tensor_split(2, dim=1)
        logits = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / 0.2
        return Loss(F.cross_entropy(logits, torch.arange(len(logits), device=logits.device)))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but pairs."""
        return None if data.kind == "pairs" else "needs pairs"


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"spots_and_sounds": SpotsAndSounds}


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"two_towers": TwoTowers}


@hookimpl
def bench_objectives() -> dict[str, type[Objective]]:
    return {"align": Align}
