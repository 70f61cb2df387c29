"""Measure SimCLR's views against lightly's and kornia's: `python -m benchmarks.views [--save]`.

One view of each image: random resized crop, flip, colour jitter (.8, its operations in random order), grey (.2),
standardised. Every image has its own draws. Images are CIFAR-10 as JPEG where BENCH_DATA has it, else smooth noise.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from kornia import augmentation as kornia
from lightly.transforms.simclr_transform import SimCLRViewTransform
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from bench_core import DataSpec
from bench_core.nn.layers import Standardize
from bench_core.plugins import load_plugins
from bench_core.views import augment, compiled, preset
from benchmarks.contest import Contender, Contest, Goal, exponent, main

N, GROWING = 256, (128, 256, 512, 1024)
BATCHES = 4  # one after another, as in training: the first finds the cache filled with other data
ONE_BY_ONE = 64  # images for contenders that take them one by one
MEAN, STD = (0.4913, 0.4821, 0.4465), (0.2452, 0.2428, 0.2606)
DATA = DataSpec(shape=(3, 32, 32), splits={"train": N}, mean=MEAN, std=STD)


def some_images(n: int) -> tuple[Tensor, str]:
    """Return uint8 images (n, 3, 32, 32) and their description."""
    rng = torch.Generator().manual_seed(0)
    root = Path(os.environ.get("BENCH_DATA", ""))
    if (root / "cifar10-jpeg").is_dir():
        dataset = load_plugins().get("dataset", "cifar10_jpeg").cls
        inputs = dataset(root, dataset.Config()).load("test").inputs
        return inputs[torch.randint(len(inputs), (n,), generator=rng)], "CIFAR-10 as JPEG"
    noise = torch.rand(n, 3, 8, 8, generator=rng) * torch.rand(n, 3, 1, 1, generator=rng)
    return F.interpolate(noise, 32, mode="bilinear").mul(255).byte(), "smooth noise, as BENCH_DATA has no CIFAR-10"


def ours(images: Tensor) -> Callable[[], Tensor]:
    """Return a call from uint8 images in memory to standardised views, as training makes them."""
    rng, augmentation, standardize = torch.Generator().manual_seed(0), preset("simclr", DATA), Standardize(DATA)
    return lambda: standardize(augment(images.float().div_(255), rng, augmentation))


def ours_compiled(images: Tensor) -> Callable[[], Tensor]:
    """Return the same call inside `compiled`."""
    plain = ours(images)

    def run() -> Tensor:
        with compiled():
            return plain()

    return run


def lightly(images: Tensor) -> Callable[[], Tensor]:
    """Return a call of lightly's transform on decoded PIL images one by one, as a worker of its DataLoader does."""
    pictures = [to_pil_image(image) for image in images]
    view = SimCLRViewTransform(
        input_size=32, cj_strength=0.5, gaussian_blur=0.0, normalize={"mean": list(MEAN), "std": list(STD)}
    )
    return lambda: torch.stack([view(picture) for picture in pictures])


def by_kornia(images: Tensor, cropping_mode: str) -> Callable[[], Tensor]:
    """Return a call of kornia's batched views; draws are each image's own, but the jitter's order is one for all."""
    view = kornia.AugmentationSequential(
        kornia.RandomResizedCrop((32, 32), scale=(0.08, 1.0), cropping_mode=cropping_mode),
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        kornia.RandomGrayscale(p=0.2),
        kornia.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        same_on_batch=False,
    )
    return lambda: view(images.float().div_(255))


def again(run: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a call that runs once for each batch."""

    def runs() -> None:
        for _ in range(BATCHES):
            run()

    return runs


def growth(make_run: Callable[[Tensor], Callable[[], Tensor]], images: Tensor) -> float:
    """Return the exponent of CPU seconds over the number of images; the sizes take turns."""
    runs = [make_run(images[:n]) for n in GROWING]
    timings = [[_cpu_seconds(run) for run in runs] for _ in range(8)][1:]  # the first warms up
    return exponent(GROWING, [median(column) for column in zip(*timings, strict=True)])


def _cpu_seconds(run: Callable[[], Tensor]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def profile(run: Callable[[], Tensor], count: int = 6) -> str:
    """Return the shares of time of torch's operations, the most expensive first."""
    run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(40):
            run()
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    shares = (f"{event.key.removeprefix('aten::')} {event.self_cpu_time_total / total:.0%}" for event in events)
    return ", ".join(list(shares)[:count])


def contests() -> Sequence[Contest]:
    """Return the contest of SimCLR's views."""
    many, description = some_images(max(GROWING))
    images = many[:N]
    contenders = [
        Contender("ours", again(ours(images))),
        Contender("ours, compiled", again(ours_compiled(images))),
        Contender("lightly SimCLRTransform, PIL", lightly(images[:ONE_BY_ONE]), ONE_BY_ONE / (BATCHES * N)),
        Contender("kornia, batched", again(by_kornia(images, "slice"))),
        Contender("kornia, batched, crop by resampling", again(by_kornia(images, "resample"))),
    ]
    peers = [contender.name for contender in contenders[2:]]
    goals = [
        Goal(mine, theirs, ratio)
        for mine, ratios in (("ours", (15.0, 2.5, 2.5)), ("ours, compiled", (25.0, 5.0, 5.0)))
        for theirs, ratio in zip(peers, ratios, strict=True)
    ]
    difference = (ours(images)() - ours_compiled(images)()).abs().max().item()
    notes = [
        f"Images: {description}. Each operation equals torchvision's image by image to 5e-6 "
        f"(`tests/bench_core/views/test_image_ops.py`). Compiled, these views differ by {difference:.1e} at most.",
        "kornia draws one order of the jitter's operations for all images, ours and lightly's one for each.",
        f"what takes the time: {profile(ours(images))}. That is memory traffic over float32, except for the crop's "
        "products (bmm) and the draws. Pillow, one image at a time, stays in cache with a quarter of the bytes, and "
        "leaves out what does not happen to an image, as ours does.",
        f"{GROWING[0]} to {GROWING[-1]} images: CPU s grow with the power {growth(ours, many):.2f} of their number.",
    ]
    return [Contest(f"One SimCLR view of {BATCHES} x {N} images of 32x32 pixels", contenders, goals, notes)]


if __name__ == "__main__":
    main("views", contests)
