"""Images of a folder as one pool: without classes, without splits, or with a table that has both.

A part of the pool is `train`, the others are `test`: by the folders `train` and `test`, by a column of the table, or
by a seeded draw.
"""

import json
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench_core.contracts import Split
from bench_core.data.files import digest_of, missing_data
from bench_core.data.image_depth import depth_of_train
from bench_core.data.image_files import ImageFiles
from bench_core.data.image_listing import scan_tree
from bench_core.data.image_pixels import Way
from bench_core.data.image_table import ImageRows, ImageTable, read_image_table, row_error
from bench_core.data.label_cells import SEPARATOR, bits, numbered, split_cells
from bench_core.data.subsets import draw_index, ranks_in_class, take
from bench_core.errors import ConfigError, DataMissingError, shown

_log = logging.getLogger("bench")
LabelKind = Literal["auto", "none", "single", "multi"]
TEST_SHARE = 0.2  # where nothing else is said


@dataclass(frozen=True)
class DrawnTest:
    """Rule by which a test part is drawn where neither folders nor a column of a table split the images.

    Attributes:
        share: Share of the images of each class; None: all images but `train_size`, or a fifth without that.
        train_size: Number of images to train on, balanced over classes; used only if there is no share.
        seed: Seed of the draw.
    """

    share: float | None = None
    train_size: int | None = None
    seed: int = 0

    def draw(self, labels: Tensor | None, total: int) -> Tensor:
        """Return True for each image of the test part (N,) bool.

        Args:
            labels: Classes (N,), multi-hot labels (N, L), or None; only classes are balanced.
            total: Number of images N.

        Raises:
            ConfigError: A part would be empty.
        """
        classes = labels if labels is not None and labels.ndim == 1 else None
        if self.share is None and self.train_size is not None:
            if self.train_size >= total:
                raise ConfigError(
                    f"train_size must be at most {total - 1}, so that one of {total} images is left to test on, got "
                    f"{self.train_size}"
                )
            train = draw_index(classes, total, self.train_size, self.seed)
            return torch.ones(total, dtype=torch.bool).index_fill_(0, train, False)
        if total < 2:
            raise ConfigError(f"{total} image cannot be split into train and test; add more images")
        count = min(max(round((TEST_SHARE if self.share is None else self.share) * total), 1), total - 1)
        order = np.random.RandomState(self.seed).permutation(total)
        if classes is not None:  # of each class the same share comes first
            drawn = classes.numpy()[order]
            place = (ranks_in_class(drawn) + 0.5) / np.bincount(drawn)[drawn]
            order = order[np.argsort(place, kind="stable")]
        test = torch.zeros(total, dtype=torch.bool)
        test[torch.from_numpy(order[:count])] = True
        return test


def is_one_pool(folder: Path) -> bool:
    """Return True if a folder has images in another layout than `train/<class>/` and `test/<class>/`.

    That is a folder without `train` and `test`, or whose folder `train` has no folders.
    """
    if not folder.is_dir():
        return False
    if not any((folder / split).is_dir() for split in ("train", "test")):
        return True
    try:
        return not any(entry.is_dir() for entry in (folder / "train").iterdir() if not entry.name.startswith("."))
    except OSError:  # no such folder, or it cannot be read, which is an error of the listing
        return False


