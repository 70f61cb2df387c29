"""CIFAR-10, CIFAR-100, SVHN and STL-10, through torchvision.

Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; Netzer et al., NeurIPS
    workshop, 2011, http://ufldl.stanford.edu/housenumbers; Coates, Lee, Ng, AISTATS 2011,
    https://cs.stanford.edu/~acoates/stl10
Note:  torchvision compares the published md5 sum of each file each time before it is read, which matters for
    CIFAR: those files are pickles. Mean and std are the constants in common use, not computed here. SVHN is without its
    `extra` part, STL-10 without its unlabelled images.

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
    """What is known of a dataset before it is there."""

    name: str
    torchvision: str  # its class
    below: str  # of the data root: what torchvision is given as root
    folder: str  # of the data root: where the files are
    md5: tuple[str, ...]  # published: of the archive, or of the files where there is none
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
    """Photographs of 10 kinds of animals and vehicles, 32 x 32, under `cifar-10-batches-py` of the data root."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Look at nothing yet."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Counts under the config."""
        return _spec(_CIFAR10, self.config)

    def digest(self) -> str:
        """Of the published md5 sum of the archive."""
        return digest_of(*_CIFAR10.md5)

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them."""
        return subset(self.config, split, lambda name: _whole(_CIFAR10, self.root, name))

    def download(self) -> None:
        """Fetch what is missing, and check it."""
        _fetch(_CIFAR10, self.root)


class CIFAR100(Dataset):
    """Photographs of 100 kinds of things, 32 x 32, under `cifar-100-python` of the data root."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Look at nothing yet."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Counts under the config."""
        return _spec(_CIFAR100, self.config)

    def digest(self) -> str:
        """Of the published md5 sum of the archive."""
        return digest_of(*_CIFAR100.md5)

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them; labels are the 100 fine ones."""
        return subset(self.config, split, lambda name: _whole(_CIFAR100, self.root, name))

    def download(self) -> None:
        """Fetch what is missing, and check it."""
        _fetch(_CIFAR100, self.root)


class SVHN(Dataset):
    """House numbers cut out of street views, 32 x 32, under `svhn` of the data root; digit 0 has label 0."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Look at nothing yet."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Counts under the config."""
        return _spec(_SVHN, self.config)

    def digest(self) -> str:
        """Of the published md5 sums of both files."""
        return digest_of(*_SVHN.md5)

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them."""
        return subset(self.config, split, lambda name: _whole(_SVHN, self.root, name))

    def download(self) -> None:
        """Fetch what is missing, and check it."""
        _fetch(_SVHN, self.root)


class STL10(Dataset):
    """Photographs of 10 kinds of animals and vehicles, 96 x 96, under `stl10_binary` of the data root."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Look at nothing yet."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Counts under the config."""
        return _spec(_STL10, self.config)

    def digest(self) -> str:
        """Of the published md5 sum of the archive."""
        return digest_of(*_STL10.md5)

    def load(self, split: str) -> Split:
        """`train` (5,000) and `test` (8,000), or what the config makes of them."""
        return subset(self.config, split, lambda name: _whole(_STL10, self.root, name))

    def download(self) -> None:
        """Fetch what is missing, and check it."""
        _fetch(_STL10, self.root)


def _spec(facts: _Facts, config: Subsets) -> DataSpec:
    return DataSpec(
        shape=(3, facts.side, facts.side),
        splits=subset_counts(config, facts.num_train, facts.num_test),
        num_classes=facts.num_classes,
        mean=facts.mean,
        std=facts.std,
        views=facts.views,
    )


def _whole(facts: _Facts, root: Path, name: str) -> Split:
    try:
        opened = _open(facts, root, name)
    except RuntimeError as error:
        why = "files are missing, or their md5 sums differ from the published ones"
        raise missing_data(facts.name, root / facts.folder, why, fetch=True) from error
    images = opened.data
    if images.shape[-1] == 3:  # CIFAR comes as (N, H, W, C)
        images = images.transpose(0, 3, 1, 2)
    labels = opened.targets if hasattr(opened, "targets") else opened.labels
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.asarray(labels, dtype=np.int64)))


def _fetch(facts: _Facts, root: Path) -> None:
    with fetching(facts.name, root / facts.folder):
        for name in ("train", "test"):
            _open(facts, root, name, download=True)


def _open(facts: _Facts, root: Path, name: str, *, download: bool = False) -> Any:
    """What torchvision makes of it; RuntimeError where files are missing or their sums differ."""
    from torchvision import datasets  # costs seconds: only where it is used

    part = {"train": name == "train"} if facts.name.startswith("cifar") else {"split": name}
    return getattr(datasets, facts.torchvision)(str(root / facts.below), **part, download=download)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"cifar10": CIFAR10, "cifar100": CIFAR100, "svhn": SVHN, "stl10": STL10}
