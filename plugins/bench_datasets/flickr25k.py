"""MIRFLICKR-25000: photographs with several labels each, split as in papers on hashing.

Source: Huiskes, Lew, "The MIR Flickr retrieval evaluation", ACM MIR 2008,
    https://press.liacs.nl/mirflickr/mirdownload.html
Note:  Labels are the 24 of `mirflickr25k_annotations_v080`, in alphabetical order. Its 14 files `*_r1.txt` (images in
    which the topic is prominent) are left out, as in most papers on hashing. 419 images have no label: as queries they
    have no relevant items and count as 0. Some papers keep them (25,000 images), others drop them (24,581), so the same
    name stands for different data. Images are turned upright by their EXIF orientation. Mean and std are the usual
    ones of ImageNet. Checksums of archives are not checked.

Shapes: 25,000 images, (3, size, size) each, 24 labels.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import ImageFiles, digest_of, draw_index, missing_data, take
from bench_core.errors import DataMissingError, RequestError

LABELS = (
    "animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor", "lake", "male", "night",
    "people", "plant_life", "portrait", "river", "sea", "sky", "structures", "sunset", "transport", "tree", "water",
)  # fmt: skip
COUNT, LABELLED = 25_000, 24_581


@dataclass(frozen=True, kw_only=True)
class Flickr25kConfig(Config):
    """Parameters of the split, as counts, because splits of the same name differ between papers."""

    num_queries: int = param(
        2000, "number of images in `query`; the others are `database`", "DistillHash, BiHalf", ge=1
    )
    train_size: int | None = param(
        5000, "number of images of the database to train on; none: all of it", "BiHalf; SSDH: 10000", ge=1
    )
    unlabelled: Literal["keep", "drop"] = param(
        "keep", "keep or drop the 419 images without a label", "BiHalf; others: drop"
    )
    size: int = param(64, "side of the decoded images, in pixels", "ours: papers take 224", ge=1)
    split_seed: int = param(0, "seed of the draw of queries and of the train split", "ours", ge=0, lt=2**32)

    def __post_init__(self) -> None:
        """Check that there are enough images for queries and train split."""
        super().__post_init__()
        count = COUNT if self.unlabelled == "keep" else LABELLED
        if self.num_queries + (self.train_size or 1) > count:
            raise ValueError(
                f"num_queries and train_size may take {count:,} images, got {self.num_queries} and {self.train_size}"
            )


class Flickr25k(Dataset):
    """25,000 photos with any of 24 labels.

    The images are decoded to one size. Folders under the data root are those that the two archives unpack to:
    `mirflickr` and `mirflickr25k_annotations_v080`.
    """

    Config = Flickr25kConfig
    revision = 2

    def __init__(self, root: Path, config: Flickr25kConfig) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.config = config
        self.folder, self.annotations = root / "mirflickr", root / "mirflickr25k_annotations_v080"
        names = [f"im{number}.jpg" for number in range(1, COUNT + 1)]
        self.files = ImageFiles("flickr25k", self.folder, "images", names, config.size)

    def spec(self) -> DataSpec:
        """Return shapes, labels and the counts that follow from the config."""
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
        """Return the SHA-256 of the files of all images and of all labels; it does not depend on `size`."""
        self._refuse_missing_images()
        return digest_of(self.files.content, self._labels)

    def check_files(self) -> None:
        """Read all images again for `digest`."""
        self.files.check_files()

    def load(self, split: str) -> Split:
        """Read one split: `query`, `database`, or `train`, which is a part of the database."""
        if split not in ("train", "query", "database"):
            raise RequestError(f"no split named {split!r}; there are: train, query, database.")
        self._refuse_missing_images()
        labelled, seed = self._labels.any(1), self.config.split_seed
        if int(labelled.sum()) != LABELLED:
            why = f"they label {int(labelled.sum()):,} images, but those of version 0.80 label {LABELLED:,}"
            raise missing_data("flickr25k", self.annotations, why, fetch=False)
        used = torch.ones_like(labelled) if self.config.unlabelled == "keep" else labelled
        index = used.nonzero().squeeze(1)
        queries = draw_index(None, len(index), self.config.num_queries, seed)
        is_query = torch.zeros(len(index), dtype=torch.bool).index_fill_(0, queries, True)
        index = index[is_query if split == "query" else ~is_query]
        if split == "train" and self.config.train_size is not None:
            index = index[draw_index(None, len(index), self.config.train_size, seed)]
        return take(Split(self.files.load(), self._labels), index)

    @cached_property
    def _labels(self) -> Tensor:
        """Labels (25000, 24) bool, read from one file for each label, which lists the numbers of its images."""
        labels = torch.zeros(COUNT, len(LABELS), dtype=torch.bool)
        for column, name in enumerate(LABELS):
            path = self.annotations / f"{name}.txt"
            if not path.is_file():
                raise missing_data("flickr25k", path, _does_not_exist("annotations"), fetch=False)
            for line_number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                number = line.strip()
                if not (number.isdecimal() and 1 <= int(number) <= COUNT):
                    raise DataMissingError(
                        f"flickr25k: {path}, line {line_number}: {number[:40]!r} is no image's number, 1 to {COUNT}."
                    )
                labels[int(number) - 1, column] = True
        return labels

    def _refuse_missing_images(self) -> None:
        """Raise DataMissingError unless the folder has all images."""
        if not self.folder.is_dir():
            raise missing_data("flickr25k", self.folder, _does_not_exist("images"), fetch=False)
        present = {path.name for path in self.folder.iterdir()}
        missing = [name for name in self.files.files if name not in present]
        if missing:
            why = f"{len(missing):,} of {COUNT:,} images are missing, the first is {missing[0]}"
            raise missing_data("flickr25k", self.folder, why, fetch=False)


def _does_not_exist(what: str) -> str:
    """Return the text for a missing file or folder, with the page that has its archive."""
    return f"does not exist; the {what} are an archive of https://press.liacs.nl/mirflickr/mirdownload.html"


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"flickr25k": Flickr25k}
