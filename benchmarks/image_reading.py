"""Measure reading of image files against torchvision's DataLoader: `python -m benchmarks.image_reading [--save]`.

One pass in random order over made JPEG photographs in a folder of classes, for training at two sizes, with 0, 2 and 8
reading processes. Torchvision's side is its ImageFolder under torch's DataLoader, once with our decoder for each image
and once with its own transforms, which turn no image upright. Then the same photographs in shards, against the library
webdataset with our decoder; and planning again over folders of many files that were hashed before.
"""

import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchvisionFolder

from bench_core import Dataset
from bench_core.data import ImageFolder, open_split
from bench_core.data.image_cache import SETTLED_NS
from bench_core.data.image_pixels import Way, decode_square
from bench_core.plugins import load_plugins
from benchmarks.contest import Budget, Contender, Contest, Goal, main

IMAGES, CLASSES, BATCH = 768, 4, 64
PHOTO = (500, 375)  # a usual size in ImageNet
WORKERS, SIZES = (0, 2, 8), (224, 64)
SHARDS, FILES = 8, (5_000, 15_000, 50_000)
SECONDS_PER_FILE = 12e-6
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


def with_our_decoder(size: int, path: str | bytes) -> torch.Tensor:
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


def make_shards(folder: Path) -> Path:
    """Write the photographs of `train` as tar files beside it, with an index, and return their folder."""
    shards, files = folder / "shards", sorted((folder / "train").rglob("*.jpg"))
    shards.mkdir()
    for number in range(SHARDS):
        with tarfile.open(shards / f"train-{number}.tar", "w") as shard:
            for file in files[number::SHARDS]:
                shard.add(file, file.name)
    sequential(shards, 8).check_files()
    return shards


def sequential(shards: Path, size: int) -> Dataset:
    """Return our dataset of shards."""
    dataset = load_plugins().get("dataset", "webdataset").cls
    found: Dataset = dataset(shards, dataset.Config(path=str(shards), test=None, size=size))
    return found


def shards_contest(shards: Path, size: int, workers: int) -> Contest:
    """Return the contest of reading shards."""
    source = open_split(sequential(shards, size).load("train"), torch.device("cpu"), workers=workers)
    theirs = (
        wds.WebDataset(sorted(map(str, shards.glob("*.tar"))), shardshuffle=SHARDS, empty_check=False)
        .shuffle(2000)
        .map(lambda sample: with_our_decoder(size, sample["jpg"]))
        .batched(BATCH)
    )
    loader = wds.WebLoader(theirs, batch_size=None, num_workers=workers)
    contenders = [
        Contender("ours", partial(read_all, lambda: source.batches(BATCH, rng=torch.Generator().manual_seed(0)))),
        Contender("webdataset, our decoder", partial(read_all, lambda: loader)),
    ]
    goals = [Goal("ours", "webdataset, our decoder", GOAL)]
    notes = [
        "ours reads in at most one process, which decodes in threads; batches are the same whatever the workers",
        "webdataset gives each process shards of its own, so that its batches depend on the workers",
    ]
    work = f"the same photographs in {SHARDS} shards, to {size} pixels, {workers} reading processes"
    return Contest(work, contenders, goals, notes)


def many_files(folder: Path, count: int) -> Path:
    """Fill a folder with links to the photographs, and return it once the cache knows all files."""
    photos = sorted((folder / "train").rglob("*.jpg"))
    made = folder / f"many-{count}"
    for split, number in (("train", count), ("test", CLASSES)):
        for place in range(CLASSES * 25):
            (made / split / f"class{place}").mkdir(parents=True)
        for place in range(max(number, CLASSES * 25)):
            (made / split / f"class{place % (CLASSES * 25)}" / f"{place}.jpg").hardlink_to(photos[place % len(photos)])
    time.sleep(SETTLED_NS / 1e9 + 0.1)  # a file that has just changed is not believed
    plan_again(made)
    return made


def plan_again(folder: Path) -> None:
    """List a folder and find its digest, as each command does once."""
    images = ImageFolder("photos", folder, 224)
    images.listings  # noqa: B018  # made when they are first asked for
    images.digest()


def planning_contest(folder: Path) -> Contest:
    """Return the contest of planning over folders of growing size."""
    contenders = [Contender(f"{count:,} files", partial(plan_again, many_files(folder, count))) for count in FILES]
    budget = Budget(contenders[-1].name, contenders[0].name, (FILES[-1] - FILES[0]) * SECONDS_PER_FILE)
    notes = [f"The budget is {SECONDS_PER_FILE * 1e6:.0f} s for a million files, beside the start of a command."]
    return Contest(
        "Planning again over a folder of hashed images", contenders, notes=notes, budgets=[budget], sizes=FILES
    )


def contests(folder: Path) -> Sequence[Contest]:
    """Return the contests of all sizes and numbers of reading processes, of shards, and of planning."""
    folders = [contest(folder, size, workers) for size in SIZES for workers in WORKERS]
    shards = make_shards(folder)
    return [
        *folders,
        *(shards_contest(shards, SIZES[-1], workers) for workers in WORKERS[:2]),
        planning_contest(folder),
    ]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more processes than cores
    with tempfile.TemporaryDirectory() as place:
        main("image_reading", lambda: contests(make_folder(Path(place))))
