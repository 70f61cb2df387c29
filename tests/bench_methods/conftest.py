"""Small encoder, data and epoch context for tests of methods."""

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Objective, Recipe, Split
from bench_core.contracts.keywords import named_only
from bench_core.data import open_split
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped

TIMES = {"seconds", "images_per_s", "peak_memory_gib"}


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


@pytest.fixture
def train() -> Callable[..., Any]:
    """Function that trains with checkpoints in a folder: train(method, images, folder, recipe, stops_after).

    It returns the log without times, or None if the training was stopped after a number of steps.
    """

    def run(
        method: Objective, images: Tensor, folder: Path, recipe: Recipe, stops_after: int | None = None
    ) -> list[dict[str, Any]] | None:
        stop, steps, after_step = Stop(), itertools.count(1), method.after_step

        def counted_step() -> None:
            after_step()
            if next(steps) == stops_after:
                stop.request(signal.SIGTERM)

        method.after_step = counted_step  # type: ignore[method-assign]  # of this object alone
        source = open_split(Split((images * 255).to(torch.uint8)), torch.device("cpu"))
        checkpoints = Checkpoints(folder / "checkpoints", interval=1e6, stop=stop)
        try:
            with stop.deferred():
                pretrain(
                    method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32",
                    log=folder / "log.jsonl", checkpoints=checkpoints,
                )  # fmt: skip
        except Stopped:
            return None
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]

    return run
