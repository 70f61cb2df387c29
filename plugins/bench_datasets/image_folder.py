"""Any folder of images: `PATH/{train,test}/<class>/<image>`, or deeper; without classes, splits, or with a table.

Source: the layout of torchvision.datasets.ImageFolder, once for each split. The other layouts are ours: no split,
    no classes, or a table of paths with labels.
Note:  Images are turned upright by their EXIF orientation (torchvision's datasets do not do that), transparent pixels
    are composed on white, and the centre square is resized. Up to 4 GiB of decoded images are decoded once and kept as
    an array; more are decoded each time they are read, unless `resized_copy` asks for a file of them all. Mean and
    std are the usual ones of ImageNet.

Shapes: (3, size, size); (1, size, size) if `grey`. Values are uint8, or float32 in [0, 1].
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from bench_core import Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import (
    DrawnTest,
    ImageFolder,
    ImagePool,
    ImageTable,
    Subsets,
    is_one_pool,
    subset,
    subset_counts,
)
from bench_core.errors import ConfigError, shown

KEPT_BYTES = 4 << 30  # of decoded images, without being asked for


@dataclass(frozen=True, kw_only=True)
class ImageFolderConfig(Subsets):
    """Parameters of the folder: its path, and how images are decoded."""

    path: str = param(
        "image_folder",
        "folder with `train` and `test`, or of images: absolute, or below the data root",
        "ours: any place",
        in_key=False,
    )
    size: int = param(224, "side of the decoded images, in pixels", "ours: usual for ImageNet", ge=1)
    grey: bool = param(False, "decode images to one grey channel", "ours: photographs have colour")
    depth: int | Literal["auto"] = param(
        "auto",
        "bits of the values in images of 16 bits, 8 to 16; auto: the least that hold the brightest of train",
        "ours: cameras of 10 to 14 bits store their values as they are",
        added=True,
    )
    values: Literal["uint8", "float"] = param(
        "uint8",
        "how pixels are kept: uint8 rounds to 256 levels, float keeps images of 16 bits as they are, in 4 bytes",
        "ours: photographs have 8 bits",
        added=True,
    )
    decode: Literal["exact", "scaled", "gpu"] = param(
        "exact",
        "exact: whole images; scaled: large JPEG files at a part of their size, faster; gpu: JPEG files on CUDA",
        "ours: the same pixels whatever the size of the files",
        added=True,
    )
    resized_copy: bool = param(
        False,
        "keep all decoded images in a file, however large (size x size x 3 bytes each); False: up to 4 GiB",
        "ours: disks are not asked for hundreds of GiB unsaid",
        in_key=False,
    )
    undecodable: Literal["refuse", "skip"] = param(
        "refuse",
        "images that cannot be decoded: refuse the dataset, or skip them (the digest is of the others)",
        "ours",
        added=True,
    )
    views: Literal["natural", "glyph"] = param(
        "natural",
        "'glyph' if mirroring or recolouring an image changes its meaning; views then leave these out",
        "ours: photographs do",
    )
    labels: Literal["auto", "none", "single", "multi"] = param(
        "auto",
        "none: leave classes out; single: one class an image; multi: several labels, from a table; auto: what is there",
        "ours",
        added=True,
    )
    test_share: float | None = param(
        None,
        "share of images to test on where nothing splits them; none: all but train_size, or 0.2 without that",
        "ours: usual",
        gt=0,
        lt=1,
        added=True,
    )
    split_seed: int = param(0, "seed of the draw of the test part", "ours", ge=0, added=True)
    table: str | None = param(
        None,
        "CSV or parquet file with a row for each image: absolute, or below the path; none: all images of the folder",
        "ours: folders say it",
        in_key=False,
    )
    path_column: str = param("path", "column of the table with paths below the folder", "ours", added=True)
    label_columns: tuple[str, ...] = param(
        ("label",),
        "columns of the table with labels: one with a class or `a;b`, or several with 0 and 1",
        "ours",
        added=True,
    )
    factor_columns: tuple[str, ...] = param((), "columns of the table with known factors", "ours: none", added=True)
    split_column: str | None = param(
        "split", "column of the table with train or test, if it has that column; none: draw", "ours", added=True
    )

    def __post_init__(self) -> None:
        """Check ranges, the depth, and that what only a table can say comes with a table."""
        super().__post_init__()
        if self.table is None and (self.labels == "multi" or self.factor_columns):
            what = "labels = 'multi' needs" if self.labels == "multi" else "factor_columns needs"
            raise ValueError(f"{what} a table: set image_folder.table to a CSV or parquet file")
        if self.decode != "exact" and self.values == "float":
            raise ValueError(f"decode = {self.decode!r} rounds to 256 levels; leave it out, or set values to 'uint8'")
        if self.depth != "auto" and self.depth not in range(8, 17):
            raise ValueError(f"depth must be 'auto' or a whole number from 8 to 16, got {shown(self.depth)}")


class ImageFolderDataset(Dataset):
    """Your own images, with or without classes.

    Reads all images below `PATH/{train,test}/<class>/`, or all below PATH, or those of a table, and decodes them to one
    size.
    """

    Config = ImageFolderConfig
    revision = 2

    def __init__(self, root: Path, config: ImageFolderConfig) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.config, self.folder = config, root / os.path.expanduser(config.path)

    @cached_property
    def images(self) -> ImageFolder | ImagePool:
        """The images as the folder's layout has them; a few folders are listed to find out."""
        config = self.config
        skip = config.undecodable == "skip"
        depth = None if config.depth == "auto" else config.depth
        floats = config.values == "float"
        most = 1 << 62 if config.resized_copy else KEPT_BYTES
        if config.table is None and config.labels != "none" and not is_one_pool(self.folder):
            if config.test_share is not None:
                raise ConfigError(
                    f"image_folder: {self.folder} has folders train and test; leave test_share out, or set "
                    "image_folder.path to another folder."
                )
            return ImageFolder(
                "image_folder", self.folder, config.size, grey=config.grey, skip_undecodable=skip, depth=depth,
                floats=floats, way=config.decode, max_cached_bytes=most,
            )  # fmt: skip
        sizes = config.train_size if config.num_queries is None else None  # queries are drawn from both parts
        return ImagePool(
            "image_folder", self.folder, config.size, labels=config.labels, table=self._table(),
            test_part=DrawnTest(config.test_share, sizes, config.split_seed), grey=config.grey, skip_undecodable=skip,
            depth=depth, floats=floats, way=config.decode, max_cached_bytes=most,
        )  # fmt: skip

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts.

        The files are listed. Those without the suffix of an image are opened for their first bytes, and all if some
        may be skipped.

        Raises:
            DataMissingError: There are no images, or the folders are not what they should be.
        """
        images = self.images
        if isinstance(images, ImageFolder):
            counts = {name: len(listing.files) for name, listing in images.listings.items()}
        else:
            counts = images.counts
        return DataSpec(
            shape=images.shape,
            splits=subset_counts(self.config, **counts),
            num_classes=len(images.classes) if isinstance(images, ImageFolder) else images.num_classes,
            num_labels=None if isinstance(images, ImageFolder) else images.num_labels,
            factors=None if isinstance(images, ImageFolder) else images.factors[0],
            mean=None if self.config.grey else (0.485, 0.456, 0.406),
            std=None if self.config.grey else (0.229, 0.224, 0.225),
            views=self.config.views,
        )

    def digest(self) -> str:
        """Return the SHA-256 of the paths and bytes of all images."""
        return self.images.digest()

    def check_files(self) -> None:
        """Read all images again for `digest`."""
        self.images.check_files()

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self.images.load)

    def _table(self) -> ImageTable | None:
        config = self.config
        if config.table is None:
            return None
        file = self.folder / os.path.expanduser(config.table)
        labels = () if config.labels == "none" else config.label_columns
        return ImageTable(file, config.path_column, labels, config.factor_columns, config.split_column)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"image_folder": ImageFolderDataset}
