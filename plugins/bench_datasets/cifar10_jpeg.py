"""CIFAR-10 recompressed as JPEG: a dataset of its own, with slightly worse images than CIFAR-10.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; here as JPEG files of quality
    75 with halved chroma.
Note:  Scores are lower than on the original CIFAR-10 (`cifar10`) and must not be compared with them. Mean and std are
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

DIGEST = "sha256:55ed7336ab371b28fbd3a5c0ccb61a1cb1b4c100bb6b4b259f8d4d8c5f6923e0"  # of the folder, computed by us


class CIFAR10JPEG(Dataset):
    """CIFAR-10 recompressed as JPEG, 32 x 32 pixels.

    60,000 photographs of 10 classes of animals and vehicles. The files lie under `cifar10-jpeg/{train,test}/<class>` of
    the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.config, self.images = config, ImageFolder("cifar10_jpeg", root / "cifar10-jpeg", 32)

    def spec(self) -> DataSpec:
        """Return shapes, classes and the counts that follow from the config."""
        return DataSpec(
            shape=(3, 32, 32),
            splits=subset_counts(self.config, 50_000, 10_000),
            num_classes=10,
            mean=(0.4913, 0.4821, 0.4465),
            std=(0.2452, 0.2428, 0.2606),
        )

    def digest(self) -> str:
        """Return the known SHA-256 of the paths and bytes of all images, which `load` checks."""
        return DIGEST

    def check_files(self) -> None:
        """Read all images again in `load`."""
        self.images.check_files()

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them.

        Raises:
            DataMissingError: The folder is missing or holds other images.
        """
        digest = self.images.digest()
        if digest != DIGEST:
            why = f"its content ({digest}) differs from the known content of this dataset ({DIGEST})"
            raise missing_data("cifar10_jpeg", self.images.folder, why, fetch=False)
        return subset(self.config, split, self.images.load)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"cifar10_jpeg": CIFAR10JPEG}
