"""A training step written out, so that its parts, its kernels and a CUDA graph of it can be measured."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from bench_core import Batch
from bench_core.seeds import stream
from bench_core.training.optimizers import make_optimizer
from benchmarks.gpu_setup import FULL, Numbers, Setup, views_of


class Stepper:
    """A training step in separate parts, on a resident split; its inputs stay in place, so that a graph can run it."""

    def __init__(self, setup: Setup, method: str) -> None:
        """Build the method and its optimisers.

        So that a graph can be captured, learning rates are tensors (except SGD's) and Adam counts steps on the device.
        Rates are a tenth of the recipe's, because there is no warm-up.
        """
        self.setup, size = setup, setup.size
        self.objective, recipe = setup.objective(method)
        self.players = [(player, make_optimizer(player.parameters, recipe)) for player in self.objective.players()]
        for group in (group for _, optimizer in self.players for group in optimizer.param_groups):
            rate = group["lr"] / 10
            if (
                setup.device.type == "cuda" and "nesterov" not in group
            ):  # torch's foreach SGD reads its rate on the host
                rate = torch.tensor(rate, device=setup.device)
                group |= {"capturable": True} if "capturable" in group else {}
            group["lr"] = rate
        self.rng = stream(0, "views", device=setup.device)
        self.inputs, labels = setup.images.to(setup.device), setup.splits["train"].labels
        self.labels = None if labels is None or not self.objective.uses_labels else labels.to(setup.device)
        order = torch.randperm(len(self.inputs), generator=torch.Generator().manual_seed(0)).to(setup.device)
        self.order = torch.split(order, size.batch)
        self.index, self.at = self.order[0].clone(), 0
        self.autocast = torch.autocast(setup.device.type, dtype=torch.bfloat16, enabled=setup.precision == "bf16")
        self.views: Any = None
        self.loss: Tensor | None = None

    def next_batch(self) -> None:
        """Copy the indices of the next batch into place, on the device."""
        self.at = (self.at + 1) % max(1, len(self.order) - 1)
        self.index.copy_(self.order[self.at])

    def make_views(self) -> None:
        """Gather the images, as `Resident` does, and augment them."""
        inputs = self.inputs.index_select(0, self.index).float().div_(255)
        labels = None if self.labels is None else self.labels.index_select(0, self.index)
        self.views = self.objective.make_views(Batch(inputs, self.index, labels), self.rng)

    def learn(self) -> None:
        """Run a step without its views: losses, gradients and optimisers of all players."""
        for player, optimizer in self.players:
            for _ in range(player.steps):
                with self.autocast:
                    self.loss = self.objective(self.views, player.name).total
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(self.loss, inputs=[p for p in player.parameters if p.requires_grad])
                optimizer.step()
        self.objective.after_step()

    def whole(self) -> None:
        """Run a whole step."""
        self.make_views()
        self.learn()


def parts(setup: Setup, method: str) -> Numbers:
    """Measure the parts of a step (views, forward, backward, optimiser), and whether the device waits for the host.

    `host_ms` is the time in which the host queues a step: where it is below `step_ms`, the device never waits.
    `gap` is the share of a step in which no kernel runs, by the profiler's sum of kernels.
    """
    stepper = Stepper(setup, method)
    (player, optimizer), *other_players = stepper.players
    if other_players or player.steps > 1:
        raise ValueError(f"{method} has several players; parts are measured for methods with one player only")

    def forward() -> None:
        with stepper.autocast:
            stepper.loss = stepper.objective(stepper.views, player.name).total
        optimizer.zero_grad(set_to_none=True)

    def backward() -> None:
        assert stepper.loss is not None
        torch.autograd.backward(stepper.loss, inputs=[p for p in player.parameters if p.requires_grad])

    names = ("index", "views", "forward", "backward", "optimiser", "after_step")
    work = (stepper.next_batch, stepper.make_views, forward, backward, optimizer.step, stepper.objective.after_step)
    rounds = 20 if setup.size is FULL else 2
    for _ in range(3):
        setup.marks(work)
    times = [setup.marks(work) for _ in range(rounds)]
    numbers: Numbers = {
        f"{name}_ms": median(column) for name, column in zip(names, zip(*times, strict=True), strict=True)
    }
    host = []
    for _ in range(rounds):
        setup.wait()
        began = time.perf_counter()
        stepper.whole()
        host.append(1e3 * (time.perf_counter() - began))
    numbers["host_ms"] = median(host)
    numbers["step_ms"] = setup.time(stepper.whole, rounds)
    numbers["views_share"] = numbers["views_ms"] / sum(numbers[f"{name}_ms"] for name in names)
    other_strides = sum(p.grad is not None and p.grad.stride() != p.stride() for p in player.parameters)
    numbers["gradients_of_other_strides"] = other_strides  # one is enough to keep foreach from its fast path
    if setup.device.type == "cuda":
        numbers |= _kernels(setup, stepper.whole, numbers["step_ms"])
    return numbers


def _kernels(setup: Setup, run: Callable[[], Any], step_ms: float) -> Numbers:
    """Return the number of kernels of a step, their total time, and the twelve slowest."""
    steps, activity = 5, torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        for _ in range(steps):
            run()
        setup.wait()
    on_device = (e for e in profile.key_averages() if e.device_type.name == "CUDA")
    kernels = [e for e in on_device if not e.is_user_annotation]  # annotations span kernels that are counted already
    busy = sum(e.self_device_time_total for e in kernels) / 1e3 / steps
    slowest = sorted(kernels, key=lambda e: -e.self_device_time_total)[:12]
    return {
        "kernels": sum(e.count for e in kernels) / steps,
        "kernels_ms": busy,
        "gap": 1 - busy / step_ms,
        "dearest": [[e.key[:80], round(e.self_device_time_total / 1e3 / steps, 4), e.count / steps] for e in slowest],
    }


def graph(setup: Setup, method: str, *, compiled: bool = False) -> Numbers:
    """Measure a whole step, views and optimiser included, as one CUDA graph; on a CPU the same step without a graph."""
    with views_of(setup, compiled):
        return _graph(setup, method, compiled)


def _graph(setup: Setup, method: str, compiled: bool) -> Numbers:
    stepper = Stepper(setup, method)
    if compiled:
        stepper.objective.compile(backend=setup.size.backend)
    replay: Callable[[], Any] = stepper.whole
    if setup.device.type == "cuda":
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

    ms = setup.time(step, setup.size.steps)
    moved = torch.stack(losses)
    if not moved.isfinite().all() or moved.std() == 0:
        raise ValueError(f"replays gave {moved[:5].tolist()}: they do not train")
    return {
        "step_ms": ms,
        "images_per_s": 1e3 * setup.size.batch / ms,
        "first_loss": float(moved[0]),
        "loss": float(moved[-1]),
    }
