"""Handwritten digits of 8 x 8 pixels that come with scikit-learn: real data without a download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    https://doi.org/10.24432/C50P49 (its test part), as `sklearn.datasets.load_digits` has it.
Note:  Grey levels 0..16 become 0..255. The split is ours: 1,257 to train on and 540 to test on, each class
    divided in the same proportion. The source's writers are not known here, so writers are on both sides.

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
    ranks,
    subset,
    subset_counts,
    take,
)

NUM_TRAIN, NUM_TEST = 1257, 540


class Digits(Dataset):
    """1,797 digits, bundled."""

    Config = Subsets

    def __init__(self, root: Path, config: Subsets) -> None:
        """Keep the config; nothing lies under `root`."""
        self.config = config

    def spec(self) -> DataSpec:
        """Counts under the config; mean and std of all training images, computed."""
        return DataSpec(
            shape=(1, 8, 8),
            splits=subset_counts(self.config, NUM_TRAIN, NUM_TEST),
            num_classes=10,
            mean=(0.3056,),
            std=(0.3764,),
            views="glyph",
        )

    def digest(self) -> str:
        """Of images and labels as this scikit-learn has them."""
        whole = _whole()
        assert isinstance(whole.inputs, torch.Tensor)
        assert whole.labels is not None
        return digest_of(whole.inputs, whole.labels)

    def load(self, split: str) -> Split:
        """`train` and `test`, or what the config makes of them."""
        return subset(self.config, split, _part)


@cache
def _whole() -> Split:
    from sklearn.datasets import load_digits  # costs a second: only where it is used

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    return Split(torch.from_numpy(images), torch.from_numpy(bunch.target.astype(np.int64)))


def _part(name: str) -> Split:
    """Stratified: shuffled, then ordered by relative rank within the class; the first 540 are the test."""
    whole = _whole()
    assert whole.labels is not None
    order = np.random.RandomState(0).permutation(len(whole))  # its stream is frozen across numpy's versions
    classes = whole.labels.numpy()[order]
    place = (ranks(classes) + 0.5) / np.bincount(classes)[classes]
    order = order[np.argsort(place, kind="stable")]
    return take(whole, torch.from_numpy(np.sort(order[:NUM_TEST] if name == "test" else order[NUM_TEST:])))


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"digits": Digits}
