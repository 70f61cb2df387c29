"""Your own images of bands, in the layout of EuroSAT, BigEarthNet or SSL4EO-S12.

Source: the layouts of three public datasets. Helber et al., 2019, https://github.com/phelber/EuroSAT; Sumbul et al.,
    2019, https://bigearth.net; Wang et al., 2023, https://github.com/zhu-xlab/SSL4EO-S12 (2156913,
    datasets/SSL4EO/ssl4eo_dataset.py: files of one band each, resized to the largest, values over 10000).
Note:  Bands of a coarser resolution are resized to that of the finest. Values are divided by `scale` and cut to [0, 1].
    Without the files train.txt and test.txt, the hash of an image's name decides its split, so that splits are ours
    and no published ones. All times of a place are in one split. Mean and std are those of 500 images of train, unless
    they are given. BigEarthNet's labels are the names in its JSON files; the reduced list of 19 is not made here.

Shapes: N images of (C, H, W), float32 in [0, 1]; C chosen bands. Labels are classes, multi-hot, or None.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bench_core import ConfigError, DataMissingError, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import ImageFiles, Subsets, digest_of, subset, subset_counts
from bench_core.errors import did_you_mean, shown

from .layouts import LABELS, NAME, Layout, Scene, find_layout, find_scenes
from .raster import SceneReader
from .splits import SPLITS, split_scenes

_log = logging.getLogger("bench")
MAX_BYTES_IN_MEMORY = 4 << 30  # of a larger split, images are read from their files each time
_MEASURED = 500  # images of train whose mean and std are taken
_DARK = 0.02  # a set whose largest value is below this was divided by a wrong scale


@dataclass(frozen=True, kw_only=True)
class MultibandConfig(Subsets):
    """Parameters of the folder: its path and layout, and how bands are read."""

    path: str = param(
        "multiband", "folder of the images: absolute, or below the data root", "ours: any place", in_key=False
    )
    layout: Literal["auto", "eurosat", "bigearthnet", "ssl4eo"] = param(
        "auto",
        "eurosat: CLASS/NAME.tif; bigearthnet: PATCH/PATCH_BAND.tif; ssl4eo: PLACE/TIME/BAND.tif; auto: by the first "
        "folder",
        "ours",
    )
    bands: tuple[int | str, ...] = param(
        (), "bands to read, in this order, by name or by number from 0; none: all", "ours: all of them"
    )
    size: int | None = param(
        None, "side of the centred square after resizing, in pixels; none: images as they are", "ours", ge=1
    )
    scale: float = param(
        10000.0, "value that becomes 1; larger ones are cut", "Sentinel-2: 10000 is a reflectance of 1", gt=0
    )
    season: int | Literal["all"] = param(
        0, "ssl4eo: which of the sorted times of each place, from 0, or all as images of their own", "ours"
    )
    test_share: float = param(
        0.2, "part of the names that a hash puts into test, where train.txt and test.txt do not say", "ours", gt=0, lt=1
    )
    mean: tuple[float, ...] | None = param(
        None, "mean of each chosen band, after scaling; none: of 500 images of train", "ours: of the data"
    )
    std: tuple[float, ...] | None = param(
        None, "standard deviation of each chosen band, after scaling; none: of the same", "ours: of the data", gt=0
    )

    def __post_init__(self) -> None:
        """Check ranges, that no season is negative, and that mean and std are given together."""
        super().__post_init__()
        if self.season != "all" and self.season < 0:
            raise ValueError(f"season must be >= 0 or 'all', got {self.season}")
        if wrong := [band for band in self.bands if not isinstance(band, str) and band < 0]:
            raise ValueError(f"bands must be names or numbers from 0, got {wrong[0]}")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"give mean and std, or neither: {shown(self.mean)} and {shown(self.std)}")


class Multiband(Dataset):
    """Your own images of many bands.

    Reads GeoTIFF (with the package tifffile) or numpy files from a folder in the layout of EuroSAT (one file for each
    image), BigEarthNet or SSL4EO-S12 (one file for each band).
    """

    Config = MultibandConfig

    def __init__(self, root: Path, config: MultibandConfig) -> None:
        """Keep root and config; no file is read before `spec`, `load` or `digest`."""
        self.config = config
        self.folder = root / os.path.expanduser(config.path)
        self._trust_stamps = True

    def spec(self) -> DataSpec:
        """Return shapes, labels and counts. Files are listed, and some images of train are read for mean and std.

        Raises:
            DataMissingError: There are no images, or they are not what they should be.
            ConfigError: There is no band of a name, or mean and std have another number of bands.
        """
        counts = {name: len(scenes) for name, scenes in self._splits.items()}
        mean, std = self._mean_and_std
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != self._shape[0]:
                raise ConfigError(f"multiband.{name} has {len(values)} values, but there are {self._shape[0]} bands.")
        one_class = self._layout == "eurosat"
        return DataSpec(
            shape=self._shape,
            splits=subset_counts(self.config, **counts),
            num_classes=len(self._names) if one_class else None,
            num_labels=len(self._names) if self._names and not one_class else None,
            mean=mean,
            std=std,
            views="bands",
        )

    def digest(self) -> str:
        """Return the SHA-256 of the paths and bytes of all bands and labels, with the split of each image."""
        split_of = "\n".join(f"{name} {scene.place}" for name in SPLITS for scene in self._splits[name])
        return digest_of(*(self._files(name).content for name in SPLITS), split_of)

    def check_files(self) -> None:
        """Read all files again for `digest`, also those that the cache has seen before."""
        self._trust_stamps = False
        for name in ("_layout", "_splits", "_bands", "_shape", "_mean_and_std", "_names"):
            self.__dict__.pop(name, None)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        part = subset(self.config, split, self._unread)
        C, H, W = self._shape
        if len(part) * C * H * W * 4 > MAX_BYTES_IN_MEMORY:
            return part
        return Split(part.read(torch.arange(len(part))), part.labels)

    def _unread(self, name: str) -> Split:
        """Return a whole split whose images are read later."""
        scenes = self._splits[name]
        return Split(self._reader(scenes), self._labels(scenes))

    def _labels(self, scenes: Sequence[Scene]) -> Tensor | None:
        """Return classes (N,), multi-hot labels (N, L), or None where labels are not known."""
        if not self._names:
            return None
        column = {name: number for number, name in enumerate(self._names)}
        labels = torch.zeros(len(scenes), len(column), dtype=torch.bool)
        for row, scene in enumerate(scenes):
            labels[row, [column[label] for label in scene.labels]] = True
        return labels.long().argmax(1) if self._layout == "eurosat" else labels

    def _reader(self, scenes: Sequence[Scene]) -> SceneReader:
        return SceneReader(self.folder, scenes, self._bands, self.config.scale, self.config.size)

    def _files(self, name: str) -> ImageFiles:
        """Return the files of a split, for their digest; labels of patches are among them."""
        scenes = self._splits[name]
        files = [file for scene in scenes for file in scene.files]
        if self._layout == "bigearthnet":
            files += [f"{scene.place}/{scene.place}{LABELS}" for scene in scenes]
        return ImageFiles(NAME, self.folder, f"bands-{name}", files, 1, trust_stamps=self._trust_stamps)

    @cached_property
    def _layout(self) -> Layout:
        layout = self.config.layout
        return find_layout(self.folder) if layout == "auto" else layout

    @cached_property
    def _splits(self) -> dict[str, list[Scene]]:
        scenes = find_scenes(self.folder, self._layout, self.config.season)
        return split_scenes(self.folder, scenes, self.config.test_share)

    @cached_property
    def _names(self) -> list[str]:
        """Sorted names of all labels; empty where labels are not known.

        Raises:
            DataMissingError: Train has no image with one of them.
        """
        train, test = ({label for scene in self._splits[name] for label in scene.labels} for name in SPLITS)
        if unknown := sorted(test - train):
            raise DataMissingError(
                f"{NAME}: {self.folder}: no image of train has the label {shown(unknown[0])}, which test has. Write "
                "train.txt and test.txt, or set multiband.test_share."
            )
        return sorted(train)

    @cached_property
    def _bands(self) -> list[int] | None:
        """Numbers of the bands to read, or None for all.

        Raises:
            ConfigError: There is no band of a name or number.
        """
        names = [name for name in self._splits["train"][0].bands if name]
        chosen = list[int]()
        for band in self.config.bands:
            if isinstance(band, str) and band not in names:
                there = f"Bands: {', '.join(names)}." if names else "Bands of one file have numbers from 0, no names."
                raise ConfigError(f"multiband.bands: no band named {band!r}{did_you_mean(band, names)} {there}")
            chosen.append(names.index(band) if isinstance(band, str) else band)
        if names and (wrong := [number for number in chosen if number >= len(names)]):
            raise ConfigError(
                f"multiband.bands: there is no band {wrong[0]}; the last has the number {len(names) - 1}."
            )
        return chosen or None

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of the images, which is that of the first image of train."""
        return tuple(self._reader(self._splits["train"][:1]).read(torch.tensor([0])).shape[1:])

    @cached_property
    def _mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each band, given or of images of train at equal distances."""
        if self.config.mean is not None and self.config.std is not None:
            return self.config.mean, self.config.std
        train = self._splits["train"]
        chosen = torch.linspace(0, len(train) - 1, min(_MEASURED, len(train))).long()
        values = self._reader(train).read(chosen).transpose(0, 1).flatten(1)
        if float(values.max()) < _DARK:
            _log.warning(
                "%s: the largest value is %.3g after division by multiband.scale = %g; is that the scale of the files?",
                NAME, float(values.max()), self.config.scale,
            )  # fmt: skip
        std, mean = torch.std_mean(values.double(), 1, correction=0)
        return _rounded(mean), _rounded(std.clamp(min=1e-4))


def _rounded(values: Tensor) -> tuple[float, ...]:
    """Round to 6 digits, so that the order of sums on a machine does not matter."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {NAME: Multiband}
