"""The datasets of pairs, by name."""

from bench_core import Dataset, hookimpl

from .digit_pairs import DigitPairs
from .mnist_halves import MNISTHalves
from .paired_folders import PairedFolders


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"mnist_halves": MNISTHalves, "digit_pairs": DigitPairs, "paired_folders": PairedFolders}
