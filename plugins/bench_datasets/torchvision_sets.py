"""CIFAR-10, CIFAR-100, SVHN and STL-10, read through torchvision.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; Netzer et al., NeurIPS
    workshop, 2011, http://ufldl.stanford.edu/housenumbers; Coates, Lee, Ng, AISTATS 2011,
    https://cs.stanford.edu/~acoates/stl10
Note:  torchvision compares the published md5 sum of each file each time before it reads it. This matters for CIFAR,
    whose files are pickles. Mean and std are the usual constants, not computed by us. SVHN is used without its `extra`
    part, STL-10 without its unlabelled images.

Shapes: (3, 32, 32), STL-10 (3, 96, 96); 10 classes, CIFAR-100 100.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bench_core import Dataset, DataSpec, Split, hookimpl
from bench_core.data import (
    Subsets,
    digest_of,
    fetching,
    missing_data,
    subset,
    subset_counts,
)


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Constants of a dataset.

    Attributes:
        name: Registered name.
        torchvision: Name of torchvision's class.
        below: Folder of the data root that is given to torchvision as root.
        folder: Folder of the data root that has the files.
        md5: Published sums of the archive, or of the files if there is no archive.
        side: Side of an image in pixels.
        num_train: Images of the train split.
        num_test: Images of the test split.
        num_classes: Number of classes.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
        views: "glyph" if mirroring or recolouring changes the meaning of an image.
    """

    name: str
    torchvision: str
    below: str
    folder: str
    md5: tuple[str, ...]
    side: int = 32
    num_train: int = 50_000
    num_test: int = 10_000
    num_classes: int = 10
    mean: tuple[float, ...]
    std: tuple[float, ...]
    views: Literal["natural", "glyph"] = "natural"


_CIFAR10 = _Facts(
    name="cifar10",
    torchvision="CIFAR10",
    below="",
    folder="cifar-10-batches-py",
    md5=("c58f30108f718f92721af3b95e74349a",),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
_CIFAR100 = _Facts(
    name="cifar100",
    torchvision="CIFAR100",
    below="",
    folder="cifar-100-python",
    md5=("eb9058c3a382ffc7106e4002c42a8d85",),
    num_classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
)
_SVHN = _Facts(
    name="svhn",
    torchvision="SVHN",
    below="svhn",
    folder="svhn",
    md5=("e26dedcc434d2e4c54c9b2d4a06d8373", "eb5a983be6a315427106f1b164d9cef3"),
    num_train=73_257,
    num_test=26_032,
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    views="glyph",
)
_STL10 = _Facts(
    name="stl10",
    torchvision="STL10",
    below="",
    folder="stl10_binary",
    md5=("91f7769df0f17e558f3565bffb0c7dfb",),
    side=96,
    num_train=5_000,
    num_test=8_000,
    mean=(0.4467, 0.4398, 0.4066),
    std=(0.2603, 0.2566, 0.2713),
)


class CIFAR10(Dataset):
    """60,000 photos of 10 classes, 32 x 32 pixels.

    Animals and vehicles, under `cifar-10-batches-py` of the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return shapes, classes and the counts that follow from the config."""
        return _spec(_CIFAR10, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the archive's published md5 sum."""
        return digest_of(*_CIFAR10.md5)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, lambda name: _whole(_CIFAR10, self.root, name))

    def download(self) -> None:
        """Download missing files, and check all of them."""
        _fetch(_CIFAR10, self.root)


class CIFAR100(Dataset):
    """60,000 photos of 100 classes, 32 x 32 pixels.

    Animals, plants, objects and scenes, under `cifar-100-python` of the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return shapes, classes and the counts that follow from the config."""
        return _spec(_CIFAR100, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the archive's published md5 sum."""
        return digest_of(*_CIFAR100.md5)

    def load(self, split: str) -> Split:
        """Read one split, as of CIFAR-10; labels are the 100 fine ones."""
        return subset(self.config, split, lambda name: _whole(_CIFAR100, self.root, name))

    def download(self) -> None:
        """Download missing files, and check all of them."""
        _fetch(_CIFAR100, self.root)


class SVHN(Dataset):
    """99,289 digits of house numbers, 32 x 32 pixels.

    10 classes, in colour, cut out of street views, under `svhn` of the data root. Digit 0 has label 0.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return shapes, classes and the counts that follow from the config."""
        return _spec(_SVHN, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of both files' published md5 sums."""
        return digest_of(*_SVHN.md5)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, lambda name: _whole(_SVHN, self.root, name))

    def download(self) -> None:
        """Download missing files, and check all of them."""
        _fetch(_SVHN, self.root)


class STL10(Dataset):
    """13,000 photos of 10 classes, 96 x 96 pixels.

    Animals and vehicles, under `stl10_binary` of the data root.
    """

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return shapes, classes and the counts that follow from the config."""
        return _spec(_STL10, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the archive's published md5 sum."""
        return digest_of(*_STL10.md5)

    def load(self, split: str) -> Split:
        """Read one split: `train` (5,000) or `test` (8,000), or those that the config draws from them."""
        return subset(self.config, split, lambda name: _whole(_STL10, self.root, name))

    def download(self) -> None:
        """Download missing files, and check all of them."""
        _fetch(_STL10, self.root)


def _spec(facts: _Facts, config: Subsets) -> DataSpec:
    """Return shapes, classes and counts."""
    return DataSpec(
        shape=(3, facts.side, facts.side),
        splits=subset_counts(config, facts.num_train, facts.num_test),
        num_classes=facts.num_classes,
        mean=facts.mean,
        std=facts.std,
        views=facts.views,
    )


def _whole(facts: _Facts, root: Path, name: str) -> Split:
    """Read all of `train` or `test`; DataMissingError if files are missing or damaged."""
    try:
        dataset = _open(facts, root, name)
    except RuntimeError as error:
        why = "files are missing, or their md5 sums differ from the published ones"
        raise missing_data(facts.name, root / facts.folder, why, fetch=True) from error
    images = dataset.data
    if images.shape[-1] == 3:  # CIFAR comes as (N, H, W, C)
        images = images.transpose(0, 3, 1, 2)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.asarray(labels, dtype=np.int64)))


def _fetch(facts: _Facts, root: Path) -> None:
    """Download missing files, and check all of them."""
    with fetching(facts.name, root / facts.folder):
        for name in ("train", "test"):
            _open(facts, root, name, download=True)


def _open(facts: _Facts, root: Path, name: str, *, download: bool = False) -> Any:
    """Return torchvision's dataset of one split.

    Raises:
        RuntimeError: Files are missing, or their sums differ.
    """
    from torchvision import datasets  # here, because importing it takes seconds

    part = {"train": name == "train"} if facts.name.startswith("cifar") else {"split": name}
    return getattr(datasets, facts.torchvision)(str(root / facts.below), **part, download=download)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"cifar10": CIFAR10, "cifar100": CIFAR100, "svhn": SVHN, "stl10": STL10}
