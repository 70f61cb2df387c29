"""Any folder of images: `PATH/{train,test}/<class>/<image>`, or deeper.

Source: the layout of torchvision.datasets.ImageFolder, once for each split.
Note:  Images are turned upright by their EXIF orientation (torchvision's datasets do not do that), transparent pixels
    are composed on white, and the centre square is resized. Up to 4 GiB of decoded images are decoded once and kept as
    an array; more are decoded each time they are read. Mean and std are the usual ones of ImageNet.

Shapes: (3, size, size); (1, size, size) if `grey`. Values are uint8, or float32 in [0, 1].
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench_core import Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import (
    ImageFolder,
    Subsets,
    subset,
    subset_counts,
)
from bench_core.errors import shown


@dataclass(frozen=True, kw_only=True)
class ImageFolderConfig(Subsets):
    """Parameters of the folder: its path, and how images are decoded."""

    path: str = param(
        "image_folder",
        "folder with `train` and `test`: absolute, or below the data root",
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

    def __post_init__(self) -> None:
        """Check ranges, and that the depth is `auto` or from 8 to 16."""
        super().__post_init__()
        if self.depth != "auto" and self.depth not in range(8, 17):
            raise ValueError(f"depth must be 'auto' or a whole number from 8 to 16, got {shown(self.depth)}")


class ImageFolderDataset(Dataset):
    """Your own images, one folder for each class.

    Reads all images below `PATH/{train,test}/<class>/` and decodes them to one size.
    """

    Config = ImageFolderConfig
    revision = 2

    def __init__(self, root: Path, config: ImageFolderConfig) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.config = config
        folder = root / os.path.expanduser(config.path)
        skip = config.undecodable == "skip"
        depth = None if config.depth == "auto" else config.depth
        self.images = ImageFolder(
            "image_folder", folder, config.size, grey=config.grey, skip_undecodable=skip, depth=depth,
            floats=config.values == "float",
        )  # fmt: skip

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts.

        The files are listed. Those without the suffix of an image are opened for their first bytes, and all if some
        may be skipped.

        Raises:
            DataMissingError: There are no images, or the folders are not what they should be.
        """
        counts = {name: len(listing.files) for name, listing in self.images.listings.items()}
        return DataSpec(
            shape=self.images.shape,
            splits=subset_counts(self.config, **counts),
            num_classes=len(self.images.classes),
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


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"image_folder": ImageFolderDataset}
