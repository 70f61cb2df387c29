"""What `benchmarks.gpu` measures: one function a measurement, which returns numbers for the page and prints nothing.

Training is timed through `bench_core.pretrain`, the loop that users run: what is measured are its epochs after the
first. Parts of a step, CUDA graphs and the host's share are measured on the same step written out here (`Stepper`).
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, Dataset, DataSpec, NoConfig, Objective, Recipe, Split
from bench_core.contracts import Embedded, Frozen
from bench_core.data import default_data_root, open_split
from bench_core.embed import embed_split
from bench_core.optim import make_optimizer
from bench_core.placement import exact, placed
from bench_core.plan import Chain, make_plan
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.pretrain import pretrain
from bench_core.request import Request
from bench_core.runner import Setting, build_objective, run_plan
from bench_core.seeds import stream
from bench_core.stopping import Stop
from bench_core.store import Store
from bench_core.views import augment, preset
from bench_core.views import compiled as compiled_views

Numbers = dict[str, Any]
RESNET18_FLOP = (
    2 * 0.56e9
)  # of one 32 x 32 image forward, with the stem for small images; training takes three times that


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


def matmul(bed: Bed) -> Numbers:
    """The ceiling: a bf16 product of large random matrices."""
    n = bed.size.matrix
    a, b = (torch.randn(n, n, device=bed.device, dtype=torch.bfloat16) for _ in range(2))
    return {"tflops": 2e-9 * n**3 / bed.time(lambda: a @ b), "side": n}


def copy(bed: Bed) -> Numbers:
    """The other ceiling: memory read and written."""
    source = torch.rand(bed.size.matrix**2 * 16, device=bed.device)
    target = torch.empty_like(source)
    ms = bed.time(lambda: target.copy_(source))
    return {"gb_per_s": 2 * source.nbytes / ms / 1e6}


@dataclass
class Fixed:
    """A source that gives one batch again and again."""

    batch: Batch
    steps: int

    def __len__(self) -> int:
        """Items of a pass."""
        return self.steps * len(self.batch.index)

    def batches(self, batch_size: int, *, skip: int = 0, **_: Any) -> Iterator[Batch]:
        """One pass."""
        return iter([self.batch] * (self.steps - skip))


def training(bed: Bed, method: str, *, fixed: bool = False, compiled: bool = False, tuned: bool = False) -> Numbers:
    """The loop as users run it: images/s and milliseconds a step of its later epochs, peak memory.

    Args:
        bed: Where.
        method: Which, with its own recipe at this batch.
        fixed: One batch and its views, made once: the step without data and views.
        compiled: As `bench run --compile`.
        tuned: cuDNN tries its algorithms first.
    """
    objective, recipe = bed.objective(method)
    size, labels = bed.size, bed.splits["train"].labels
    items = size.batch * size.steps
    source: Any = open_split(Split(bed.images[:items], None if labels is None else labels[:items]), bed.device)
    if fixed:
        batch = next(source.batches(size.batch, labels=objective.uses_labels))
        views = objective.make_views(batch, stream(0, "views", device=bed.device))
        objective.make_views = lambda *_: views  # type: ignore[method-assign]
        source = Fixed(batch, size.steps)
    if compiled:
        objective.compile(backend=size.backend)
    objective.before_epoch = lambda context: {}  # type: ignore[method-assign]  # full passes are no part of a step
    objective.after_training = lambda context: {}  # type: ignore[method-assign]
    how = _tuned() if tuned else exact(bed.device)
    with tempfile.TemporaryDirectory() as folder, how, _views(bed, compiled):
        log = Path(folder) / "log.jsonl"
        recipe = replace(recipe, epochs=4 if size is FULL else 2)
        pretrain(objective, source, recipe, seed=0, device=bed.device, precision=bed.precision, log=log)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    rate = median(line["images_per_s"] for line in lines[1:])
    return {
        "images_per_s": rate,
        "step_ms": 1e3 * size.batch / rate,
        "first_epoch_s": lines[0]["seconds"],
        "peak_memory_gib": lines[-1]["peak_memory_gib"],
        "loss": lines[-1]["loss"],
    }


def _views(bed: Bed, compiled: bool) -> AbstractContextManager[None]:
    """Whether views go through `torch.compile`; at the small size its own compiler is left out, as of the loss."""
    return compiled_views() if compiled and bed.size is FULL else nullcontext()


def _tuned() -> AbstractContextManager[None]:
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)


class Stepper:
    """A training step with its parts apart, on a resident split; what it reads lies where a graph finds it again."""

    def __init__(self, bed: Bed, method: str) -> None:
        """So that a graph can be captured, rates are tensors, but for SGD's, and Adam counts on the device.

        Rates are a tenth of the recipe's, as there is no warm-up.
        """
        self.bed, size = bed, bed.size
        self.objective, recipe = bed.objective(method)
        self.players = [(player, make_optimizer(player.parameters, recipe)) for player in self.objective.players()]
        for group in (group for _, optimizer in self.players for group in optimizer.param_groups):
            rate = group["lr"] / 10
            if bed.device.type == "cuda" and "nesterov" not in group:  # torch's foreach SGD reads its rate on the host
                rate = torch.tensor(rate, device=bed.device)
                group |= {"capturable": True} if "capturable" in group else {}
            group["lr"] = rate
        self.rng = stream(0, "views", device=bed.device)
        self.inputs, labels = bed.images.to(bed.device), bed.splits["train"].labels
        self.labels = None if labels is None or not self.objective.uses_labels else labels.to(bed.device)
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(0)).to(bed.device)
        self.order = torch.split(order, size.batch)
        self.index, self.at = self.order[0].clone(), 0
        self.autocast = torch.autocast(bed.device.type, dtype=torch.bfloat16, enabled=bed.precision == "bf16")
        self.views: Any = None
        self.loss: Tensor | None = None

    def next_batch(self) -> None:
        """Its indices, copied on the device."""
        self.at = (self.at + 1) % max(1, len(self.order) - 1)
        self.index.copy_(self.order[self.at])

    def make_views(self) -> None:
        """Gather the images, as `Resident` does, and augment them."""
        inputs = self.inputs.index_select(0, self.index).float().div_(255)
        labels = None if self.labels is None else self.labels.index_select(0, self.index)
        self.views = self.objective.make_views(Batch(inputs, self.index, labels), self.rng)

    def learn(self) -> None:
        """All of a step but the views."""
        for player, optimizer in self.players:
            for _ in range(player.steps):
                with self.autocast:
                    self.loss = self.objective(self.views, player.name).total
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(self.loss, inputs=[p for p in player.parameters if p.requires_grad])
                optimizer.step()
        self.objective.after_step()

    def whole(self) -> None:
        """A step."""
        self.make_views()
        self.learn()


def parts(bed: Bed, method: str) -> Numbers:
    """Shares of a step: views, forward, backward, optimiser; and whether the device waits for the host.

    `host_ms` is what the host takes to tell the device a step: less than `step_ms`, and the device never waits.
    `gap` is the part of a step in which no kernel runs, by the profiler's sum of kernels.
    """
    stepper = Stepper(bed, method)
    (player, optimizer), *others = stepper.players
    if others or player.steps > 1:
        raise ValueError(f"{method} has several players; parts are measured on methods of one")

    def forward() -> None:
        with stepper.autocast:
            stepper.loss = stepper.objective(stepper.views, player.name).total
        optimizer.zero_grad(set_to_none=True)

    def backward() -> None:
        assert stepper.loss is not None
        torch.autograd.backward(stepper.loss, inputs=[p for p in player.parameters if p.requires_grad])

    names = ("index", "views", "forward", "backward", "optimiser", "after_step")
    work = (stepper.next_batch, stepper.make_views, forward, backward, optimizer.step, stepper.objective.after_step)
    rounds = 20 if bed.size is FULL else 2
    for _ in range(3):
        bed.marks(work)
    found = [bed.marks(work) for _ in range(rounds)]
    numbers: Numbers = {
        f"{name}_ms": median(column) for name, column in zip(names, zip(*found, strict=True), strict=True)
    }
    host = []
    for _ in range(rounds):
        bed.wait()
        began = time.perf_counter()
        stepper.whole()
        host.append(1e3 * (time.perf_counter() - began))
    numbers["host_ms"] = median(host)
    numbers["step_ms"] = bed.time(stepper.whole, rounds)
    numbers["views_share"] = numbers["views_ms"] / sum(numbers[f"{name}_ms"] for name in names)
    other = sum(p.grad is not None and p.grad.stride() != p.stride() for p in player.parameters)
    numbers["gradients_of_other_strides"] = other  # any keeps foreach from its fast path
    if bed.device.type == "cuda":
        numbers |= _kernels(bed, stepper.whole, numbers["step_ms"])
    return numbers


def _kernels(bed: Bed, run: Callable[[], Any], step_ms: float) -> Numbers:
    """How many kernels a step has, what they take in all, and the dearest."""
    steps, activity = 5, torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        for _ in range(steps):
            run()
        bed.wait()
    on_device = (e for e in profile.key_averages() if e.device_type.name == "CUDA")
    kernels = [e for e in on_device if not e.is_user_annotation]  # "Optimizer.step": spans over kernels that count, too
    busy = sum(e.self_device_time_total for e in kernels) / 1e3 / steps
    dearest = sorted(kernels, key=lambda e: -e.self_device_time_total)[:12]
    return {
        "kernels": sum(e.count for e in kernels) / steps,
        "kernels_ms": busy,
        "gap": 1 - busy / step_ms,
        "dearest": [[e.key[:80], round(e.self_device_time_total / 1e3 / steps, 4), e.count / steps] for e in dearest],
    }


def graph(bed: Bed, method: str, *, compiled: bool = False) -> Numbers:
    """A whole step, views and optimiser with it, as one CUDA graph; elsewhere the same step without one."""
    with _views(bed, compiled):
        return _graph(bed, method, compiled)


def _graph(bed: Bed, method: str, compiled: bool) -> Numbers:
    stepper = Stepper(bed, method)
    if compiled:
        stepper.objective.compile(backend=bed.size.backend)
    replay: Callable[[], Any] = stepper.whole
    if bed.device.type == "cuda":
        cuda: Any = torch.cuda  # its classes have no types
        side = cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(4):
                stepper.whole()
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        captured.register_generator_state(stepper.rng)  # each replay draws anew
        with torch.cuda.graph(captured):
            stepper.whole()
        replay = captured.replay

    losses: list[Tensor] = []

    def step() -> None:
        stepper.next_batch()
        replay()
        assert stepper.loss is not None
        losses.append(stepper.loss.detach().clone())

    ms = bed.time(step, bed.size.steps)
    moved = torch.stack(losses)
    if not moved.isfinite().all() or moved.std() == 0:
        raise ValueError(f"replays gave {moved[:5].tolist()}: they do not train")
    return {
        "step_ms": ms,
        "images_per_s": 1e3 * bed.size.batch / ms,
        "first_loss": float(moved[0]),
        "loss": float(moved[-1]),
    }


def views(bed: Bed, *, compiled: bool = False) -> Numbers:
    """One SimCLR view of a batch."""
    images = torch.rand(bed.size.batch, 3, 32, 32, device=bed.device)
    rng, how = stream(0, "views", device=bed.device), preset("simclr", Made(Path(), NoConfig()).spec())
    with _views(bed, compiled):
        return {"view_ms": bed.time(lambda: augment(images, rng, how))}


def optimisers(bed: Bed) -> Numbers:
    """A step of each optimiser on the encoder's parameters: foreach, which is torch's default on CUDA, and fused."""
    objective, recipe = bed.objective("supervised")
    parameters = list(objective.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    numbers: Numbers = {}
    for name in ("sgd", "adam", "adamw", "lars"):
        optimizer = make_optimizer(parameters, replace(recipe, optimizer=name))
        numbers[f"{name}_ms"] = bed.time(optimizer.step)
        if name != "lars":
            fused = make_optimizer(parameters, replace(recipe, optimizer=name))
            for group in fused.param_groups:
                group |= {"fused": True, "foreach": False}
            numbers[f"{name}_fused_ms"] = bed.time(fused.step)
    return numbers


def embedding(bed: Bed) -> Numbers:
    """Every split embedded, in float32: the first time, and again."""
    objective, _ = bed.objective("simclr")
    seconds = []
    with exact(bed.device):
        for _ in range(2):
            began = time.perf_counter()
            found = {name: embed_split(objective, split, bed.device) for name, split in bed.splits.items()}
            seconds.append(time.perf_counter() - began)
    items = sum(len(values["features"]) for values in found.values())
    return {"images_per_s": items / seconds[-1], "first_s": seconds[0], "again_s": seconds[-1]}


def task(bed: Bed, name: str) -> Numbers:
    """A task on clusters in the size of CIFAR-10's embeddings: the first time, and again."""
    component = bed.registry.get("evaluator", name)
    centres = 0.12 * torch.randn(10, bed.size.dim, generator=stream(0, "centres"))
    embedded = {}
    for split, items in bed.splits.items():
        labels = torch.arange(len(items)) % 10
        features = torch.randn(len(items), bed.size.dim, generator=stream(0, "features", split)) + centres[labels]
        embedded[split] = Embedded({"features": F.relu(features)}, labels)
    data = bed.chain("simclr").data
    frozen = Frozen(embedded, data, 0, bed.device, _none, lambda split: bed.splits[split])
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        evaluation = component.cls(component.cls.Config()).evaluate(frozen)
        seconds.append(time.perf_counter() - began)
    scores = {score.metric: score.value for score in evaluation.scores}
    return {"first_s": seconds[0], "again_s": seconds[-1], "scores": scores}


def _none() -> Objective:
    raise AssertionError("these tasks read embeddings alone")


def whole_run(bed: Bed, methods: Sequence[str], tasks: Sequence[str], epochs: int, store: Path) -> Numbers:
    """`bench run`: pretraining, embedding, every task, records. It goes on where it was stopped."""
    plan, began = make_plan(bed.request(methods, tasks, epochs), bed.registry), time.perf_counter()
    with Stop().listening() as stop:
        failures = run_plan(plan, Store(store), Setting(bed.device, checkpoint_every=30.0, stop=stop))
    if failures:
        raise RuntimeError(f"{failures[0].error}; {len(failures)} cells failed")
    costs: dict[str, dict[str, float]] = {}
    for record in Store(store).records():
        cost = costs.setdefault(record["names"]["method"], {"tasks_s": 0.0} | record["cost"])
        cost["tasks_s"] += record["cost"]["task_s"]
    of = {m: {n: c[n] for n in ("pretrain_s", "embed_s", "tasks_s", "images_per_s")} for m, c in costs.items()}
    return {"methods": of, "epochs": epochs, "wall_s": time.perf_counter() - began}
