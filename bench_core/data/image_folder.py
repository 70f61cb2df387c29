"""Labelled images in folders: `root/{train,test}/<class>/<image>`."""

import logging
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from bench_core.contracts import Split
from bench_core.data.files import digest_of, missing_data
from bench_core.data.image_files import ImageFiles
from bench_core.errors import BenchError

_log = logging.getLogger("bench")
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Listing:
    """The image files of one split, sorted by path.

    Attributes:
        files: Paths relative to the dataset's folder, with forward slashes.
        classes: Name of the class of each file.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]


class ImageFolder:
    """A folder of labelled images, decoded to one size.

    Classes are the folders under `train`, numbered in sorted order. `bench_core.data.image_files` decodes and caches
    the images.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        size: int,
        *,
        grey: bool = False,
        skip_undecodable: bool = False,
        max_cached_bytes: int = 4 << 30,
    ) -> None:
        """Keep the arguments; no file is read yet.

        Args:
            name: Name of the dataset, for messages.
            folder: Folder that contains `train` and `test`.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
            skip_undecodable: Leave out images that cannot be decoded and name them in the log; the digest is then that
                of the other images. If False, loading a split with such an image raises BenchError.
            max_cached_bytes: If the array of a split is larger, its images are decoded when they are read.
        """
        self.name, self.folder, self.size, self.grey = name, folder, size, grey
        self.skip_undecodable, self.max_cached_bytes = skip_undecodable, max_cached_bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one decoded image."""
        return (1 if self.grey else 3, self.size, self.size)

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """Listings of both splits, by name.

        Raises:
            DataMissingError: A split has no images.
            BenchError: A class of `test` does not exist in `train`.
        """
        listings = {split: scan(self.folder, split) for split in ("train", "test")}
        if self.skip_undecodable:
            listings = {split: self._decodable(split, listing) for split, listing in listings.items()}
        for split, listing in listings.items():
            if not listing.files:
                why = "has no images; expected one folder of images for each class"
                raise missing_data(self.name, self.folder / split, why, fetch=False)
        unknown = sorted(set(listings["test"].classes) - set(listings["train"].classes))
        if unknown:
            raise BenchError(f"{self.folder / 'test'}: class {unknown[0]!r} does not exist under train")
        return listings

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the label of an image is the position of its class in this list."""
        return sorted(set(self.listings["train"].classes))

    def digest(self) -> str:
        """Return the digest of paths and contents of all images; it does not depend on the size they are decoded to."""
        return digest_of(*(self._files[split].content for split in ("train", "test")))

    def load(self, split: str) -> Split:
        """Load `train` or `test`: uint8 images (N, C, size, size) in memory, or a Reader if they are too large."""
        label_of = {name: label for label, name in enumerate(self.classes)}
        labels = torch.tensor([label_of[name] for name in self.listings[split].classes])
        return Split(self._files[split].load(), labels)

    @cached_property
    def _files(self) -> dict[str, ImageFiles]:
        return {split: self._images(split, listing) for split, listing in self.listings.items()}

    def _images(self, part: str, listing: Listing) -> ImageFiles:
        return ImageFiles(
            self.name,
            self.folder,
            part,
            listing.files,
            self.size,
            grey=self.grey,
            max_cached_bytes=self.max_cached_bytes,
        )

    def _decodable(self, split: str, listing: Listing) -> Listing:
        """Leave out the images that cannot be decoded, and name them in the log."""
        broken = self._images(f"{split}-all", listing).undecodable()
        for file, reason in broken.items():
            _log.warning("%s: %s is left out: %s", self.name, self.folder / file, reason)
        if broken:
            _log.warning("%s: %d of %d images of %s are left out", self.name, len(broken), len(listing.files), split)
        pairs = zip(listing.files, listing.classes, strict=True)
        return _listing([(file, name) for file, name in pairs if file not in broken])


def scan(folder: Path, split: str) -> Listing:
    """List the images in `folder/split/<class>/`, except hidden ones; empty if there are none.

    Raises:
        BenchError: A name has control characters, which could make two listings look the same; or it is not a file.
    """
    pairs = []
    for class_folder in _entries(folder / split):
        for file in _entries(class_folder):
            if file.suffix.lower() in SUFFIXES:
                _require_readable(class_folder.name, file)
                pairs.append((f"{split}/{class_folder.name}/{file.name}", class_folder.name))
    return _listing(sorted(pairs))


def _listing(pairs: Sequence[tuple[str, str]]) -> Listing:
    """Make a Listing from pairs of file and class."""
    return Listing(tuple(file for file, _ in pairs), tuple(name for _, name in pairs))


def _require_readable(class_name: str, file: Path) -> None:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in class_name + file.name):  # line breaks; bytes not UTF-8
        raise BenchError(f"{str(file)!r}: names of classes and images must be printable UTF-8; rename it.")
    if not os.path.isfile(file):
        raise BenchError(f"{file} is not a file (a folder, a pipe, or a broken link); remove it.")


def _entries(folder: Path) -> list[Path]:
    """Return what a folder contains except hidden entries; nothing if it is not a folder."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
