"""One of four processes that train every method by three ranks, by two, and in the fourth process alone.

    python -m tests.bench_core.training.ranks_program NUMBER PORT OUT

The calculation is in float64, which views are not made in: they are converted where modules read them. A process that
leads writes OUT/RANKS.safetensors: "METHOD on KIND" -> all parameters before the training, and after it. Then two ranks
stop a training, and four ranks and the fourth process go on with it.
"""

import dataclasses
import importlib.util
import itertools
import math
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable
from dataclasses import field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.nn.modules.module import register_module_forward_pre_hook

from bench_core.conformance.examples import build_method, examples_of, shortened
from bench_core.conformance.toys import image_spec, split_of
from bench_core.contracts import Encoder, Example, Objective, Split
from bench_core.data import Graphs, Nodes, Pair, open_split
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.pretrain import pretrain
from bench_core.training.rank_autosave import LeaderStoppedError
from bench_core.training.rank_group import RankGroup
from bench_core.training.stopping import Stop, Stopped
from bench_core.views import pipeline
from tests.bench_core.training.rank_methods import CASES, Draws, Norms, Squares

TESTS = Path(__file__).parents[2]
PROCESSES, CPU = 4, torch.device("cpu")
BATCH, ITEMS, EPOCHS = 23, 48, 1  # 23 rows for 2 or 3 ranks; two steps in each stage


def converted(value: Any) -> Any:
    """Return float32 tensors, also those of graphs and pairs, as float64, with their gradients."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 and not value.is_sparse else value
    if isinstance(value, Nodes | Graphs | Pair):
        fields = {each.name: converted(getattr(value, each.name)) for each in dataclasses.fields(value)}
        if isinstance(value, Nodes):
            fields["adjacency"] = value.adjacency.double()
        return replace(value, **fields)
    return value


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of views that computes in float32, as all views are made."""

    def call(*args: Any) -> Any:
        torch.set_default_dtype(torch.float32)
        try:
            return function(*args)
        finally:
            torch.set_default_dtype(torch.float64)

    return call


