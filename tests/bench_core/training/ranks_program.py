"""One of three processes that train every method by three ranks, by two, and in the third process alone.

    python ranks_program.py RANK PORT OUT

The calculation is in float64, which views are not made in: they are converted where modules read them. Each process
writes OUT/RANKS.safetensors: "METHOD on KIND" -> all parameters before the training, and after it.
"""

import dataclasses
import importlib.util
import sys
import tomllib
from collections.abc import Callable
from dataclasses import field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.nn.modules.module import register_module_forward_pre_hook

from bench_core.conformance.examples import build_method, examples_of, shortened
from bench_core.contracts import Example, Objective
from bench_core.data import Graphs, Nodes, Pair, open_split
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.training.pretrain import pretrain
from bench_core.training.rank_group import RankGroup
from bench_core.views import pipeline

TESTS = Path(__file__).parents[2]
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


def train(cls: Any, example: Example, group: RankGroup | None) -> Tensor:
    """Return the parameters (2, P) of a method before and after a training of a few steps."""
    objective = build_method(cls, example, seed=3)
    before = flat(objective)
    stages = len(objective.stages())
    recipe = replace(cls.recipe, epochs=EPOCHS * stages, batch_size=BATCH, warmup_epochs=0.0)
    pretrain(
        objective,
        open_split(example.splits["train"], torch.device("cpu")),
        recipe,
        seed=0,
        device=torch.device("cpu"),
        precision="fp32",
        log=Path(sys.argv[3]) / f"{group.size if group else 1}.log",
        ranks=group,
    )
    return torch.stack([before, flat(objective)])


def train_all(group: RankGroup | None, out: Path) -> None:
    """Train all methods and write their parameters, in rank 0."""
    results = {}
    for component, registry in methods():
        for example in examples_of(component, registry):
            trained = train(component.cls, shortened(example, ITEMS), group)
            results[f"{component.name} on {example.data.kind}"] = trained
    if group is None or group.leads:
        save_file(results, out / f"{group.size if group else 1}.safetensors")


def main() -> None:
    """Train all methods by three ranks, then by two, while the third process trains them alone."""
    rank, port, out = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    register_module_forward_pre_hook(convert_inputs)  # type: ignore[arg-type]  # it may return inputs
    for component, _ in methods():
        shrink(component)
    cpu, store = torch.device("cpu"), TCPStore("127.0.0.1", port, 3, rank == 0, timeout=timedelta(seconds=60))
    three = RankGroup(PrefixStore("three", store), rank, 3, cpu)
    train_all(three, out)
    three.close()
    train_all(RankGroup(PrefixStore("two", store), rank, 2, cpu) if rank < 2 else None, out)
    store.set(f"done{rank}", "")
    store.wait([f"done{each}" for each in range(3)])  # the store ends with rank 0


if __name__ == "__main__":
    to_float32 = Tensor.float
    Tensor.float = lambda self: self.double() if self.is_floating_point() else to_float32(self)  # type: ignore[method-assign]  # for losses
    for name in ("draw", "apply"):
        setattr(pipeline, name, in_float32(getattr(pipeline, name)))
    with pipeline.applied_by(pipeline.apply):
        main()
