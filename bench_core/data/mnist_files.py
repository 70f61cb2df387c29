"""MNIST's four original files, checked by their published md5 sums: for every dataset that is made from MNIST.

Source: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998.
Note:  torchvision downloads the files. We read them ourselves, because torchvision checks the archives only, and
    accepts an old `processed` folder unchecked.

Shapes: N images, (1, 28, 28) each.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench_core.contracts import Split
from bench_core.data.files import digest_of, fetching, missing_data

MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MNIST_MD5 = {  # of the unpacked files
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_COUNTS = {"train": 60_000, "test": 10_000}


class MNISTFiles:
    """The four files of MNIST under `MNIST/raw` of the data root.

    self.files = MNISTFiles("mnist_rotated", root)
    self.files.load("train")

    Attributes:
        licence: What Keras' documentation states; it also names the holders, LeCun and Cortes.
    """

    licence = "CC-BY-SA-3.0, LeCun, Cortes and Burges, MNIST, https://doi.org/10.1109/5.726791"

    def __init__(self, name: str, root: Path) -> None:
        """Keep the arguments; no file is read before `load`.

        Args:
            name: Registered name of the dataset that is made from them, for messages.
            root: Folder that holds all datasets.
        """
        self.name, self.root, self.raw = name, root, root / "MNIST" / "raw"

    def digest(self) -> str:
        """Return the SHA-256 of the published md5 sums, which `load` checks."""
        return digest_of(*MNIST_MD5.values())

    def load(self, split: str) -> Split:
        """Read all of `train` or `test`: uint8 images (N, 1, 28, 28) with classes (N,).

        Raises:
            DataMissingError: A file is missing, or its md5 sum is not the published one.
        """
        images, labels = (read_checked(self.name, self.raw / file, MNIST_MD5[file]) for file in MNIST_FILES[split])
        return Split(idx_images(images), idx_labels(labels))

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        from torchvision import datasets  # here, because importing it takes seconds

        with fetching(self.name, self.raw):
            datasets.MNIST(str(self.root), download=True)
        self.load("train")
        self.load("test")


def read_checked(name: str, path: Path, md5: str | None) -> bytes:
    """Read a file of a dataset and check its md5 sum, if one is given.

    Args:
        name: Registered name of the dataset, for messages.
        path: The file.
        md5: Published md5 sum of the file; None where there is none.

    Raises:
        DataMissingError: The file is missing, or its sum differs.
    """
    if not path.exists():
        raise missing_data(name, path, "does not exist", fetch=True)
    data = path.read_bytes()
    if md5 is not None and hashlib.md5(data).hexdigest() != md5:
        raise missing_data(name, path, "its md5 differs from the published one, delete it", fetch=True)
    return data


def idx_images(data: bytes) -> Tensor:
    """Parse images in IDX format: 16 bytes of header (magic number, items, rows, columns), then the pixels.

    Returns:
        (N, 1, 28, 28) uint8.
    """
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())


def idx_labels(data: bytes) -> Tensor:
    """Parse labels in IDX format: 8 bytes of header (magic number, items), then one byte for each item.

    Returns:
        (N,) int64.
    """
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=8).astype(np.int64))
