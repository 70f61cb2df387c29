"""Setup of `benchmarks.gpu`: device, sizes, plugins, data, and the device's clock."""

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
from bench_core.devices import place_on_device
from bench_core.planning.chains import Chain
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.running.chain import build_objective
from bench_core.seeds import stream
from bench_core.views import compiled as compiled_views

Numbers = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of all measurements.

    Attributes:
        encoder: Name of the encoder.
        batch: Images in a batch.
        steps: Steps of an epoch.
        train: Images of the train split.
        test: Images of the test split.
        matrix: Side of the matrices that are multiplied.
        dim: Dimensions of the embeddings on which tasks are timed.
        backend: Backend of torch.compile.
        epochs: Epochs of the short whole run.
    """

    encoder: str
    batch: int
    steps: int
    train: int
    test: int
    matrix: int
    dim: int
    backend: str
    epochs: int


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
TINY = Size(  # to check that the script works
    encoder="convnet", batch=16, steps=2, train=64, test=32, matrix=128, dim=8, backend="eager", epochs=1
)  # to see that the script works


class PatternImages(Dataset):
    """Noise around a pattern for each of 10 classes, in the size of CIFAR-10; used where CIFAR-10 is missing."""

    Config = NoConfig
    size = FULL

    def __init__(self, root: Path, config: NoConfig) -> None:
        """Take the arguments of a dataset; there are no files to read."""

    def spec(self) -> DataSpec:
        """Return a specification like CIFAR-10's."""
        return DataSpec(
            shape=(3, 32, 32),
            splits={"train": self.size.train, "test": self.size.test},
            num_classes=10,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
        )

    def digest(self) -> str:
        """Return a text that changes with the size."""
        return f"made: {self.size}"

    def load(self, split: str) -> Split:
        """Draw a split from fixed seeds."""
        count, rng = self.spec().splits[split], stream(0, "made", split)
        labels = torch.arange(count) % 10
        patterns = torch.randint(64, 192, (10, 3, 32, 32), generator=stream(0, "made"))
        noise = torch.randint(-64, 64, (count, 3, 32, 32), generator=rng)
        return Split(noise.add_(patterns[labels]).to(torch.uint8), labels)


@dataclass
class Setup:
    """Device, sizes, plugins and data of all measurements, read once.

    Attributes:
        device: The device that is measured.
        size: Sizes of the measurements.
        registry: All plugins, and the dataset `made`.
        data: Name of the dataset: `cifar10_jpeg` where it is present, else `made`.
        splits: Its splits by name.
    """

    device: torch.device
    size: Size
    registry: Registry = field(init=False)
    data: str = field(init=False)
    splits: dict[str, Split] = field(init=False)

    def __post_init__(self) -> None:
        """Find CIFAR-10, or make images."""
        self.registry = load_plugins()
        if not self.registry.of_kind("objective"):
            raise SystemExit("no plugins: install the wheel (pip install --no-deps), or `pip install -e .`")
        PatternImages.size = self.size
        self.registry.components.append(Component("dataset", "made", "benchmarks", "0", PatternImages))
        has_cifar10 = self.size is FULL and (default_data_root() / "cifar10-jpeg").is_dir()
        self.data = "cifar10_jpeg" if has_cifar10 else "made"
        source = self.chain("simclr").loader
        self.splits = {name: source.load(name) for name in ("train", "test")}

    @property
    def images(self) -> Tensor:
        """Train images (N, C, H, W), uint8."""
        images = self.splits["train"].inputs
        assert isinstance(images, Tensor)
        return images

    @property
    def precision(self) -> str:
        """Precision that `--precision auto` chooses on this device."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    def request(self, methods: Sequence[str], tasks: Sequence[str], epochs: int) -> Request:
        """Return the request of these methods and tasks on this data."""
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
        """Return the chain of one method, with its own recipe except for the batch size."""
        return make_plan(self.request([method], ["knn"], 1), self.registry).chains[0]

    def objective(self, method: str) -> tuple[Objective, Recipe]:
        """Build a method ready to be trained, as `bench run` does; return it with its recipe."""
        chain = self.chain(method)
        return place_on_device(build_objective(chain), self.device).train(), chain.recipe

    def methods(self) -> list[str]:
        """Return the names of the built-in methods that are trained and can run on this data."""
        built_in = [c for c in self.registry.of_kind("objective") if c.distribution == "bench-core"]
        return [
            c.name
            for c in built_in
            if c.cls.recipe.epochs and c.cls.skip_reason(self.chain("simclr").data, c.cls.Config()) is None
        ]

    def wait(self) -> None:
        """Wait until the device has finished its queue."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def time(self, run: Callable[[], Any], times: int = 10) -> float:
        """Return the milliseconds of one call: mean over a row of calls, median over five rows after one to warm up."""
        rows = [self.marks([lambda: [run() for _ in range(times)]])[0] for _ in range(6)]
        return median(rows[1:]) / times

    def marks(self, parts: Sequence[Callable[[], Any]]) -> list[float]:
        """Run parts one after another, wait, and return the milliseconds of each by the device's own clock."""
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


def views_of(setup: Setup, compiled: bool) -> AbstractContextManager[None]:
    """Return a context in which views are compiled, if they should be; the tiny size compiles nothing."""
    return compiled_views() if compiled and setup.size is FULL else nullcontext()
