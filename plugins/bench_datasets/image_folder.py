"""Any folder of images: `PATH/{train,test}/<class>/<image>`.

Source: the layout of torchvision.datasets.ImageFolder, once for each split.
Note:  Images are cut to their centre square and resized. What fits into 4 GiB is decoded once and kept as an
    array; more is decoded as it is read. Mean and std are those of ImageNet in common use.

Shapes: (3, size, size), or (1, size, size) where grey.
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


@dataclass(frozen=True, kw_only=True)
class ImageFolderConfig(Subsets):
    """Where the images are, and what becomes of them."""

    path: str = param(
        "image_folder",
        "folder that holds train and test, below the data root or absolute",
        "ours: any place",
        in_key=False,
    )
    size: int = param(224, "side of the decoded images, in pixels", "ours: usual for ImageNet")
    grey: bool = param(False, "decode to one channel", "ours: photographs have colour")
    undecodable: Literal["refuse", "skip"] = param(
        "refuse", "images that cannot be decoded; skip: the digest is of the others", "ours", added=True
    )
    views: Literal["natural", "glyph"] = param(
        "natural", "whether mirrored, recoloured images keep their meaning", "ours: photographs do"
    )

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        if self.size < 1:
            raise ValueError(f"size must be >= 1, got {self.size}")


class ImageFolderDataset(Dataset):
    """Your own images."""

    Config = ImageFolderConfig

    def __init__(self, root: Path, config: ImageFolderConfig) -> None:
        """Look at nothing yet."""
        self.config = config
        folder = root / os.path.expanduser(config.path)
        skip = config.undecodable == "skip"
        self.images = ImageFolder("image_folder", folder, config.size, grey=config.grey, skip_undecodable=skip)

    def spec(self) -> DataSpec:
        """Lists the files, opens none unless some may be skipped; DataMissingError where there are none."""
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
        """Of the paths and bytes of all images."""
        return self.images.digest()

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them."""
        return subset(self.config, split, self.images.load)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"image_folder": ImageFolderDataset}
