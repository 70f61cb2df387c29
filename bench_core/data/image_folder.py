"""Labelled images in folders: `root/{train,test}/<class>/.../<image>`."""

import logging
import unicodedata
from collections.abc import Collection
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import torch

from bench_core.contracts import Split
from bench_core.data.files import digest_of, missing_data
from bench_core.data.image_depth import depth_of_train
from bench_core.data.image_files import ImageFiles
from bench_core.data.image_listing import Listing, scan
from bench_core.data.image_pixels import Way
from bench_core.errors import DataMissingError, shown

_log = logging.getLogger("bench")


class ImageFolder:
    """A folder of labelled images, decoded to one size.

    Classes are the folders under `train`, numbered in sorted order; their images may lie in folders below them.
    `bench_core.data.image_files` decodes and caches the images.
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
        depth: int | None = 16,
        floats: bool = False,
        way: Way = "exact",
    ) -> None:
        """Keep the arguments; no file is read yet.

        Args:
            name: Name of the dataset, for messages.
            folder: Folder that contains `train` and `test`.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
            skip_undecodable: Leave out images that cannot be decoded and name them in the log; the digest is then that
                of the other images. If False, loading a split with such an image raises DataMissingError.
            max_cached_bytes: If the array of a split is larger, its images are decoded when they are read.
            depth: Number of bits of the values in images whose header says 16 bits, 8 to 16; None takes the smallest
                that holds the largest value of `train`. Other images are decoded as they are.
            floats: Decode to float32 in [0, 1] instead of uint8, so that values of 16 bits are kept.
            way: How JPEG files are decoded, see `image_pixels`; only `exact` goes with `floats`.
        """
        self.name, self.folder, self.size, self.grey, self.depth = name, folder, size, grey, depth
        self.skip_undecodable, self.max_cached_bytes, self.floats = skip_undecodable, max_cached_bytes, floats
        self.way = way
        self._trust_cache = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one decoded image."""
        return (1 if self.grey else 3, self.size, self.size)

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """Listings of both splits, by name; says in the log how many files are passed over.

        Raises:
            DataMissingError: A split or a class has no images, two classes of a split have one name, or a class of
                `test` does not exist in `train`.
        """
        listings = {split: self._listing(split) for split in ("train", "test")}
        train, test = listings["train"].folders, listings["test"].folders
        known = {_normal(name) for name in train}
        unknown = [name for name in test if _normal(name) not in known]
        if unknown:
            others = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise DataMissingError(
                f"{self.name}: {self.folder}: class {shown(unknown[0])} of test does not exist under train{others}"
                f"{_meant(unknown[0], train)} Rename the folder, or remove it."
            )
        return listings

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the label of an image is the position of its class in this list."""
        return sorted(set(self.listings["train"].classes))

    def check_files(self) -> None:
        """Read all files again for the digest, also those that the cache has seen before."""
        self._trust_cache = False
        for name in ("listings", "_files", "_depth"):
            self.__dict__.pop(name, None)

    def digest(self) -> str:
        """Return the digest of paths and contents of all images; it does not depend on the size they are decoded to."""
        return digest_of(*(self._files[split].content for split in ("train", "test")))

    def load(self, split: str) -> Split:
        """Load `train` or `test`: images (N, C, size, size) in memory, or a Reader if they are too large."""
        numbers = {_normal(name): label for label, name in enumerate(self.classes)}
        label_of = {name: numbers[_normal(name)] for name in set(self.listings[split].classes)}
        labels = torch.tensor([label_of[name] for name in self.listings[split].classes])
        return Split(self._files[split].load(self._depth), labels)

    @cached_property
    def _files(self) -> dict[str, ImageFiles]:
        return {split: self._images(split, listing) for split, listing in self.listings.items()}

    @cached_property
    def _depth(self) -> int:
        """Number of bits of the values in images whose header says 16 bits, for both splits."""
        if self.depth is not None:
            return self.depth
        return depth_of_train(self.name, self._files["train"].brightest())

    def _listing(self, split: str) -> Listing:
        """List one split, say what is passed over, and refuse classes that have no images or one name."""
        listing = scan(self.name, self.folder, split, trust_cache=self._trust_cache)
        if listing.passed_over:
            _log.warning(
                "%s: passed over in %s, as hidden or no image: %s; the first is %s",
                self.name, split, f"{len(listing.passed_over):,}", shown(listing.passed_over[0]),
            )  # fmt: skip
        if self.skip_undecodable:
            listing = self._decodable(split, listing)
        if not listing.files:
            why = "has no images; expected one folder of images for each class"
            raise missing_data(self.name, self.folder / split, why, fetch=False)
        with_images, seen = set(listing.classes), dict[str, str]()
        for name in listing.folders:
            if name not in with_images:
                why = f"class {shown(name)} has no images; put some there, or remove the folder"
                raise DataMissingError(f"{self.name}: {self.folder / split}: {why}.")
            twin = seen.setdefault(_normal(name), name)
            if twin != name:
                why = f"{twin!a} and {name!a} are one name in two spellings of Unicode; merge the folders"
                raise DataMissingError(f"{self.name}: {self.folder / split}: {why}.")
        return listing

    def _images(self, part: str, listing: Listing) -> ImageFiles:
        return ImageFiles(
            self.name,
            self.folder,
            part,
            listing.files,
            self.size,
            grey=self.grey,
            max_cached_bytes=self.max_cached_bytes,
            trust_stamps=self._trust_cache,
            floats=self.floats,
            way=self.way,
        )

    def _decodable(self, split: str, listing: Listing) -> Listing:
        """Leave out the images that cannot be decoded, and name them in the log."""
        broken = self._images(f"{split}-all", listing).undecodable()
        for file, reason in broken.items():
            _log.warning("%s: %s is left out: %s", self.name, self.folder / file, reason)
        if broken:
            _log.warning("%s: %d of %d images of %s are left out", self.name, len(broken), len(listing.files), split)
        return listing.without(list(broken))


def _normal(name: str) -> str:
    """Return a class's name in the spelling of Unicode (NFC) in which names are compared.

    A name with an accent that was copied from a Mac may have the accent as a character of its own.
    """
    return unicodedata.normalize("NFC", name)


def _meant(name: str, known: Collection[str]) -> str:
    """Return "; did you mean 'cat'?" if a class has nearly this name, else a full stop."""
    loosely = {_loose(other): other for other in known}
    close = get_close_matches(_loose(name), loosely, n=1)  # what is equal comes first
    return f"; did you mean {shown(loosely[close[0]])}?" if close else "."


def _loose(name: str) -> str:
    """Return a name without blanks at its ends, in lower case."""
    return _normal(name).strip().casefold()
