"""Two folders of images that pair by name: `photos/cat/7.jpg` belongs to `sketches/cat/7.png`.

Source: ours; folders of classes as in torchvision.datasets.ImageFolder.
Note:  A pair is two files with the same path below their folders, without the suffix. If the files lie in sub-folders,
    the first sub-folder is the class. There are no folders for train and test: a part of each class is drawn for the
    test split. Images are decoded as those of `image_folder`, and all are held in memory.

Shapes: (3, size, size) each image; (1, size, size) if `grey`.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bench_core import ConfigError, DataMissingError, Dataset, DataSpec, Split, param
from bench_core.data import ImageFiles, Pair, Subsets, digest_of, draw_index, missing_data, subset, take
from bench_core.errors import shown

from .left_out import counts_without, refuse_pooling, without

_log = logging.getLogger("bench")
NAME = "paired_folders"
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder
LARGEST = 1 << 40  # bytes of an array of decoded images: no limit but that of the memory


@dataclass(frozen=True, kw_only=True)
class PairedFoldersConfig(Subsets):
    """Parameters of the folders: their paths, how files pair, and how images are decoded."""

    first: str = param(
        "pairs/first", "folder of the first images: absolute, or below the data root", "ours: any place", in_key=False
    )
    second: str = param(
        "pairs/second", "folder of the second images: absolute, or below the data root", "ours: any place", in_key=False
    )
    size: int = param(64, "side of the decoded images, in pixels", "ours: small enough for a CPU", ge=1)
    grey: bool = param(False, "decode images to one grey channel", "ours: photographs have colour")
    unpaired: Literal["refuse", "skip"] = param(
        "refuse", "images without a partner: refuse the dataset, or skip them", "ours"
    )
    test_share: float = param(0.2, "part of the pairs that becomes the test split, drawn evenly", "ours", gt=0, lt=1)
    left_out: tuple[str, ...] = param(
        (), "names of classes that train has no items of; test has them", "ours: search among unseen classes"
    )
    views: Literal["natural", "glyph"] = param(
        "natural",
        "'glyph' if mirroring or recolouring an image changes its meaning; views then leave these out",
        "ours: photographs do",
    )

    def __post_init__(self) -> None:
        """Check ranges, and that no class is left out where train and test are pooled."""
        super().__post_init__()
        refuse_pooling(self.num_queries, self.left_out)


class Listing(NamedTuple):
    """The pairs of two folders, sorted by name.

    Attributes:
        first: Paths of the first images, relative to their folder.
        second: Paths of their partners, relative to the other folder.
        classes: Name of the class of each pair; empty if the files lie in no sub-folders.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    classes: tuple[str, ...]


