"""What `benchmarks.gpu` measures: one function a measurement, which returns numbers for the page and prints nothing.

Training is timed through `bench_core.training.pretrain`, the loop that users run: what is measured are its epochs
after the
first. Parts of a step, CUDA graphs and the host's share are those of the same step written out (`gpu_step`).
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
from bench_core.devices import exact
from bench_core.planning.plan import make_plan
from bench_core.running.runner import run_plan
from bench_core.running.setting import Setting
from bench_core.seeds import stream
from bench_core.store import Store
from bench_core.training.embed import embed_split
from bench_core.training.optimizers import make_optimizer
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop
from bench_core.views import augment, preset
from benchmarks.gpu_setup import FULL, Bed, Made, Numbers, views_of

# Of one 32 x 32 image forward, with the stem for small images, by torch's FlopCounterMode; training takes three times
# that.
RESNET18_FLOP = 1.11e9


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
        objective.make_views = lambda *_: views  # type: ignore[method-assign]  # of this object alone
        source = Fixed(batch, size.steps)
    if compiled:
        objective.compile(backend=size.backend)
    objective.before_epoch = lambda context: {}  # type: ignore[method-assign]  # full passes are no part of a step
    objective.after_training = lambda context: {}  # type: ignore[method-assign]  # of this object alone
    how = _tuned() if tuned else exact(bed.device)
    with tempfile.TemporaryDirectory() as folder, how, views_of(bed, compiled):
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


def _tuned() -> AbstractContextManager[None]:
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)


def views(bed: Bed, *, compiled: bool = False) -> Numbers:
    """One SimCLR view of a batch."""
    images = torch.rand(bed.size.batch, 3, 32, 32, device=bed.device)
    rng, how = stream(0, "views", device=bed.device), preset("simclr", Made(Path(), NoConfig()).spec())
    with views_of(bed, compiled):
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
