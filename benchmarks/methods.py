"""Measure every method's training step over SimCLR's: `python -m benchmarks.methods [--save]`.

The arithmetic of each step is counted beside its time. All methods have the same encoder, batch and preset of the
views; their other parameters are their defaults, so a wide projector or a decoder shows. A step is that of `pretrain`:
views, all players, their optimisers, the method's hooks. Work outside steps (SeLa's new labels, statistics after
training) is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench_core import Batch, DataSpec, Encoder, EpochContext, Objective, Recipe
from bench_core.config import build
from bench_core.contracts.keywords import named_only, needs
from bench_core.plugins import Component, load_plugins
from bench_core.training.players import make_player_optimizers, train_step
from bench_encoders.convnet import ConvNet, ConvNetConfig
from benchmarks.contest import Contender, Contest, main

RECIPE = Recipe(optimizer="sgd", learning_rate=1e-3)  # one for all: LARS costs as much for each parameter
SAME_VIEWS = ("augmentation", "second_augmentation")
SETTINGS = {"sela": {"relabel": False}}  # a pass over all data is no part of a step


@dataclass(frozen=True)
class Counted:
    """Arithmetic of one step.

    Attributes:
        flops: Operations of matrix products and convolutions, forward and backward.
        with_gradient: Images that pass an encoder with gradient, for each image of the batch.
        without: Images that pass an encoder, or a copy of it, without gradient, for each image of the batch.
    """

    flops: int
    with_gradient: float
    without: float


def contests() -> list[Contest]:
    """Return the contest of all methods."""
    batch = random_batch(128, 32)
    steps = {part.name: build_step(part, (64, 128, 256, 512), batch) for part in trained()}
    counts = {name: count(step, batch) for name, step in steps.items()}
    usual = counts["simclr"].flops
    contenders = [
        Contender(
            name,
            step.run,
            facts={
                "FLOPs / SimCLR's": f"{counts[name].flops / usual:.2f}",
                "images through an encoder": f"{counts[name].with_gradient:g} + {counts[name].without:g}",
            },
        )
        for name, step in steps.items()
    ]
    notes = [
        "FLOPs are those of matrix products and convolutions of one step, forward and backward, by torch's formulas; "
        "the rest (batch norm, activations, views) is memory traffic",
        "images through an encoder, for each image of the batch: with gradient + without (momentum copies, the other "
        "player's turn)",
        "dim reads features and maps by two calls of the contract: each image passes the convolutions twice with "
        "gradient. In one pass batch norm's running statistics would move once a step, which gives other numbers",
        "more seconds than FLOPs: moco passes each batch in 8 parts with statistics of their own; barlow_twins and "
        "vicreg hold matrices of 2048 x 2048, nac_moco scores 256 x 50,000: memory traffic of their formulas",
        "ctrl, ctrl_multi and uctrl are games: each player's turn passes the loop image, latent, image, latent",
    ]
    return [
        Contest(
            "A step, convnet 64-128-256-512, batch 128, images of 3 x 32 x 32", contenders, notes=notes, base="simclr"
        )
    ]


@dataclass(frozen=True)
class Step:
    """A method, and a call that makes one of its training steps."""

    method: Objective
    run: Callable[[], Any]


def trained() -> list[Component]:
    """Return every built-in method that is trained on images with a convnet and no teacher, SimCLR first."""
    methods = [part for part in load_plugins(only=["bench-core"]).of_kind("objective") if part.cls.recipe.epochs]
    return sorted(filter(_reads_images_alone, methods), key=lambda part: part.name != "simclr")


def _reads_images_alone(part: Component) -> bool:
    cls: Any = part.cls
    encoder = {"encoder_class": ConvNet, "encoder_config": ConvNetConfig()}
    data = DataSpec(shape=(3, 32, 32), splits={"train": 128}, num_classes=10)
    skips = cls.skip_reason(data, cls.Config(), **named_only(cls.skip_reason, **encoder))
    return skips is None and not needs(cls.__init__, "teacher")


def random_batch(count: int, side: int) -> Batch:
    """Return a batch of random images with labels."""
    rng = torch.Generator().manual_seed(0)
    return Batch(torch.rand(count, 3, side, side, generator=rng), torch.arange(count), torch.arange(count) % 10)


def build_step(part: Component, widths: tuple[int, ...], batch: Batch) -> Step:
    """Build a method and a call of one step on one batch.

    Args:
        part: The method.
        widths: Widths of its encoder, a `convnet`.
        batch: The batch of every step.
    """
    data = DataSpec(shape=tuple(batch.inputs.shape[1:]), splits={"train": len(batch.index)}, num_classes=10)
    known = part.cls.Config.__dataclass_fields__
    values = {name: "simclr" for name in SAME_VIEWS if name in known} | SETTINGS.get(part.name, {})
    torch.manual_seed(0)
    new_encoder = partial(ConvNet, config=ConvNetConfig(widths=widths))
    offered = named_only(part.cls.__init__, new_encoder=new_encoder)
    config = build(part.cls.Config, values, part.name)
    method: Objective = part.cls(new_encoder(data), data, config, **offered).train()
    method.to(memory_format=torch.channels_last)
    players = [make_player_optimizers(player, RECIPE) for player in method.players()]
    rng, autocast = torch.Generator().manual_seed(0), torch.autocast("cpu", torch.bfloat16, enabled=False)
    context = EpochContext(0, 1, 0, 1, lambda: iter([batch]), rng)

    def run() -> None:
        method.before_step(context)
        train_step(method, players, batch, rng, autocast)

    return Step(method, run)


def count(step: Step, batch: Batch) -> Counted:
    """Count the arithmetic of one step.

    Args:
        step: The step; it runs once.
        batch: Its batch.
    """
    passed = {True: 0, False: 0}

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        passed[torch.is_grad_enabled()] += len(inputs[0])

    hooks = [first_layer(encoder).register_forward_pre_hook(note) for encoder in whole_encoders(step.method)]
    try:
        with _Flops() as flops:
            step.run()
    finally:
        for hook in hooks:
            hook.remove()
    return Counted(flops.total, *(passed[on] / len(batch.index) for on in (True, False)))


class _Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives no types
    """Sums the operations of torch functions; torch's FlopCounterMode fails on modules that run without gradient."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives no types
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def whole_encoders(method: Objective) -> list[Encoder]:
    """Return the encoders of a method; in place of one that is made of encoders, of each view of an image, those."""
    encoders = [module for module in method.modules() if isinstance(module, Encoder)]
    return [each for each in encoders if not any(other in each.modules() for other in encoders if other is not each)]


def first_layer(encoder: nn.Module) -> nn.Module:
    """Return the layer that every pass through an encoder calls, for features and for maps."""
    return next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))


if __name__ == "__main__":
    main("methods", contests, rounds=5)