class PairedFolders(Dataset):
    """Your own pairs: two folders, paired by name.

    Files with the same path below both folders, without the suffix, are a pair; sub-folders are classes.
    """

    Config = PairedFoldersConfig

    def __init__(self, root: Path, config: PairedFoldersConfig) -> None:
        """Keep root and config; no file is read before `spec`, `load` or `digest`."""
        self.config = config
        self.folders = [root / os.path.expanduser(path) for path in (config.first, config.second)]
        self._trust_stamps = True

    def spec(self) -> DataSpec:
        """Return modalities, classes and counts. The files are listed.

        Raises:
            DataMissingError: A folder is missing or has no images, or an image has no partner.
            ConfigError: `left_out` names no class.
        """
        labels, tested = self._labels, self._tested
        if labels is None:
            counts = [int((~tested).sum())]
        else:
            counts = torch.bincount(labels[~tested], minlength=len(self._classes)).tolist()
        splits = counts_without(self.config, counts, int(tested.sum()), self._left_out)
        shape = (1 if self.config.grey else 3, self.config.size, self.config.size)
        num_classes = None if labels is None else len(self._classes)
        image = DataSpec(shape=shape, splits=splits, num_classes=num_classes, views=self.config.views)
        modalities = {"first": image, "second": image}
        return DataSpec(shape=(), splits=splits, num_classes=num_classes, kind="pairs", modalities=modalities)

    def digest(self) -> str:
        """Return the SHA-256 of the paths and bytes of all images that have a partner."""
        return digest_of(*(files.content for files in self._files))

    def check_files(self) -> None:
        """Read all images again for `digest`, also those that the cache has seen before."""
        self._trust_stamps = False
        for name in ("_listing", "_files"):
            self.__dict__.pop(name, None)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def _whole(self, name: str) -> Split:
        first, second = (files.load() for files in self._files)
        index = (self._tested if name == "test" else ~self._tested).nonzero().squeeze(1)
        part = take(Split(Pair(first, second), self._labels), index)
        return without(part, self._left_out if name == "train" else ())

    @cached_property
    def _listing(self) -> Listing:
        return list_pairs(self.folders, skip_unpaired=self.config.unpaired == "skip")

    @cached_property
    def _files(self) -> list[ImageFiles]:
        return [
            ImageFiles(
                NAME, folder, f"{NAME}-{part}", files, self.config.size,
                grey=self.config.grey, max_cached_bytes=LARGEST, trust_stamps=self._trust_stamps,
            )
            for part, folder, files in zip(
                ("first", "second"), self.folders, (self._listing.first, self._listing.second), strict=True
            )
        ]  # fmt: skip

    @property
    def _classes(self) -> list[str]:
        return sorted(set(self._listing.classes))

    @property
    def _labels(self) -> Tensor | None:
        number = {name: label for label, name in enumerate(self._classes)}
        return torch.tensor([number[name] for name in self._listing.classes]) if number else None

    @property
    def _tested(self) -> Tensor:
        """Tell for each pair (N,) whether it is in the test split."""
        count = len(self._listing.first)
        tested = torch.zeros(count, dtype=torch.bool)
        tested[draw_index(self._labels, count, min(max(1, round(count * self.config.test_share)), count - 1))] = True
        return tested

    @property
    def _left_out(self) -> list[int]:
        for name in self.config.left_out:
            if name not in self._classes:
                known = ", ".join(self._classes) or "there are none, as the images lie in no sub-folders"
                raise ConfigError(f"left_out names {shown(name)}, which is no class. Classes: {known}.")
        return [self._classes.index(name) for name in self.config.left_out]


def list_pairs(folders: Sequence[Path], *, skip_unpaired: bool) -> Listing:
    """List the images of two folders that have a partner.

    Args:
        folders: The two folders.
        skip_unpaired: Leave out images without a partner, and say in the log how many.

    Raises:
        DataMissingError: A folder is missing, there are less than two pairs, an image has no partner, two images have
            one name, or some images lie in sub-folders and others do not.
    """
    first, second = (_images(folder) for folder in folders)
    alone = [folders[0] / first[name] for name in sorted(first.keys() - second.keys())]
    alone += [folders[1] / second[name] for name in sorted(second.keys() - first.keys())]
    if alone and not skip_unpaired:
        raise DataMissingError(
            f"{NAME}: {len(alone)} images have no partner, the first is {alone[0]}. Add the missing files under the "
            f"same name, or skip such images: --set {NAME}.unpaired=skip"
        )
    if alone:
        _log.warning("%s: %d images have no partner and are left out; the first is %s", NAME, len(alone), alone[0])
    names = sorted(first.keys() & second.keys())
    if len(names) < 2:
        raise DataMissingError(f"{NAME}: {folders[0]} and {folders[1]} have {len(names)} pairs; there must be two.")
    classes = tuple(PurePosixPath(name).parts[0] for name in names if "/" in name)
    if classes and len(classes) < len(names):
        alone_name = next(name for name in names if "/" not in name)
        raise DataMissingError(
            f"{NAME}: {folders[0] / first[alone_name]} lies in no sub-folder, but other images do; sub-folders are "
            "classes. Move it into one, or all images out of them."
        )
    return Listing(tuple(first[name] for name in names), tuple(second[name] for name in names), classes)


def _images(folder: Path) -> dict[str, str]:
    """Return the images below a folder: path without the suffix -> path, both relative and with forward slashes."""
    if not folder.is_dir():
        raise missing_data(NAME, folder, "is no folder", fetch=False)
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or path.suffix.lower() not in SUFFIXES:
            continue
        name = relative.with_suffix("").as_posix()
        if name in found:
            raise DataMissingError(f"{NAME}: {folder / found[name]} and {path} have one name; remove one of them.")
        found[name] = relative.as_posix()
    return found
