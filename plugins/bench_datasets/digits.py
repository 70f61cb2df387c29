"""Handwritten digits of 8 x 8 pixels from scikit-learn: real data without a download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    https://doi.org/10.24432/C50P49 (its test part), as `sklearn.datasets.load_digits` returns it.
Note:  Grey levels 0..16 become 0..255. The split is ours: 1,257 images to train on and 540 to test on, each class
    divided in the same proportion. The writer of an image is not known, so both splits have digits of the same writers.

Shapes: N = 1,797 images, (1, 8, 8) each, 10 classes.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from bench_core import Dataset, DataSpec, Split, hookimpl
from bench_core.data import (
    Subsets,
    digest_of,
    ranks_in_class,
    subset,
    subset_counts,
    take,
)

NUM_TRAIN, NUM_TEST = 1257, 540


class Digits(Dataset):
    """1,797 handwritten digits, 8 x 8 pixels, bundled.

    10 classes, grey; the images come with scikit-learn, and nothing is read from the data root.
    """

    Config = Subsets
    licence = "CC-BY-4.0, Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, https://doi.org/10.24432/C50P49"

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep the config; `root` is not used."""
        self.config = config

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts; mean and std are those of all training images, computed by us."""
        return DataSpec(
            shape=(1, 8, 8),
            splits=subset_counts(self.config, NUM_TRAIN, NUM_TEST),
            num_classes=10,
            mean=(0.3056,),
            std=(0.3764,),
            views="glyph",
        )

    def digest(self) -> str:
        """Return the SHA-256 of images and labels as the installed scikit-learn returns them."""
        whole = _whole()
        assert isinstance(whole.inputs, torch.Tensor)
        assert whole.labels is not None
        return digest_of(whole.inputs, whole.labels)

    def load(self, split: str) -> Split:
        """Read one split: `train` or `test`, or those that the config draws from them."""
        return subset(self.config, split, _part)


@cache
def _whole() -> Split:
    """Return all 1,797 images with their labels."""
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Split(torch.from_numpy(images), torch.from_numpy(bunch.target.astype(np.int64)))


def _part(name: str) -> Split:
    """Return `train` or `test` of the stratified split.

    All images are shuffled, then ordered by their relative rank within their class; the first 540 are the test split.
    """
    whole = _whole()
    assert whole.labels is not None
    order = np.random.RandomState(0).permutation(len(whole))  # this stream is the same in every version of numpy
    classes = whole.labels.numpy()[order]
    relative_rank = (ranks_in_class(classes) + 0.5) / np.bincount(classes)[classes]
    order = order[np.argsort(relative_rank, kind="stable")]
    return take(whole, torch.from_numpy(np.sort(order[:NUM_TEST] if name == "test" else order[NUM_TEST:])))


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"digits": Digits}