class ImagePool:
    """A folder of images, decoded to one size, whose labels and splits need not be folders."""

    def __init__(
        self,
        name: str,
        folder: Path,
        size: int,
        *,
        labels: LabelKind = "auto",
        table: ImageTable | None = None,
        test_part: DrawnTest = DrawnTest(),
        grey: bool = False,
        skip_undecodable: bool = False,
        max_cached_bytes: int = 4 << 30,
        depth: int | None = 16,
        floats: bool = False,
        way: Way = "exact",
    ) -> None:
        """Keep the arguments; no file is read yet.

        Args:
            name: Name of the dataset, for messages.
            folder: Folder of the images.
            size: Side of the decoded images, in pixels.
            labels: Kind of labels: `single` is one class for each image, `multi` any number of labels from a table,
                and `auto` what is there. Without a table, classes are the folders directly below the folder.
            table: Rows of the images to use; without it, all images are used, at any depth.
            test_part: How images are drawn to test on.
            grey: Decode to one grey channel instead of three.
            skip_undecodable: Leave out images that cannot be decoded and name them in the log.
            max_cached_bytes: If the array of all images is larger, they are decoded when they are read.
            depth: Number of bits of the values in images whose header says 16 bits, 8 to 16; None takes the smallest
                that holds the largest value of `train`.
            floats: Decode to float32 in [0, 1] instead of uint8, so that values of 16 bits are kept.
            way: How JPEG files are decoded, see `image_pixels`; only `exact` goes with `floats`.
        """
        self.name, self.folder, self.size, self.grey, self.depth = name, folder, size, grey, depth
        self.label_kind, self.table, self.test_part = labels, table, test_part
        self.skip_undecodable, self.max_cached_bytes, self.floats = skip_undecodable, max_cached_bytes, floats
        self.way = way
        self._trust_cache = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one decoded image."""
        return (1 if self.grey else 3, self.size, self.size)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of `train` and `test`."""
        return {split: len(self._index(split)) for split in ("train", "test")}

    @property
    def num_classes(self) -> int | None:
        """Number of classes if each image has one, else None."""
        names, labels = self.labels
        return len(names) if labels is not None and labels.ndim == 1 else None

    @property
    def num_labels(self) -> int | None:
        """Number of labels L if images may have several, else None."""
        names, labels = self.labels
        return len(names) if labels is not None and labels.ndim == 2 else None

    @cached_property
    def labels(self) -> tuple[list[str], Tensor | None]:
        """Names of the classes or labels, and classes (N,) int64, multi-hot labels (N, L) bool, or None."""
        if self.label_kind == "none" or not self._rows.labels[0]:
            return [], None
        several = len(self._rows.labels[0]) > 1
        cells = [unicodedata.normalize("NFC", row[0]) for row in self._rows.labels]  # one spelling of each name
        joined = self.table is not None and any(SEPARATOR in cell for cell in cells)
        if self.label_kind == "multi" or (self.label_kind == "auto" and (several or joined)):
            return self._bits() if several else split_cells(cells)
        names, labels = numbered(cells)
        if self.table is not None and bool((labels < 0).any()):
            number = self._rows.numbers[int((labels < 0).nonzero()[0])]
            why = "has no label; write one, or leave all out with --set image_folder.labels=none"
            raise row_error(self.name, self.table.file, number, why, int((labels < 0).sum()) - 1)
        return names, labels

    @cached_property
    def factors(self) -> tuple[dict[str, int] | None, Tensor | None]:
        """Number of values of each factor by its name, and factors (N, F) int64; None without factors."""
        names = self.table.factors if self.table is not None else ()
        if not names:
            return None, None
        columns = [numbered([row[place] for row in self._rows.factors]) for place in range(len(names))]
        for name, (values, _) in zip(names, columns, strict=True):
            if not values:
                raise ConfigError(f"{self.name}: the factor {shown(name)} has no values; leave it out")
        counts = {name: len(values) for name, (values, _) in zip(names, columns, strict=True)}
        return counts, torch.stack([numbers for _, numbers in columns], 1)

    def check_files(self) -> None:
        """Read all files again for the digest, also those that the cache has seen before."""
        self._trust_cache = False
        for name in ("labels", "factors", "_rows", "_files", "_depth", "_in_test"):
            self.__dict__.pop(name, None)

    def digest(self) -> str:
        """Return the digest of paths and contents of all images, and of what a table says of them."""
        if self.table is None:
            return digest_of(self._files.content)
        rows = self._rows
        return digest_of(self._files.content, json.dumps([rows.labels, rows.factors, rows.splits]))

    def load(self, split: str) -> Split:
        """Load `train` or `test`: images (N, C, size, size) in memory, or a Reader if they are too large."""
        return take(Split(self._files.load(self._depth), self.labels[1], self.factors[1]), self._index(split))

    @cached_property
    def _rows(self) -> ImageRows:
        """Rows of all images that are used, from the table or as the folders say."""
        rows = self._listed() if self.table is None else read_image_table(self.name, self.folder, self.table)
        return self._decodable(rows) if self.skip_undecodable else rows

    @cached_property
    def _in_test(self) -> Tensor:
        """True for each image to test on (N,) bool."""
        splits, part = self._rows.splits, self.test_part
        if splits is None:
            return part.draw(self.labels[1], len(self._rows.files))
        where = "the folders train and test" if self.table is None else f"the column {self.table.split!r}"
        if part.share is not None:
            raise ConfigError(f"{self.name}: {where} already split the images; leave test_share out")
        in_test = torch.tensor([split == "test" for split in splits])
        if bool(in_test.all()) or not bool(in_test.any()):
            empty = "train" if bool(in_test.all()) else "test"
            raise DataMissingError(f"{self.name}: {self.folder}: no image is in {empty}, by {where}; put some there.")
        names, labels = self.labels
        if labels is not None and labels.ndim == 1:
            unknown = sorted(set(labels[in_test].tolist()) - set(labels[~in_test].tolist()))
            if unknown:
                raise DataMissingError(
                    f"{self.name}: {self.folder}: class {shown(names[unknown[0]])} is in test, but not in train, by "
                    f"{where}; move an image of it."
                )
        return in_test

    @cached_property
    def _files(self) -> ImageFiles:
        return self._images("all", self._rows.files)

    @cached_property
    def _depth(self) -> int:
        """Number of bits of the values in images whose header says 16 bits."""
        if self.depth is not None:
            return self.depth
        train = [self._rows.files[place] for place in self._index("train").tolist()]
        return depth_of_train(self.name, self._images("all-train", train).brightest())

    def _index(self, split: str) -> Tensor:
        """Return the positions of a split's images (N,) int64, ascending."""
        return (self._in_test if split == "test" else ~self._in_test).nonzero().squeeze(1)

    def _listed(self) -> ImageRows:
        """List the folder; splits and classes are its folders."""
        listing = scan_tree(self.name, self.folder, trust_cache=self._trust_cache)
        files, passed_over = listing.files, list(listing.passed_over)
        by_folder = [split for split in ("train", "test") if (self.folder / split).is_dir()]
        if len(by_folder) == 1:
            missing = "test" if by_folder == ["train"] else "train"
            raise DataMissingError(
                f"{self.name}: {self.folder} has a folder {by_folder[0]}, but no {missing}; add it, or set "
                f"image_folder.path to {self.folder / by_folder[0]}, from which a test part is then drawn."
            )
        if by_folder:
            passed_over += [file for file, top in zip(files, listing.classes, strict=True) if top not in by_folder]
            files = tuple(file for file, top in zip(files, listing.classes, strict=True) if top in by_folder)
        if passed_over:
            _log.warning(
                "%s: passed over, as hidden, no image or in no split: %s; the first is %s",
                self.name, f"{len(passed_over):,}", shown(min(passed_over)),
            )  # fmt: skip
        if not files:
            why = "has no images; expected train/<class>/, test/<class>/, or images without folders"
            raise missing_data(self.name, self.folder, why, fetch=False)
        splits = tuple(file.partition("/")[0] for file in files) if by_folder else None
        labels = [()] * len(files) if by_folder else self._classes(files, listing.classes)
        return ImageRows(files, tuple(range(len(files))), tuple(labels), ((),) * len(files), splits)

    def _classes(self, files: Sequence[str], folders: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the class of each image as a row of labels, or empty rows if there are no classes."""
        loose = [file for file, folder in zip(files, folders, strict=True) if not folder]
        if self.label_kind == "none" or (self.label_kind == "auto" and len(loose) == len(files)):
            return [()] * len(files)
        if loose:
            raise DataMissingError(
                f"{self.name}: {self.folder / loose[0]} lies in no folder of a class, but others do; move it, or leave "
                "classes out with --set image_folder.labels=none."
            )
        return [(folder,) for folder in folders]

    def _bits(self) -> tuple[list[str], Tensor]:
        """Make multi-hot labels of several columns; a cell that is neither 0 nor 1 is refused."""
        assert self.table is not None, "without a table, labels are one cell"
        try:
            return list(self.table.labels), bits(self._rows.labels)
        except ValueError as error:
            row, column = error.args
            cell, name = self._rows.labels[row][column], self.table.labels[column]
            why = f"{shown(cell)} in column {shown(name)} of several label columns; write 1 or 0"
            raise row_error(self.name, self.table.file, self._rows.numbers[row], why) from error

    def _images(self, part: str, files: Sequence[str]) -> ImageFiles:
        return ImageFiles(
            self.name,
            self.folder,
            part,
            files,
            self.size,
            grey=self.grey,
            max_cached_bytes=self.max_cached_bytes,
            trust_stamps=self._trust_cache,
            floats=self.floats,
            way=self.way,
        )

    def _decodable(self, rows: ImageRows) -> ImageRows:
        """Leave out the images that cannot be decoded, and name them in the log."""
        broken = self._images("all-listed", rows.files).undecodable()
        for file, reason in broken.items():
            _log.warning("%s: %s is left out: %s", self.name, self.folder / file, reason)
        kept = [place for place, file in enumerate(rows.files) if file not in broken]
        if not kept:
            raise missing_data(self.name, self.folder, "has no image that can be decoded", fetch=False)
        return rows.take(kept)
