"""Measure reading of image files against torchvision's DataLoader: `python -m benchmarks.image_reading [--save]`.

One pass in random order over made JPEG photographs in a folder of classes, for training at two sizes, with 0, 2 and 8
reading processes. Torchvision's side is its ImageFolder under torch's DataLoader, once with our decoder for each image
and once with its own transforms, which turn no image upright.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchvisionFolder

from bench_core.data import ImageFolder, open_split
from bench_core.data.image_pixels import Way, decode_square
from benchmarks.contest import Contender, Contest, Goal, main

IMAGES, CLASSES, BATCH = 768, 4, 64
PHOTO = (500, 375)  # a usual size in ImageNet
WORKERS, SIZES = (0, 2, 8), (224, 64)
GOAL = 0.95  # not slower in wall time; without reading processes ours decodes in threads, which takes a little CPU time


def make_folder(folder: Path, images: int = IMAGES, photo: tuple[int, int] = PHOTO) -> Path:
    """Write smooth photographs as JPEG files below `train` and `test`, and return the folder."""
    random = np.random.RandomState(0)
    for split, count in (("train", images), ("test", CLASSES)):
        for number in range(count):
            path = folder / split / f"class{number % CLASSES}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.randint(0, 256, (24, 32, 3), np.uint8))
            grain = random.normal(0, 6, (photo[1], photo[0], 3))
            pixels = np.asarray(coarse.resize(photo, Image.Resampling.BICUBIC)) + grain
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def read_all(batches: Callable[[], Iterable[Any]]) -> int:
    """Pass over all batches, and return how many there were."""
    return sum(1 for _ in batches())


def ours(folder: Path, size: int, workers: int, way: Way = "exact") -> Callable[[], int]:
    """Return one pass as training makes it: float batches in random order, decoded when they are read."""
    split = ImageFolder("photos", folder, size, max_cached_bytes=0, way=way).load("train")
    source = open_split(split, torch.device("cpu"), workers=workers)
    return partial(read_all, lambda: source.batches(BATCH, rng=torch.Generator().manual_seed(0)))


def torchvisions(folder: Path, workers: int, decode: Callable[[str], Any], transform: Any = None) -> Callable[[], int]:
    """Return one pass of torch's DataLoader over torchvision's ImageFolder, in random order."""
    images = TorchvisionFolder(str(folder / "train"), transform=transform, loader=decode)
    loader: DataLoader[Any] = DataLoader(images, BATCH, shuffle=True, num_workers=workers)
    return partial(read_all, lambda: loader)


def with_our_decoder(size: int, path: str) -> torch.Tensor:
    """Decode one image as ours are, to float."""
    return torch.tensor(decode_square(path, size, False, 16)).float().div_(255)


def pillow(path: str) -> Image.Image:
    """Open an image as torchvision does."""
    with Image.open(path) as image:
        return image.convert("RGB")


def contest(folder: Path, size: int, workers: int) -> Contest:
    """Return the contest of one size and one number of reading processes."""
    own = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()])
    contenders = [
        Contender("ours", ours(folder, size, workers)),
        Contender("ours, decode = scaled", ours(folder, size, workers, "scaled")),
        Contender("torchvision, our decoder", torchvisions(folder, workers, partial(with_our_decoder, size))),
        Contender("torchvision, its transforms", torchvisions(folder, workers, pillow, own)),
    ]
    goals = [Goal("ours", contender.name, GOAL) for contender in contenders[2:3]]
    notes = [f"{PHOTO[0]} x {PHOTO[1]} pixels a photograph, batches of {BATCH}"] if workers == 0 else []
    return Contest(f"{IMAGES} JPEG photographs to {size} pixels, {workers} reading processes", contenders, goals, notes)


def contests(folder: Path) -> Sequence[Contest]:
    """Return the contests of all sizes and numbers of reading processes."""
    return [contest(folder, size, workers) for size in SIZES for workers in WORKERS]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more processes than cores
    with tempfile.TemporaryDirectory() as place:
        main("image_reading", lambda: contests(make_folder(Path(place))))
