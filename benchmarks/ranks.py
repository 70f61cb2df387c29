"""Measure trainings by two ranks beside one process and DistributedDataParallel: `python -m benchmarks.ranks [--save]`.

Each process has one thread, so that two of them use two cores; the machine must be free. Ranks give the numbers of one
process. DistributedDataParallel does not: each of its processes computes loss and batch norm over its own half of the
batch. "Difference" is how far the parameters of the two ranks are from those of one process after the steps, for the
path that they went, in float32; a test holds it below 1e-6 in float64.
"""

import json
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import TCPStore
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from bench_core import Batch, DataSpec, Objective, Recipe, Split
from bench_core.data import open_split
from bench_core.devices import to_channels_last
from bench_core.plugins import load_plugins
from bench_core.training.optimizers import make_optimizer
from bench_core.training.pretrain import pretrain
from bench_core.training.rank_group import RankGroup
from benchmarks.contest import Contest, Timing, main, seconds

CPU = torch.device("cpu")
RANKS = 2
ONE, TWO, DDP = "one process", "two ranks", "DistributedDataParallel, two processes"
METHODS = ("nac", "byol", "barlow_twins", "vicreg", "swav", "moco", "supervised")


def contests() -> list[Contest]:
    """Return contests of SimCLR with two encoders and two sizes of images, and of some other methods."""
    sizes = [("convnet", 32, 256, 8), ("resnet18", 32, 64, 3), ("convnet", 96, 64, 4), ("resnet18", 96, 16, 3)]
    return [
        *(contest("simclr", encoder, side, batch, steps) for encoder, side, batch, steps in sizes),
        *(contest(method, "convnet", 32, 256, 8) for method in METHODS),
    ]


def contest(method: str, encoder: str, side: int, batch: int, steps: int) -> Contest:
    """Return the contest of some steps of a method.

    Args:
        method: Name of the method.
        encoder: Name of the encoder.
        side: Side of the images in pixels.
        batch: Images in a step.
        steps: Steps of one turn.
    """
    what = f"{method}, {encoder}, {side} pixels, batch {batch}: {steps} steps, in wall seconds in both columns"
    return Contest(what, contenders=(), measure=partial(measure, (method, encoder, side, batch, steps)))


def measure(work: tuple[str, str, int, int, int], rounds: int) -> list[Timing]:
    """Run all ways in turns in two processes, after a turn of each to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        spawn(take_turns, (store.port, work, rounds, folder), RANKS)  # type: ignore[no-untyped-call]  # of torch
        found = json.loads((Path(folder) / "found.json").read_text(encoding="utf-8"))
    steps = work[-1]
    return [
        Timing(
            name,
            share=1.0,
            cpu_s=wall_s,
            wall_s=wall_s,
            facts={
                "steps/s": f"{steps / median(wall_s):.3g}",
                "difference": f"{found['difference']:.0e}" if name == TWO else "",
            },
        )
        for name, wall_s in found["wall_s"].items()
    ]


def take_turns(rank: int, port: int, work: tuple[str, str, int, int, int], rounds: int, folder: str) -> None:
    """Be one of the processes, and write what was found in the first."""
    torch.set_num_threads(1)
    method, encoder, side, batch, steps = work
    group = RankGroup(TCPStore("127.0.0.1", port, timeout=timedelta(seconds=60)), rank, RANKS, CPU)
    images = random_images(batch * steps, side)
    build = partial(build_method, method, encoder, images)
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=1, batch_size=batch)
    ways: dict[str, Callable[[], Tensor | None]] = {
        ONE: lambda: by_loop(build(), images, recipe, None) if rank == 0 else None,
        TWO: lambda: by_loop(build(), images, recipe, group),
    }
    if method == "simclr":
        ways[DDP] = lambda: by_ddp(build(), images, recipe, group)
    wall_s: dict[str, list[float]] = {name: [] for name in ways}
    ended: dict[str, Any] = {}

    def turn(name: str) -> None:
        ended[name] = ways[name]()
        group.counts(0)  # waits for the other process

    for number in range(rounds + 1):
        for name in ways:
            group.counts(0)
            wall = seconds(partial(turn, name))[1]
            if number:
                wall_s[name].append(wall)
    if rank == 0:
        path = ended[ONE] - flat(build())
        difference = float((ended[TWO] - ended[ONE]).norm() / path.norm())
        found = {"wall_s": wall_s, "difference": difference}
        (Path(folder) / "found.json").write_text(json.dumps(found), encoding="utf-8")
    group.counts(0)


def random_images(count: int, side: int) -> Tensor:
    """Make random colour images (count, 3, side, side) uint8."""
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build_method(method: str, encoder: str, images: Tensor) -> Objective:
    """Build a method on an encoder with their default parameters, always with the same weights."""
    registry = load_plugins()
    data = DataSpec(shape=tuple(images.shape[1:]), splits={"train": len(images)}, num_classes=10)
    objective_class, encoder_class = (
        registry.get(kind, name).cls for kind, name in (("objective", method), ("encoder", encoder))
    )
    torch.manual_seed(0)
    network = encoder_class(data, encoder_class.Config())
    objective: Objective = objective_class(network, data, objective_class.Config())
    return to_channels_last(objective)


def by_loop(objective: Objective, images: Tensor, recipe: Recipe, group: RankGroup | None) -> Tensor:
    """Train for an epoch by the loop of bench, and return all parameters."""
    split = Split(images, torch.arange(len(images)) % 10)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            objective,
            open_split(split, CPU),
            recipe,
            seed=0,
            device=CPU,
            precision="fp32",
            log=Path(folder) / "log.jsonl",
            ranks=group,
        )
    return flat(objective)


def by_ddp(objective: Objective, images: Tensor, recipe: Recipe, group: RankGroup) -> Tensor:
    """Train for an epoch by torch's DistributedDataParallel, each process on its part of each batch."""
    network = DistributedDataParallel(objective)
    optimizer = make_optimizer(list(objective.parameters()), recipe)
    rng = torch.Generator().manual_seed(group.rank)
    for number, whole in enumerate(torch.split(images, recipe.batch_size)):
        own = torch.split(whole, group.split(len(whole)))[group.rank]
        views = objective.make_views(Batch(own.float().div_(255), torch.arange(len(own)) + number), rng)
        optimizer.zero_grad()
        network(views).total.backward()
        optimizer.step()
    return flat(objective)


def flat(objective: nn.Module) -> Tensor:
    """Return a copy of all parameters, one after the other."""
    return torch.cat([parameter.detach().flatten() for parameter in objective.parameters()])


if __name__ == "__main__":
    main("ranks", contests, rounds=5)
