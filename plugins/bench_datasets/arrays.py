"""Arrays of your own: images, or features that any model made, from one npz or parquet file.

Source: ours. npz is `numpy.savez`; parquet has one row for each item.
Note:  Classes are numbered in sorted order over all splits. Mean and std are those of `train`. Nothing is unpickled.

Shapes: N items; images (C, H, W) uint8, or float in [0, 1]; features (D,) float.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import digest_of, missing_data, read_arrays
from bench_core.errors import RequestError, shown

VERSION = 1  # of what becomes of the arrays; part of the digest


@dataclass(frozen=True, kw_only=True)
class ArraysConfig(Config):
    """Parameters of the file."""

    path: str = param(
        "arrays.npz", "npz or parquet file: absolute, or below the data root", "ours: any place", in_key=False
    )
    views: Literal["natural", "glyph", "bands"] = param(
        "natural", "which changes keep the meaning of an image; features have none", "ours: photographs"
    )


class Arrays(Dataset):
    """Your own arrays: images, or features of a model.

    Reads the arrays `train`, `train_labels`, `test`, `test_labels`, or other splits, of a npz file; or the columns
    `split`, `label` and `feature` of a parquet file. Labels may be left out.
    """

    Config = ArraysConfig

    def __init__(self, root: Path, config: ArraysConfig) -> None:
        """Keep root and config; no file is read before `spec` or `digest`."""
        self.config, self.file = config, root / os.path.expanduser(config.path)

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts, with mean and std of `train`; the file is read.

        Raises:
            DataMissingError: The file is missing, or its arrays are not what they should be.
        """
        train = self._splits["train"].inputs
        assert isinstance(train, Tensor)
        mean, std = _moments(train)
        labels = [split.labels for split in self._splits.values() if split.labels is not None]
        single = [part for part in labels if part.ndim == 1]
        return DataSpec(
            shape=tuple(train.shape[1:]),
            splits={name: len(split) for name, split in self._splits.items()},
            num_classes=1 + max(int(part.max()) for part in single) if single else None,
            num_labels=labels[0].shape[1] if labels and not single else None,
            mean=mean,
            std=std,
            views=self.config.views,
        )

    def digest(self) -> str:
        """Return the SHA-256 of all values and labels, however the file stores them."""
        parts: list[Tensor | str] = [f"arrays {VERSION}"]
        for name, split in self._splits.items():
            assert isinstance(split.inputs, Tensor)
            parts += [name, split.inputs, "no labels" if split.labels is None else split.labels]
        return digest_of(*parts)

    def check_files(self) -> None:
        """Read the file again."""
        self.__dict__.pop("_splits", None)

    def load(self, split: str) -> Split:
        """Return one split.

        Raises:
            RequestError: No split has this name.
        """
        if split not in self._splits:
            raise RequestError(f"no split named {shown(split)}; there are: {', '.join(self._splits)}.")
        return self._splits[split]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """All splits, by name."""
        if not self.file.is_file():
            raise missing_data("arrays", self.file, "is no file; set arrays.path to a npz or parquet file", fetch=False)
        return read_arrays(self.file)


def _moments(train: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of each channel or feature, of values in [0, 1] for uint8; a std of 0 becomes 1."""
    values = train.numpy().astype(np.float64)
    axes = (0, 2, 3) if train.ndim == 4 else (0,)
    scale = 255 if train.dtype == torch.uint8 else 1
    mean, std = values.mean(axes) / scale, values.std(axes) / scale
    rounded = [tuple(float(f"{value:.6g}") for value in array) for array in (mean, np.where(std > 0, std, 1))]
    return rounded[0], rounded[1]


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"arrays": Arrays}