def convert_inputs(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Convert what a module reads."""
    return tuple(map(converted, args))


@cache
def methods() -> list[tuple[Component, Registry]]:
    """Return all methods of the installed plugins, and those of the foreign packages of the tests."""
    registry = load_plugins()
    for path in sorted((TESTS / "third_party").glob("*/bench_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        for kind in ("encoder", "objective"):
            for name, cls in getattr(module, f"bench_{kind}s", dict)().items():
                registry.components.append(Component(kind, name, path.stem, "1.0", cls))
    return [(component, registry) for component in registry.of_kind("objective")]


def shrink(component: Component) -> None:
    """Give a method its small defaults of the fingerprints."""
    sizes = tomllib.loads((TESTS / "fingerprints" / "small_sizes.toml").read_text(encoding="utf-8"))
    cls: Any = component.cls
    fields = {each.name: each for each in dataclasses.fields(cls.Config)}
    changed = []
    for name, value in sizes.get(component.name, {}).items():
        value = tuple(value) if isinstance(value, list) else value
        changed.append((name, fields[name].type, field(default=value, metadata=fields[name].metadata)))
    small = dataclasses.make_dataclass(cls.Config.__name__, changed, bases=(cls.Config,), frozen=True, kw_only=True)
    small.__doc__ = cls.Config.__doc__
    cls.Config = small


def flat(objective: Objective) -> Tensor:
    """Return a copy of all parameters, one after the other."""
    return torch.cat([torch.zeros(0), *(parameter.detach().flatten() for parameter in objective.parameters())])


def train(
    objective: Objective,
    example: Example,
    group: RankGroup | None,
    checkpoints: Checkpoints | None = None,
    **recipe: Any,
) -> None:
    """Train a method for a few steps."""
    given = {"epochs": EPOCHS * len(objective.stages()), "batch_size": BATCH, "warmup_epochs": 0.0, **recipe}
    pretrain(
        objective,
        open_split(example.splits["train"], CPU),
        replace(type(objective).recipe, **given),
        seed=0,
        device=CPU,
        precision="fp32",
        log=Path(sys.argv[3]) / f"{sys.argv[1]}.log",
        checkpoints=checkpoints,
        ranks=group,
    )


def train_all(group: RankGroup | None, out: Path) -> None:
    """Train all methods and write their parameters, in rank 0."""
    results = {}
    of_tests = [(name, method, image_example(encoder)) for name, (method, encoder) in CASES.items()]
    of_plugins = [
        (f"{component.name} on {example.data.kind}", component.cls, example)
        for component, registry in methods()
        for example in examples_of(component, registry)
    ]
    for name, cls, whole in of_tests + of_plugins:
        example = shortened(whole, ITEMS)
        objective = build_method(cls, example, seed=3)
        before = flat(objective)
        train(objective, example, group)
        results[name] = torch.stack([before, flat(objective)])
    results["from files"] = train_from_files(group)
    if group is None or group.leads:
        save_file(results, out / f"{group.size if group else 1}.safetensors")


class Files:
    """Images that are read by index, as from files; counts how many this process has read."""

    def __init__(self, images: Tensor) -> None:
        self.images, self.read_here = images, 0

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: Tensor) -> Tensor:
        self.read_here += len(index)
        return self.images[index]


def train_from_files(group: RankGroup | None) -> Tensor:
    """Return the parameters of a method before and after a training on images that are read by all ranks together."""
    example = shortened(image_example(Norms), ITEMS)
    objective, images = build_method(Squares, example, seed=3), example.splits["train"].inputs
    assert isinstance(images, Tensor)
    before, files = flat(objective), Files(images)
    train(objective, replace(example, splits={"train": Split(files)}), group)
    steps, share = ITEMS // BATCH, BATCH if group is None else group.split(BATCH)[group.rank]
    assert files.read_here in (steps * share, steps * share + 1)  # one more shows what kind of inputs they are
    return torch.stack([before, flat(objective)])


def image_example(encoder: type[Encoder]) -> Example:
    """Return toy images for an encoder."""
    data = image_spec(32)
    return Example(data=data, splits={name: split_of(data) for name in data.splits}, encoder=encoder)


def main() -> None:
    """Train all methods by three ranks and alone, then by two ranks."""
    number, port, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    register_module_forward_pre_hook(convert_inputs)  # type: ignore[arg-type]  # it may return inputs
    for component, _ in methods():
        shrink(component)
    store = TCPStore("127.0.0.1", port, PROCESSES, number == 0, timeout=timedelta(seconds=200))
    if number < 3:
        three = RankGroup(PrefixStore("three", store), number, 3, CPU)
        train_all(three, out)
        three.close()
    else:
        train_all(None, out)
    if number < 2:
        two = RankGroup(PrefixStore("two", store), number, 2, CPU)
        train_all(two, out)
        stop_training(two, out)
        two.close()
    store.set(f"stopped{number}", "")
    store.wait([f"stopped{each}" for each in range(PROCESSES)])
    four = RankGroup(PrefixStore("four", store), number, 4, CPU)
    resume_training(four, out, "resumed by 4")
    if number == 3:
        resume_training(None, out, "resumed by 1")
        example, objective = of_resumed()
        train(objective, example, None, epochs=2)
        save_file({"all": flat(objective)}, out / "not stopped.safetensors")
    store.set(f"done{number}", "")
    store.wait([f"done{each}" for each in range(PROCESSES)])  # the store ends with process 0


def of_resumed() -> tuple[Example, Objective]:
    """Return the method that is stopped and resumed, as it begins, and its data."""
    example = shortened(image_example(Draws), ITEMS)
    return example, build_method(Squares, example, seed=3)


def stop_training(group: RankGroup, out: Path) -> None:
    """Stop a training of two epochs after its third step, which leaves a checkpoint of rank 0."""
    example, objective = of_resumed()
    stop, steps = Stop(), itertools.count(1)

    def after_step() -> None:
        if group.leads and next(steps) == 3:
            stop.request(signal.SIGTERM)

    objective.after_step = after_step  # type: ignore[method-assign]  # on this object only
    checkpoints = Checkpoints(out / "checkpoints", math.inf, stop)
    with pytest.raises(Stopped if group.leads else LeaderStoppedError), stop.deferred():
        train(objective, example, group, checkpoints, epochs=2)


def resume_training(group: RankGroup | None, out: Path, name: str) -> None:
    """Go on with the stopped training from a copy of its checkpoints, and write its parameters."""
    example, objective = of_resumed()
    if group is None or group.leads:
        shutil.copytree(out / "checkpoints", out / name)
    train(objective, example, group, Checkpoints(out / name), epochs=2)
    if group is None or group.leads:
        save_file({"all": flat(objective)}, out / f"{name}.safetensors")


if __name__ == "__main__":
    to_float32 = Tensor.float
    Tensor.float = lambda self: self.double() if self.is_floating_point() else to_float32(self)  # type: ignore[method-assign]  # for losses
    for each in ("draw", "apply"):
        setattr(pipeline, each, in_float32(getattr(pipeline, each)))
    with pipeline.applied_by(pipeline.apply):
        main()
