"""Measurements of `benchmarks.gpu`: one function each, which returns numbers for the page and prints nothing.

Training is timed through `bench_core.training.pretrain`, the loop that users run: its epochs after the first are
measured. Parts of a step, CUDA graphs and the host's share are measured on the same step written out (`gpu_step`).
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from bench_core import Batch, NoConfig, Objective, Split
from bench_core.contracts import Embedded, Frozen
from bench_core.data import open_split
from bench_core.devices import exact_float32
from bench_core.planning.plan import make_plan
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.seeds import stream
from bench_core.store import Store
from bench_core.training.embed import embed_split
from bench_core.training.optimizers import make_optimizer
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop
from bench_core.views import augment, preset
from benchmarks.gpu_setup import FULL, Numbers, PatternImages, Setup, views_of

# Operations of one 32 x 32 image forward, with the stem for small images, by torch's FlopCounterMode.
# Training takes three times that.
RESNET18_FLOP = 1.11e9


def matmul(setup: Setup) -> Numbers:
    """Measure the ceiling of arithmetic: a bf16 product of large random matrices."""
    n = setup.size.matrix
    a, b = (torch.randn(n, n, device=setup.device, dtype=torch.bfloat16) for _ in range(2))
    return {"tflops": 2e-9 * n**3 / setup.time(lambda: a @ b), "side": n}


def copy(setup: Setup) -> Numbers:
    """Measure the ceiling of memory: a copy, which reads and writes."""
    source = torch.rand(setup.size.matrix**2 * 16, device=setup.device)
    target = torch.empty_like(source)
    ms = setup.time(lambda: target.copy_(source))
    return {"gb_per_s": 2 * source.nbytes / ms / 1e6}


@dataclass
class Fixed:
    """A source that yields the same batch again and again."""

    batch: Batch
    steps: int

    def __len__(self) -> int:
        """Return the items of a pass."""
        return self.steps * len(self.batch.index)

    def step_items(self, batch_size: int) -> int:
        """Return the items of a step."""
        return len(self.batch.index)

    def batches(self, batch_size: int, *, skip: int = 0, **_: Any) -> Iterator[Batch]:
        """Yield the batches of one pass."""
        return iter([self.batch] * (self.steps - skip))


def training(setup: Setup, method: str, *, fixed: bool = False, compiled: bool = False, tuned: bool = False) -> Numbers:
    """Measure the training loop: images/s and milliseconds a step of its later epochs, and peak memory.

    Args:
        setup: Device, sizes and data.
        method: Name of the method; it has its own recipe except for the batch size.
        fixed: Make one batch and its views once, which measures the step without data and views.
        compiled: Compile as `bench run --compile` does.
        tuned: Let cuDNN try its algorithms first.
    """
    objective, recipe = setup.objective(method)
    size, labels = setup.size, setup.splits["train"].labels
    items = size.batch * size.steps
    source: Any = open_split(Split(setup.images[:items], None if labels is None else labels[:items]), setup.device)
    if fixed:
        batch = next(source.batches(size.batch, labels=objective.uses_labels))
        views = objective.make_views(batch, stream(0, "views", device=setup.device))
        objective.make_views = lambda *_: views  # type: ignore[method-assign]  # of this object alone
        source = Fixed(batch, size.steps)
    if compiled:
        objective.compile(backend=size.backend)
    objective.before_epoch = lambda context: {}  # type: ignore[method-assign]  # full passes are no part of a step
    objective.after_training = lambda context: {}  # type: ignore[method-assign]  # of this object alone
    backend = _tuned() if tuned else exact_float32(setup.device)
    with tempfile.TemporaryDirectory() as folder, backend, views_of(setup, compiled):
        log = Path(folder) / "log.jsonl"
        recipe = replace(recipe, epochs=4 if size is FULL else 2)
        pretrain(objective, source, recipe, seed=0, device=setup.device, precision=setup.precision, log=log)
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    rate = median(line["images_per_s"] for line in lines[1:])
    return {
        "images_per_s": rate,
        "step_ms": 1e3 * size.batch / rate,
        "first_epoch_s": lines[0]["seconds"],
        "peak_memory_gib": lines[-1]["peak_memory_gib"],
        "loss": lines[-1]["loss"],
    }


def _tuned() -> AbstractContextManager[None]:
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)


def views(setup: Setup, *, compiled: bool = False) -> Numbers:
    """Measure one SimCLR view of a batch."""
    images = torch.rand(setup.size.batch, 3, 32, 32, device=setup.device)
    rng, augmentation = (
        stream(0, "views", device=setup.device),
        preset("simclr", PatternImages(Path(), NoConfig()).spec()),
    )
    with views_of(setup, compiled):
        return {"view_ms": setup.time(lambda: augment(images, rng, augmentation))}


def optimisers(setup: Setup) -> Numbers:
    """Measure a step of each optimiser on the encoder's parameters: foreach (torch's default on CUDA) and fused."""
    objective, recipe = setup.objective("supervised")
    parameters = list(objective.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    numbers: Numbers = {}
    for name in ("sgd", "adam", "adamw", "lars"):
        optimizer = make_optimizer(parameters, replace(recipe, optimizer=name))
        numbers[f"{name}_ms"] = setup.time(optimizer.step)
        if name != "lars":
            fused = make_optimizer(parameters, replace(recipe, optimizer=name))
            for group in fused.param_groups:
                group |= {"fused": True, "foreach": False}
            numbers[f"{name}_fused_ms"] = setup.time(fused.step)
    return numbers


def embedding(setup: Setup) -> Numbers:
    """Measure embedding of every split in float32: the first time, and the second."""
    objective, _ = setup.objective("simclr")
    seconds = []
    with exact_float32(setup.device):
        for _ in range(2):
            began = time.perf_counter()
            embedded = {name: embed_split(objective, split, setup.device) for name, split in setup.splits.items()}
            seconds.append(time.perf_counter() - began)
    items = sum(len(values["features"]) for values in embedded.values())
    return {"images_per_s": items / seconds[-1], "first_s": seconds[0], "again_s": seconds[-1]}


def task(setup: Setup, name: str) -> Numbers:
    """Measure a task on clusters in the size of CIFAR-10's embeddings: the first time, and the second."""
    component = setup.registry.get("evaluator", name)
    centres = 0.12 * torch.randn(10, setup.size.dim, generator=stream(0, "centres"))
    embedded = {}
    for split, items in setup.splits.items():
        labels = torch.arange(len(items)) % 10
        features = torch.randn(len(items), setup.size.dim, generator=stream(0, "features", split)) + centres[labels]
        embedded[split] = Embedded({"features": F.relu(features)}, labels)
    data = setup.chain("simclr").data
    frozen = Frozen(embedded, data, 0, setup.device, _none, lambda split: setup.splits[split])
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        evaluation = component.cls(component.cls.Config()).evaluate(frozen)
        seconds.append(time.perf_counter() - began)
    scores = {score.metric: score.value for score in evaluation.scores}
    return {"first_s": seconds[0], "again_s": seconds[-1], "scores": scores}


def _none() -> Objective:
    raise AssertionError("these tasks read embeddings alone")


def whole_run(setup: Setup, methods: Sequence[str], tasks: Sequence[str], epochs: int, store: Path) -> Numbers:
    """Measure a whole `bench run`: pretraining, embedding, tasks, records. A stopped one is resumed."""
    plan, began = make_plan(setup.request(methods, tasks, epochs), setup.registry), time.perf_counter()
    with Stop().listening() as stop:
        failures = run_plan(plan, Store(store), RunSetting(device=str(setup.device), checkpoint_every=30.0, stop=stop))
    if failures:
        raise RuntimeError(f"{failures[0].error}; {len(failures)} cells failed")
    costs: dict[str, dict[str, float]] = {}
    for record in Store(store).records():
        cost = costs.setdefault(record.names["method"], {"tasks_s": 0.0} | record.stored["cost"])
        cost["tasks_s"] += record.cost.task_s or 0.0
    by_method = {m: {n: c[n] for n in ("pretrain_s", "embed_s", "tasks_s", "images_per_s")} for m, c in costs.items()}
    return {"methods": by_method, "epochs": epochs, "wall_s": time.perf_counter() - began}
