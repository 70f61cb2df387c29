"""The pictures of CIFAR-10 recompressed as JPEG: slightly worse ones, and never to be called CIFAR-10.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; here as JPEG files of quality
    75 with halved chroma.
Note:  Numbers lie below those on true CIFAR-10 (`cifar10`) and must not stand beside them. Mean and std are
    computed from the decoded training images.

Shapes: 50,000 + 10,000 images, (3, 32, 32) each, 10 classes.
"""

from pathlib import Path

from bench_core import Dataset, DataSpec, Split, hookimpl
from bench_core.data import (
    ImageFolder,
    Subsets,
    missing_data,
    subset,
    subset_counts,
)

DIGEST = "sha256:55ed7336ab371b28fbd3a5c0ccb61a1cb1b4c100bb6b4b259f8d4d8c5f6923e0"  # of the folder, computed


class CIFAR10JPEG(Dataset):
    """Recompressed CIFAR-10, under `cifar10-jpeg/{train,test}/<class>` of the data root."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Look at nothing yet."""
        self.config, self.images = config, ImageFolder("cifar10_jpeg", root / "cifar10-jpeg", 32)

    def spec(self) -> DataSpec:
        """Counts under the config."""
        return DataSpec(
            shape=(3, 32, 32),
            splits=subset_counts(self.config, 50_000, 10_000),
            num_classes=10,
            mean=(0.4913, 0.4821, 0.4465),
            std=(0.2452, 0.2428, 0.2606),
        )

    def digest(self) -> str:
        """Of the paths and bytes of all images, which `load` compares."""
        return DIGEST

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them."""
        found = self.images.digest()
        if found != DIGEST:
            why = f"its content ({found}) differs from what is known under this name ({DIGEST})"
            raise missing_data("cifar10_jpeg", self.images.folder, why, fetch=False)
        return subset(self.config, split, self.images.load)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"cifar10_jpeg": CIFAR10JPEG}
