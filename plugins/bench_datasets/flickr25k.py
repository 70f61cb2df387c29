"""MIRFLICKR-25000: photographs with several labels each, split as hashing papers do.

Source: Huiskes, Lew, "The MIR Flickr retrieval evaluation", ACM MIR 2008,
    https://press.liacs.nl/mirflickr/mirdownload.html
Note:  Labels are the 24 of `mirflickr25k_annotations_v080`, in alphabetical order; its 14 files `*_r1.txt` (images in
    which the topic is prominent) are left out, as most hashing papers do. 419 images have no label: as queries they
    find nothing and count as 0. Papers keep them (25,000) or drop them (24,581), and so name different data.
    Mean and std are those of ImageNet in common use. The sums of the archives are not checked.

Shapes: 25,000 images, (3, size, size) each, 24 labels.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bench_core import BenchError, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import ImageFiles, digest_of, draw_index, missing_data, take
from bench_core.errors import RequestError

LABELS = (
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor", "lake", "male", "night",
    "people", "plant_life", "portrait", "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
)  # fmt: skip
COUNT, LABELLED = 25_000, 24_581


@dataclass(frozen=True, kw_only=True)
class Flickr25kConfig:
    """The split is of counts, written out: splits of one name differ between papers."""

    num_queries: int = param(2000, "images that become `query`, the others `database`", "DistillHash, BiHalf")
    train_size: int | None = param(5000, "of the database, to train on; none: all of it", "BiHalf; SSDH: 10000")
    unlabelled: Literal["keep", "drop"] = param("keep", "the 419 images without a label", "BiHalf; others: drop")
    size: int = param(64, "side of the decoded images, in pixels", "ours: papers take 224")
    split_seed: int = param(0, "of the draw of queries and of the train split", "ours")

    def __post_init__(self) -> None:
        """Check the counts against the images that there are."""
        for name in ("num_queries", "train_size", "size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if not 0 <= self.split_seed < 2**32:
            raise ValueError(f"split_seed must be in [0, 2^32), got {self.split_seed}")
        count = COUNT if self.unlabelled == "keep" else LABELLED
        if self.num_queries + (self.train_size or 1) > count:
            raise ValueError(
                f"num_queries and train_size may take {count:,} images, got {self.num_queries} and {self.train_size}"
            )


class Flickr25k(Dataset):
    """Under the data root, as the two archives unpack: `mirflickr` and `mirflickr25k_annotations_v080`."""

    Config = Flickr25kConfig

    def __init__(self, root: Path, config: Flickr25kConfig) -> None:
        """Look at nothing yet."""
        self.config = config
        self.folder, self.annotations = root / "mirflickr", root / "mirflickr25k_annotations_v080"
        names = [f"im{number}.jpg" for number in range(1, COUNT + 1)]
        self.files = ImageFiles("flickr25k", self.folder, "images", names, config.size)

    def spec(self) -> DataSpec:
        """Counts under the config."""
        count = COUNT if self.config.unlabelled == "keep" else LABELLED
        database = count - self.config.num_queries
        return DataSpec(
            shape=(3, self.config.size, self.config.size),
            splits={
                "train": self.config.train_size or database,
                "query": self.config.num_queries,
                "database": database,
            },
            num_labels=len(LABELS),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        )

    def digest(self) -> str:
        """Of the bytes of all images, whatever size they are decoded to, and of all labels."""
        self._refuse_missing_images()
        return digest_of(self.files.content, self._labels)

    def load(self, split: str) -> Split:
        """`train`, which is a part of the database, `query` or `database`."""
        if split not in ("train", "query", "database"):
            raise RequestError(f"no split named {split!r}; there are: train, query, database.")
        self._refuse_missing_images()
        labelled, seed = self._labels.any(1), self.config.split_seed
        if int(labelled.sum()) != LABELLED:
            why = f"they label {int(labelled.sum()):,} images, those of version 0.80 {LABELLED:,}"
            raise missing_data("flickr25k", self.annotations, why, fetch=False)
        used = torch.ones_like(labelled) if self.config.unlabelled == "keep" else labelled
        index = used.nonzero().squeeze(1)
        queries = draw_index(None, len(index), self.config.num_queries, seed)
        asked = torch.zeros(len(index), dtype=torch.bool).index_fill_(0, queries, True)
        index = index[asked if split == "query" else ~asked]
        if split == "train" and self.config.train_size is not None:
            index = index[draw_index(None, len(index), self.config.train_size, seed)]
        return take(Split(self.files.load(), self._labels), index)

    @cached_property
    def _labels(self) -> Tensor:
        """(25000, 24) bool: which files list the number of an image."""
        labels = torch.zeros(COUNT, len(LABELS), dtype=torch.bool)
        for column, name in enumerate(LABELS):
            path = self.annotations / f"{name}.txt"
            if not path.is_file():
                raise missing_data("flickr25k", path, _nowhere("annotations"), fetch=False)
            for place, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                number = line.strip()
                if not (number.isdecimal() and 1 <= int(number) <= COUNT):
                    raise BenchError(f"flickr25k: {path}, line {place}: no number of an image: {number[:40]!r}.")
                labels[int(number) - 1, column] = True
        return labels

    def _refuse_missing_images(self) -> None:
        if not self.folder.is_dir():
            raise missing_data("flickr25k", self.folder, _nowhere("images"), fetch=False)
        there = {path.name for path in self.folder.iterdir()}
        missing = [name for name in self.files.files if name not in there]
        if missing:
            why = f"{len(missing):,} of {COUNT:,} images are missing, the first is {missing[0]}"
            raise missing_data("flickr25k", self.folder, why, fetch=False)


def _nowhere(what: str) -> str:
    return f"does not exist; the {what} are an archive of https://press.liacs.nl/mirflickr/mirdownload.html"


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"flickr25k": Flickr25k}
