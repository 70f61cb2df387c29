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
from benchmarks.gpu_setup import FULL, Bed, Numbers, views_of


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
    with views_of(bed, compiled):
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
