"""Small encoder, data and epoch context for tests of methods."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Objective
from bench_core.contracts.keywords import named_only


class TinyEncoder(Encoder):
    dim = 16

    def __init__(self, data: DataSpec, config: Any = None) -> None:
        nn.Module.__init__(self)
        size = data.shape[0] * data.shape[1] * data.shape[2]
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, self.dim),
            nn.BatchNorm1d(self.dim),
            nn.ReLU(),
            nn.Linear(self.dim, self.dim),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs - 0.5)
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"last": self(inputs)[:, :, None, None]}


def context(
    images: Tensor, *, epoch: int = 0, num_epochs: int = 4, batch_size: int = 64, seed: int = 0
) -> EpochContext:
    def batches() -> Iterator[Batch]:
        for start in range(0, len(images), batch_size):
            index = torch.arange(len(images))[start : start + batch_size]
            yield Batch(images[index], index)

    rng = torch.Generator().manual_seed(seed)
    return EpochContext(epoch, num_epochs, 0, 1, batches, rng)


@pytest.fixture
def data() -> DataSpec:
    return DataSpec(shape=(1, 8, 8), splits={"train": 96, "test": 10}, num_classes=10, views="glyph")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def batch(images: Tensor) -> Batch:
    return Batch(images[:12], torch.arange(12), torch.arange(12) % 10)


@pytest.fixture
def digits() -> Tensor:
    """640 handwritten digits (640, 1, 8, 8) in [0, 1]."""
    return torch.from_numpy(load_digits().images[:640]).float()[:, None] / 16


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def make_context() -> Callable[..., EpochContext]:
    return context


@pytest.fixture
def make() -> Callable[..., Any]:
    """Function that builds a method on a tiny encoder from a seed: make(NAC, data, flip=0.2)."""

    def build(objective: type[Objective], data: DataSpec, *, seed: int = 0, **values: Any) -> Objective:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            offered = named_only(objective.__init__, new_encoder=TinyEncoder)
            return objective(TinyEncoder(data), data, objective.Config(**values), **offered)

    return build
