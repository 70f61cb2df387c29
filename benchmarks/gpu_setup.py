"""Where `benchmarks.gpu` measures: device, sizes, plugins, data, and the device's clock."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench_core import Dataset, DataSpec, NoConfig, Objective, Recipe, Split
from bench_core.data import default_data_root
from bench_core.devices import placed
from bench_core.planning.plan import Chain, make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.running.chain import build_objective
from bench_core.seeds import stream
from bench_core.views import compiled as compiled_views

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    encoder: str
    batch: int
    steps: int  # of an epoch
    train: int
    test: int
    matrix: int  # side
    dim: int  # of the embeddings that probes are timed on
    backend: str  # of torch.compile
    epochs: int  # of the short whole run


FULL = Size(
    encoder="resnet18",
    batch=512,
    steps=60,
    train=50_000,
    test=10_000,
    matrix=8192,
    dim=512,
    backend="inductor",
    epochs=3,
)
TINY = Size(
    encoder="convnet", batch=16, steps=2, train=64, test=32, matrix=128, dim=8, backend="eager", epochs=1
)  # to see that the script works


class Made(Dataset):
    """Noise around a pattern for each of 10 classes, in the size of CIFAR-10; where the pictures themselves are not."""

    Config = NoConfig
    size = FULL

    def __init__(self, root: Path, config: NoConfig) -> None:
        """Nothing to look for."""

    def spec(self) -> DataSpec:
        """As CIFAR-10's."""
        return DataSpec(
            shape=(3, 32, 32),
            splits={"train": self.size.train, "test": self.size.test},
            num_classes=10,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
        )

    def digest(self) -> str:
        """Of what makes it."""
        return f"made: {self.size}"

    def load(self, split: str) -> Split:
        """Seeded."""
        count, rng = self.spec().splits[split], stream(0, "made", split)
        labels = torch.arange(count) % 10
        patterns = torch.randint(64, 192, (10, 3, 32, 32), generator=stream(0, "made"))
        noise = torch.randint(-64, 64, (count, 3, 32, 32), generator=rng)
        return Split(noise.add_(patterns[labels]).to(torch.uint8), labels)


@dataclass
class Bed:
    """Where all is measured: device, size, plugins and data, read once.

    Attributes:
        chain: Its plan's chain of a method: `simclr` -> recipe, config, data.
    """

    device: torch.device
    size: Size
    registry: Registry = field(init=False)
    data: str = field(init=False)
    splits: dict[str, Split] = field(init=False)

    def __post_init__(self) -> None:
        """Find the pictures, or make some."""
        self.registry = load_plugins()
        if not self.registry.of_kind("objective"):
            raise SystemExit("no plugins: install the wheel (pip install --no-deps), or `pip install -e .`")
        Made.size = self.size
        self.registry.components.append(Component("dataset", "made", "benchmarks", "0", Made))
        there = self.size is FULL and (default_data_root() / "cifar10-jpeg").is_dir()
        self.data = "cifar10_jpeg" if there else "made"
        source = self.chain("simclr").source
        self.splits = {name: source.load(name) for name in ("train", "test")}

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8, to train on."""
        images = self.splits["train"].inputs
        assert isinstance(images, Tensor)
        return images

    @property
    def precision(self) -> str:
        """As `auto` has it."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    def request(self, methods: Sequence[str], tasks: Sequence[str], epochs: int) -> Request:
        """Of cells on this data."""
        return Request(
            datasets=[self.data],
            encoders=[self.size.encoder],
            methods=methods,
            tasks=tasks,
            epochs=epochs,
            batch_size=self.size.batch,
            precision=self.precision,
            data_root=default_data_root(),
        )

    def chain(self, method: str) -> Chain:
        """Of one method, with its own recipe, but for the batch."""
        return make_plan(self.request([method], ["knn"], 1), self.registry).chains[0]

    def objective(self, method: str) -> tuple[Objective, Recipe]:
        """Ready to be trained, as `bench run` has it."""
        chain = self.chain(method)
        return placed(build_objective(chain), self.device).train(), chain.recipe

    def methods(self) -> list[str]:
        """Those that are trained."""
        ours = [c for c in self.registry.of_kind("objective") if c.distribution == "bench-core"]
        return [
            c.name
            for c in ours
            if c.cls.recipe.epochs and c.cls.skip_reason(self.chain("simclr").data, c.cls.Config()) is None
        ]

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, run: Callable[[], Any], times: int = 10) -> float:
        """Milliseconds of one of so many runs in a row, the median of five such rows after one that warms up."""
        rows = [self.marks([lambda: [run() for _ in range(times)]])[0] for _ in range(6)]
        return median(rows[1:]) / times

    def marks(self, parts: Sequence[Callable[[], Any]]) -> list[float]:
        """Milliseconds of each part, one after the other in one go, by the device's own clock; waits at the end."""
        if self.device.type != "cuda":
            clock = [time.perf_counter()]
            for part in parts:
                part()
                clock.append(time.perf_counter())
            return [1e3 * (b - a) for a, b in pairwise(clock)]
        cuda: Any = torch.cuda  # its classes have no types
        events = [cuda.Event(enable_timing=True) for _ in range(len(parts) + 1)]
        events[0].record()
        for part, event in zip(parts, events[1:], strict=True):
            part()
            event.record()
        self.wait()
        return [a.elapsed_time(b) for a, b in pairwise(events)]


def views_of(bed: Bed, compiled: bool) -> AbstractContextManager[None]:
    """Whether views go through `torch.compile`; at the small size its own compiler is left out, as of the loss."""
    return compiled_views() if compiled and bed.size is FULL else nullcontext()
