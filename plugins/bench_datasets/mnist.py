"""MNIST and Fashion-MNIST, from the files that torchvision downloads.

Source: LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998; Xiao, Rasul, Vollgraf, 2017,
    https://arxiv.org/abs/1708.07747
Note:  torchvision downloads the files. We read them ourselves (`bench_core.data.mnist_files` says why). MNIST's
    unpacked files are checked against their published md5 sums. Of Fashion-MNIST only the sums of the archives are
    published: the archives are read if they exist, else the unpacked files.

Shapes: 60,000 + 10,000 images, (1, 28, 28) each, 10 classes.
"""

import gzip
from pathlib import Path

from bench_core import Dataset, DataSpec, Split, hookimpl
from bench_core.data import (
    MNIST_COUNTS,
    MNIST_FILES,
    MNISTFiles,
    Subsets,
    digest_of,
    fetching,
    idx_images,
    idx_labels,
    missing_data,
    read_checked,
    subset,
    subset_counts,
)

FASHION_MD5 = {  # of the archives
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


class MNIST(Dataset):
    """70,000 handwritten digits, 28 x 28 pixels.

    10 classes, grey, under `MNIST/raw` of the data root.
    """

    Config = Subsets
    licence = MNISTFiles.licence

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.files, self.config = MNISTFiles("mnist", root), config

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; mean and std are those of all training images, computed by us."""
        return DataSpec(
            shape=(1, 28, 28),
            splits=subset_counts(self.config, **MNIST_COUNTS),
            num_classes=10,
            mean=(0.1307,),
            std=(0.3081,),
            views="glyph",
        )

    def digest(self) -> str:
        """Return the SHA-256 of the published md5 sums, which `load` checks."""
        return self.files.digest()

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self.files.load)

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        self.files.download()


class FashionMNIST(Dataset):
    """70,000 clothes of 10 classes, 28 x 28 pixels.

    Grey photographs, under `FashionMNIST/raw` of the data root.
    """

    Config = Subsets
    licence = "MIT, Zalando SE, https://github.com/zalandoresearch/fashion-mnist"

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.root, self.raw, self.config = root, root / "FashionMNIST" / "raw", config

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; mean and std are the usual constants, not computed by us."""
        return DataSpec(
            shape=(1, 28, 28),
            splits=subset_counts(self.config, 60_000, 10_000),
            num_classes=10,
            mean=(0.2860,),
            std=(0.3530,),
        )

    def digest(self) -> str:
        """Return the SHA-256 of the archives' published md5 sums; of the unpacked files if an archive was deleted."""
        for archive in FASHION_MD5:
            unpacked = archive.removesuffix(".gz")
            if not (self.raw / archive).exists() and (self.raw / unpacked).exists():
                return digest_of(*(self._file(file) for pair in MNIST_FILES.values() for file in pair))
        return digest_of(*FASHION_MD5.values())

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def download(self) -> None:
        """Download missing files through torchvision, and check the archives."""
        from torchvision import datasets  # here, because importing it takes seconds

        with fetching("fashion_mnist", self.raw):
            datasets.FashionMNIST(str(self.root), download=True)
        self._whole("train")
        self._whole("test")

    def _whole(self, name: str) -> Split:
        """Read all of `train` or `test`; check the lengths, because unpacked files have no published sum."""
        images, labels = MNIST_FILES[name]
        pixels, classes = self._file(images), self._file(labels)
        if len(classes) <= 8 or len(pixels) != 16 + (len(classes) - 8) * 28 * 28:
            why = f"{images} and {labels} do not have one image for each label, delete them"
            raise missing_data("fashion_mnist", self.raw, why, fetch=True)
        return Split(idx_images(pixels), idx_labels(classes))

    def _file(self, name: str) -> bytes:
        """Read an unpacked file: from its archive, after a check, if there is one."""
        archive = self.raw / f"{name}.gz"
        if archive.exists():
            return gzip.decompress(read_checked("fashion_mnist", archive, FASHION_MD5[archive.name]))
        return read_checked("fashion_mnist", self.raw / name, None)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"mnist": MNIST, "fashion_mnist": FashionMNIST}
