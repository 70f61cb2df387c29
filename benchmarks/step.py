"""Measure a whole SimCLR step, our loop against lightly's: `python -m benchmarks.step [--save]`.

Ours is `pretrain`: batches from a resident split, views, both passes, the optimiser, the log. lightly's step is that of
its examples: its transform, torch's DataLoader without workers, its loss. Encoder, projector, optimiser and batch are
the same. "Fixed inputs" makes views once and runs encoder, projector, loss and optimiser only: no step can be faster.
"Bare, with views" also makes the views in each step. The difference of these two is the views, and the difference
between it and ours is the loop.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightly.loss import NTXentLoss
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, Recipe, Split
from bench_core.data import open_split
from bench_core.devices import to_channels_last
from bench_core.training.optimizers import make_optimizer
from bench_core.training.pretrain import pretrain
from bench_core.views import compiled
from bench_encoders.convnet import ConvNet, ConvNetConfig
from bench_encoders.resnet import ResNet18
from bench_methods.simclr import SimCLR, SimCLRConfig
from benchmarks.contest import Contender, Contest, Goal, main

CPU = torch.device("cpu")
SGD = Recipe(optimizer="sgd", learning_rate=0.06, weight_decay=5e-4, epochs=1)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's
Build = Callable[[DataSpec], Encoder]


def convnet(data: DataSpec) -> Encoder:
    """Build a convnet of four stages of stride 2."""
    return ConvNet(data, ConvNetConfig(widths=(64, 128, 256, 512)))


def small_convnet(data: DataSpec) -> Encoder:
    """Build the default convnet, of three stages."""
    return ConvNet(data, ConvNetConfig())


def resnet18(data: DataSpec) -> Encoder:
    """Build a ResNet-18 with the stem for small images."""
    return ResNet18(data, ResNet18.Config())


def contests() -> list[Contest]:
    """Return three contests: a step of two encoders, and growth with images."""
    return [
        step_contest("convnet 64-128-256-512, batch 256", convnet, batch=256, steps=8),
        step_contest("resnet18, batch 32", resnet18, batch=32, steps=4),
        growth((2048, 4096, 8192)),
    ]


def step_contest(
    what: str,
    build: Build,
    *,
    batch: int,
    steps: int,
    side: int = 32,
    around: Callable[[], AbstractContextManager[None]] = compiled,
) -> Contest:
    """Return the contest of a SimCLR step.

    Args:
        what: Encoder and batch, as part of the title.
        build: Makes the encoder.
        batch: Images in a step.
        steps: Steps of one turn, which is one epoch.
        side: Side of the images in pixels.
        around: Context in which views are compiled.
    """
    images = random_images(batch * steps, side)
    recipe = replace(SGD, batch_size=batch)
    contenders = [Contender("lightly, fp32", lightly_run(build, images, recipe))]
    for precision in ("fp32", "bf16"):
        contenders.append(Contender(f"ours, {precision}", our_run(build, images, recipe, precision)))
        contenders.append(Contender(f"fixed inputs, {precision}", bare_run(build, images, recipe, precision)))
    contenders.append(Contender("bare, with views, bf16", bare_run(build, images, recipe, "bf16", fresh=True)))
    contenders.append(Contender("ours, bf16, views compiled", our_run(build, images, recipe, "bf16", around)))
    goals = [Goal("ours, bf16", "lightly, fp32", 1.9), Goal("ours, fp32", "lightly, fp32", 1.0)]
    limit = 0.97  # within 3 %
    goals += [Goal(f"ours, {precision}", f"fixed inputs, {precision}", limit) for precision in ("bf16", "fp32")]
    goals.append(Goal("ours, bf16, views compiled", "fixed inputs, bf16", limit))
    goals.append(Goal("ours, bf16", "bare, with views, bf16", limit))
    notes = [
        "one crop .08-1, mirror, jitter .4/.4/.4/.1 with probability .8 and grey .2 of each of two views in both: what "
        "lightly recommends for CIFAR, without blur; SGD, projector of two layers",
        "ours lays convolutions out as channels last in both precisions; bf16 is autocast",
        "why fixed inputs are out of reach: views are computed on the same core, so a step is longer by "
        "what they take, which the bare step with views shows; ours beyond that is the loop, and what it sets up once "
        "for an epoch, here of few steps",
    ]
    return Contest(f"{steps} SimCLR steps, {what}, images of 3 x {side} x {side}", contenders, goals, notes)


def growth(sizes: Sequence[int], batch: int = 256) -> Contest:
    """Return the contest of our loop over more and more images."""
    recipe = replace(SGD, batch_size=batch)
    images = random_images(max(sizes))
    contenders = [
        Contender(f"{size:,} images", our_run(small_convnet, images[:size], recipe, "fp32")) for size in sizes
    ]
    return Contest("Growth with images: an epoch of SimCLR, convnet 32-64-128, fp32", contenders, sizes=sizes)


def random_images(count: int, side: int = 32) -> Tensor:
    """Return random uint8 images (count, 3, side, side); the time of a step does not depend on their content."""
    return torch.randint(256, (count, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def spec_of(images: Tensor, **more: Any) -> DataSpec:
    """Return the specification of a dataset of these images."""
    return DataSpec(shape=tuple(images.shape[1:]), splits={"train": len(images)}, num_classes=10, **more)


def our_simclr(build: Build, images: Tensor) -> SimCLR:
    """Build SimCLR as `bench run` does."""
    torch.manual_seed(0)
    data = spec_of(images, mean=MEAN, std=STD)
    return to_channels_last(SimCLR(build(data), data, SimCLRConfig()))


def our_run(
    build: Build,
    images: Tensor,
    recipe: Recipe,
    precision: str,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Callable[[], Any]:
    """Return a call that runs an epoch of `pretrain`, inside a context."""
    method, source = our_simclr(build, images), open_split(Split(images), CPU)

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, around():
            log = Path(folder) / "log.jsonl"
            pretrain(method, source, recipe, seed=0, device=CPU, precision=precision, log=log)

    return run


def bare_run(
    build: Build, images: Tensor, recipe: Recipe, precision: str, *, fresh: bool = False
) -> Callable[[], None]:
    """Return a call of as many steps on one batch; its views are made once, or with `fresh` in each step."""
    method = our_simclr(build, images).train()
    optimizer = make_optimizer(list(method.parameters()), recipe)
    pixels, index = images[: recipe.batch_size], torch.arange(recipe.batch_size)
    rng = torch.Generator().manual_seed(0)

    def make_views() -> Any:
        return method.make_views(Batch(pixels.float().div_(255), index), rng)

    fixed = make_views()

    def run() -> None:
        for _ in range(len(images) // recipe.batch_size):
            views = make_views() if fresh else fixed
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = method(views).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


class _Images(torch.utils.data.Dataset[tuple[Any, int]]):
    """Dataset of images in memory, like torchvision's CIFAR10."""

    def __init__(self, images: Tensor, transform: SimCLRTransform) -> None:
        self.rows, self.transform = images.permute(0, 2, 3, 1).contiguous().numpy(), transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.rows[index])), 0


def lightly_network(build: Build, images: Tensor) -> nn.Module:
    """Build the same encoder and projector in torch's default memory layout; images are standardised before it."""
    torch.manual_seed(0)
    encoder: Any = build(spec_of(images))
    encoder.standardize = nn.Identity()
    projector = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.ReLU(), nn.Linear(encoder.dim, 128))
    return nn.Sequential(encoder, projector)


def lightly_run(build: Build, images: Tensor, recipe: Recipe) -> Callable[[], None]:
    """Return a call of an epoch as in examples/pytorch/simclr.py of lightly 1.6."""
    network = lightly_network(build, images).train()
    transform = SimCLRTransform(input_size=images.shape[-1], cj_strength=0.5, gaussian_blur=0.0)
    loader = torch.utils.data.DataLoader(
        _Images(images, transform), batch_size=recipe.batch_size, shuffle=True, drop_last=True
    )
    criterion = NTXentLoss(temperature=0.5)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )

    def run() -> None:
        for (first, second), _ in loader:
            loss = criterion(network(first), network(second))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


if __name__ == "__main__":
    main("step", contests, rounds=5)
