"""Image folders: `root/{train,test}/<class>/<image>`."""

import logging
import os
import unicodedata
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
    """The images of one split, sorted by path.

    Attributes:
        files: Relative to the folder, with forward slashes.
        classes: Name of the class of each file.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]


class ImageFolder:
    """The images under one folder, at one size.

    Classes are the folders under `train`, numbered in sorted order. How images are decoded and kept:
    `bench_core.data.image_files`.
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
        """Look at nothing yet.

        Args:
            name: Of the dataset, for messages.
            folder: Holds `train` and `test`.
            size: Side of the decoded images, in pixels.
            grey: One channel for three.
            skip_undecodable: Images that cannot be decoded are left out, counted and named in the log, so that the
                digest is of the others; else they are refused when the split is loaded.
            max_cached_bytes: A split whose array would be larger is decoded as it is read.
        """
        self.name, self.folder, self.size, self.grey = name, folder, size, grey
        self.skip_undecodable, self.max_cached_bytes = skip_undecodable, max_cached_bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one decoded image."""
        return (1 if self.grey else 3, self.size, self.size)

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """Both splits; DataMissingError where one has no image."""
        found = {split: scan(self.folder, split) for split in ("train", "test")}
        if self.skip_undecodable:
            found = {split: self._decodable(split, listing) for split, listing in found.items()}
        for split, listing in found.items():
            if not listing.files:
                why = "has no images; they are looked for in one folder a class"
                raise missing_data(self.name, self.folder / split, why, fetch=False)
        unknown = sorted(set(found["test"].classes) - set(found["train"].classes))
        if unknown:
            raise BenchError(f"{self.folder / 'test'}: class {unknown[0]!r} does not exist under train")
        return found

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the label is the position."""
        return sorted(set(self.listings["train"].classes))

    def digest(self) -> str:
        """Of the paths and bytes of all images, whatever size they are decoded to."""
        return digest_of(*(self._files[split].content for split in ("train", "test")))

    def load(self, split: str) -> Split:
        """`train` or `test`: uint8 (N, C, size, size) in memory, or a Reader where that is too large."""
        number = {name: k for k, name in enumerate(self.classes)}
        labels = torch.tensor([number[c] for c in self.listings[split].classes])
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
        """Without the images that cannot be decoded, which the log names."""
        broken = self._images(f"{split}-all", listing).undecodable()
        for file, why in broken.items():
            _log.warning("%s: %s is left out: %s", self.name, self.folder / file, why)
        if broken:
            _log.warning("%s: %d of %d images of %s are left out", self.name, len(broken), len(listing.files), split)
        kept = [(f, c) for f, c in zip(listing.files, listing.classes, strict=True) if f not in broken]
        return Listing(tuple(f for f, _ in kept), tuple(c for _, c in kept))


def scan(folder: Path, split: str) -> Listing:
    """What images lie in `folder/split/<class>/`, hidden ones passed over; empty where there is nothing.

    Raises:
        BenchError: One has a name that no digest tells from two, or is no file.
    """
    found = []
    for group in _entries(folder / split):
        for file in _entries(group) if group.is_dir() else ():
            if file.suffix.lower() in SUFFIXES:
                _refuse_odd(group.name, file)
                found.append((f"{split}/{group.name}/{file.name}", group.name))
    found.sort()
    return Listing(tuple(file for file, _ in found), tuple(name for _, name in found))


def _refuse_odd(group: str, file: Path) -> None:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in group + file.name):  # line breaks; what is no UTF-8
        raise BenchError(f"{str(file)!r}: names of classes and images must be printable UTF-8; give it another.")
    if not os.path.isfile(file):
        raise BenchError(f"{file} is no file (a folder, a pipe, or a link that leads nowhere); take it out.")


def _entries(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []
