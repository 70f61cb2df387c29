"""Tiny plugins for tests of the harness; each trains in a fraction of a second."""

import os
import sys

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does, before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # with several processes, their threads would compete for the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# So that tests can import benchmarks; at the end of the path, so that bench_core is the installed one.
sys.path.append(os.path.dirname(os.path.dirname(__file__)))

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
    Config,
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
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Component, Registry
from bench_core.seeds import stream

collect_ignore = ["third_party"]  # a package of its own, installed and run by test_third_party.py


@dataclass(frozen=True, kw_only=True)
class BlobsConfig(Config):
    """Parameters of Blobs."""

    train_size: int = param(48, "images", "ours: tiny")


class Blobs(Dataset):
    """Images of 8x8 pixels whose brightness shows their class (ours)."""

    Config = BlobsConfig

    def __init__(self, root: Path, config: BlobsConfig) -> None:
        self.config = config

    def spec(self) -> DataSpec:
        """Return a specification with two classes."""
        return DataSpec(shape=(1, 8, 8), splits={"train": self.config.train_size, "test": 16}, num_classes=2)

    def digest(self) -> str:
        """Return a version, because the data is made by code."""
        return "blobs-1"

    def load(self, split: str) -> Split:
        """Draw a split from a fixed seed."""
        count = self.spec().splits[split]
        labels = torch.arange(count) % 2
        noise = torch.randint(0, 60, (count, 1, 8, 8), generator=stream(0, "blobs", split))
        return Split((noise + 150 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


@dataclass(frozen=True, kw_only=True)
class ShrinkConfig(Config):
    """Parameters of Shrink."""

    factor: float = param(1.0, "factor of the loss", "ours: tiny", ge=0)
    broken: bool = param(False, "makes the loss infinite", "ours: tiny")


class Shrink(Objective):
    """Method that makes features of two noisy views similar (ours)."""

    Config = ShrinkConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=2, batch_size=16)

    def __init__(self, encoder: Encoder, data: DataSpec, config: ShrinkConfig) -> None:
        super().__init__(encoder, data, config)
        self.factor = float("inf") if config.broken else config.factor

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return two noisy copies of the batch."""
        noise = torch.rand(2, *batch.inputs.shape, generator=rng, device=batch.inputs.device)
        return batch.inputs + 0.1 * noise

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the mean squared difference of the two views' features."""
        first, second = (self.encoder(view) for view in views)
        difference = (first - second).square().mean()
        return Loss(difference * self.factor, {"difference": difference})


class Spread(Evaluator):
    """Task whose score is the mean standard deviation of the test features (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Return one score."""
        features = frozen.splits["test"].embeddings["features"]
        return Evaluation(
            scores=[Score(metric="spread", value=float(features.std(0).mean()), unit="sd", n=len(features))],
            protocol="standard deviation over the test split, mean over features",
        )


def toy(kind: str, name: str, cls: type, distribution: str = "toys") -> Component:
    """Return a component of the distribution `toys`."""
    return Component(kind, name, distribution, "1.0", cls)


@pytest.fixture
def registry() -> Registry:
    """Registry of Blobs, TinyEncoder, Shrink and Spread under short names."""
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
    """Function that plans a request of the tiny plugins: `plan_of(methods=["shrink"], ...)`."""

    def plan(**request: Any) -> Plan:
        defaults: dict[str, Any] = {
            "datasets": ["blobs"],
            "encoders": ["tiny"],
            "methods": ["shrink"],
            "tasks": ["spread"],
            "data_root": tmp_path,
        }
        return make_plan(Request(**{**defaults, **request}), registry)

    return plan


@pytest.fixture
def add(registry: Registry) -> Callable[[str, str, type], None]:
    """Function that adds a component to the tiny plugins: `add("objective", "game", Game)`."""
    return lambda kind, name, cls: registry.components.append(toy(kind, name, cls))


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> Callable[[Component], None]:
    """Function that gives a component the small defaults of fingerprints/small_sizes.toml for one test."""
    sizes = tomllib.loads((Path(__file__).parent / "fingerprints" / "small_sizes.toml").read_text())

    def shrink(component: Component) -> None:
        cls: Any = component.cls
        fields = {f.name: f for f in dataclasses.fields(cls.Config)}
        changed = []
        for name, value in sizes.get(component.name, {}).items():
            value = tuple(value) if isinstance(value, list) else value  # TOML has no tuples
            changed.append((name, fields[name].type, field(default=value, metadata=fields[name].metadata)))
        small = dataclasses.make_dataclass(cls.Config.__name__, changed, bases=(cls.Config,), frozen=True, kw_only=True)
        small.__doc__ = cls.Config.__doc__
        monkeypatch.setattr(cls, "Config", small)

    return shrink


@pytest.fixture
def tiny_encoder() -> Encoder:
    """Seeded encoder of 8x8 images with one channel."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return TinyEncoder(Blobs(Path(), BlobsConfig()).spec())


@pytest.fixture
def fake_cuda() -> None:
    """Skip a test of fake CUDA tensors where torch needs a driver even for them."""
    if torch.__version__ < "2.10" and not torch.cuda.is_available():  # compared as versions: it is a TorchVersion
        pytest.skip("before torch 2.10 an index into fake CUDA tensors needs a driver")


@pytest.fixture(autouse=True)
def _isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's data and plugin switches from every test."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BENCH_DATA_CACHE", str(tmp_path / "data-cache"))
    for variable in ("BENCH_PLUGINS", "BENCH_DISABLE_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
