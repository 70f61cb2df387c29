"""Tiny plugins for tests of the harness: everything trains in a fraction of a second."""

import os
import sys

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does, before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes: threads of all would fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.append(os.path.dirname(os.path.dirname(__file__)))  # benchmarks; at the end: bench_core is what is installed

import dataclasses
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import (
    Batch,
    Dataset,
    DataSpec,
    Encoder,
    Evaluation,
    Evaluator,
    Frozen,
    Loss,
    NoConfig,
    Objective,
    Recipe,
    Score,
    Split,
    param,
)
from bench_core.conformance.toys import TinyEncoder
from bench_core.planning.plan import Plan, make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Component, Registry
from bench_core.seeds import stream

collect_ignore = ["third_party"]  # a package of its own, installed and run by test_third_party.py


@dataclass(frozen=True, kw_only=True)
class BlobsConfig:
    """Of Blobs."""

    train_size: int = param(48, "images", "ours: tiny")


class Blobs(Dataset):
    """Images of 8x8 whose brightness is their class (ours)."""

    Config = BlobsConfig

    def __init__(self, root: Path, config: BlobsConfig) -> None:
        self.config = config

    def spec(self) -> DataSpec:
        """Two classes."""
        return DataSpec(shape=(1, 8, 8), splits={"train": self.config.train_size, "test": 16}, num_classes=2)

    def digest(self) -> str:
        """Made by code."""
        return "blobs-1"

    def load(self, split: str) -> Split:
        """Seeded."""
        count = self.spec().splits[split]
        labels = torch.arange(count) % 2
        noise = torch.randint(0, 60, (count, 1, 8, 8), generator=stream(0, "blobs", split))
        return Split((noise + 150 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


@dataclass(frozen=True, kw_only=True)
class ShrinkConfig:
    """Of Shrink."""

    factor: float = param(1.0, "of the loss", "ours: tiny")
    broken: bool = param(False, "an infinite loss", "ours: tiny")

    def __post_init__(self) -> None:
        if self.factor < 0:
            raise ValueError(f"factor must be >= 0, got {self.factor}")


class Shrink(Objective):
    """Makes features of two noisy views alike (ours)."""

    Config = ShrinkConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=2, batch_size=16)

    def __init__(self, encoder: Encoder, data: DataSpec, config: ShrinkConfig) -> None:
        super().__init__(encoder, data, config)
        self.factor = float("inf") if config.broken else config.factor

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Two."""
        noise = torch.rand(2, *batch.inputs.shape, generator=rng, device=batch.inputs.device)
        return batch.inputs + 0.1 * noise

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Mean squared difference."""
        first, second = (self.encoder(view) for view in views)
        difference = (first - second).square().mean()
        return Loss(difference * self.factor, {"difference": difference})


class Spread(Evaluator):
    """Mean standard deviation of the test features (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """One score."""
        features = frozen.splits["test"].embeddings["features"]
        return Evaluation(
            scores=[Score(metric="spread", value=float(features.std(0).mean()), unit="sd", n=len(features))],
            protocol="standard deviation over the test split, mean over features",
        )


def toy(kind: str, name: str, cls: type, distribution: str = "toys") -> Component:
    """A component of the distribution `toys`."""
    return Component(kind, name, distribution, "1.0", cls)


@pytest.fixture
def registry() -> Registry:
    """Blobs, TinyEncoder, Shrink and Spread under short names."""
    return Registry(
        [
            toy("dataset", "blobs", Blobs),
            toy("encoder", "tiny", TinyEncoder),
            toy("objective", "shrink", Shrink),
            toy("evaluator", "spread", Spread),
        ]
    )


@pytest.fixture
def plan_of(registry: Registry, tmp_path: Path) -> Callable[..., Plan]:
    """`plan_of(methods=["shrink"], ...)` on the tiny plugins."""

    def plan(**asked: Any) -> Plan:
        defaults: dict[str, Any] = {
            "datasets": ["blobs"],
            "encoders": ["tiny"],
            "methods": ["shrink"],
            "tasks": ["spread"],
            "data_root": tmp_path,
        }
        return make_plan(Request(**{**defaults, **asked}), registry)

    return plan


@pytest.fixture
def add(registry: Registry) -> Callable[[str, str, type], None]:
    """`add("objective", "game", Game)` to the tiny plugins."""
    return lambda kind, name, cls: registry.components.append(toy(kind, name, cls))


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> Callable[[Component], None]:
    """`smaller(component)`: its defaults are those of fingerprints/small_sizes.toml for this test."""
    known = tomllib.loads((Path(__file__).parent / "fingerprints" / "small_sizes.toml").read_text())

    def shrink(component: Component) -> None:
        cls: Any = component.cls
        given, fields = known.get(component.name, {}), {f.name: f for f in dataclasses.fields(cls.Config)}
        changed = [(n, fields[n].type, field(default=v, metadata=fields[n].metadata)) for n, v in given.items()]
        made = dataclasses.make_dataclass(cls.Config.__name__, changed, bases=(cls.Config,), frozen=True, kw_only=True)
        made.__doc__ = cls.Config.__doc__
        monkeypatch.setattr(cls, "Config", made)

    return shrink


@pytest.fixture
def tiny_encoder() -> Encoder:
    """On 8x8 images of one channel, seeded."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return TinyEncoder(Blobs(Path(), BlobsConfig()).spec())


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's data or plugin switches."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    for variable in ("BENCH_PLUGINS", "BENCH_DISABLE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
