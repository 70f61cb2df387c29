"""Upper and lower halves of MNIST's digits: two images of one thing that share no pixel.

Source: the files of MNIST (LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86(11), 1998); cut in two as for deep CCA
    (Andrew, Arora, Bilmes, Livescu, ICML 2013, http://proceedings.mlr.press/v28/andrew13.html), which has left and
    right halves.

Shapes: 60,000 + 10,000 pairs, (1, 14, 28) each half, 10 classes.
"""

from pathlib import Path

from torch import Tensor

from bench_core import Dataset, DataSpec, Split
from bench_core.data import MNIST_COUNTS, MNISTFiles, Pair, subset

from .left_out import DigitSubsets, counts_without, without

TRAIN_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)  # of each class, counted in the files
ROWS = 14  # of a half


class MNISTHalves(Dataset):
    """Upper and lower halves of MNIST's digits.

    10 classes, grey, 14 x 28 pixels a half, under `MNIST/raw` of the data root.
    """

    Config = DigitSubsets
    licence = MNISTFiles.licence

    def __init__(self, root: Path, config: DigitSubsets) -> None:
        """Keep root and config; no file is read before `load`."""
        self.files, self.config = MNISTFiles("mnist_halves", root), config

    def spec(self) -> DataSpec:
        """Return modalities, classes and counts; mean and std are those of all training images, computed by us."""
        splits = counts_without(self.config, TRAIN_COUNTS, MNIST_COUNTS["test"], self.config.left_out)
        upper, lower = (
            DataSpec(shape=(1, ROWS, 28), splits=splits, num_classes=10, mean=(mean,), std=(std,), views="glyph")
            for mean, std in ((0.1228, 0.2996), (0.1385, 0.3162))
        )
        return DataSpec(
            shape=(), splits=splits, num_classes=10, kind="pairs", modalities={"upper": upper, "lower": lower}
        )

    def digest(self) -> str:
        """Return the SHA-256 of MNIST's published md5 sums, which `load` checks."""
        return self.files.digest()

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, self._whole)

    def download(self) -> None:
        """Download missing files through torchvision, and check all four files."""
        self.files.download()

    def _whole(self, name: str) -> Split:
        whole = self.files.load(name)
        assert isinstance(whole.inputs, Tensor)
        halves = Pair(whole.inputs[:, :, :ROWS], whole.inputs[:, :, ROWS:])
        return without(Split(halves, whole.labels), self.config.left_out if name == "train" else ())
