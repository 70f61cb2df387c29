"""Encoder, Objective, Dataset, Evaluator, and what passes between them.

The four classes are interfaces: a plugin's class stands directly below one of them and is final. Each has a
`Config`, a frozen keyword-only dataclass which is the only place where a default stands, and a `revision`,
which rises when the numbers it leads to may change. What is here only grows (`bench_core.API`).

Shapes: N items, C channels, H x W pixels, D features, L labels, F factors.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from bench_core.config import NoConfig


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What a dataset says of itself before any of it is read.

    Attributes:
        shape: Of one input; (C, H, W) for images.
        splits: Number of items of each split. `train` is what methods are trained on.
        num_classes: Of single-label data, None where there are no classes.
        num_labels: Of multi-hot labels (N, L), None elsewhere.
        mean: Per channel, of inputs in [0, 1]; encoders standardise with it.
        std: Per channel.
        factors: Of generated data: each ground-truth factor, in the order of `Split.factors`, and its number of values.
        name: Under which the dataset is registered; the plan fills it in, for tasks that read other data sets too.
        views: Which changes keep the meaning of an image: "natural" (crop, mirror, colour) or "glyph"
            (small affine changes and noise; a mirrored 5 is not a 5).
    """

    shape: tuple[int, ...]
    splits: Mapping[str, int]
    num_classes: int | None = None
    num_labels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    factors: Mapping[str, int] | None = None
    name: str | None = None
    views: Literal["natural", "glyph"] = "natural"

    @property
    def is_image(self) -> bool:
        """Whether one input is (C, H, W)."""
        return len(self.shape) == 3

    @property
    def num_train(self) -> int:
        """Items that a method is trained on."""
        return self.splits["train"]


class Reader(Protocol):
    """Inputs that do not lie in memory as one tensor: a folder of large images, graphs, pairs."""

    def __len__(self) -> int:
        """Number of items."""

    def read(self, index: Tensor) -> Any:
        """Inputs at index (N,) int64: a tensor (N, ...) or an object with `.to(device)`; uint8 means images."""


@dataclass(frozen=True)
class Split:
    """One part of a dataset.

    Attributes:
        inputs: Images as uint8 (N, C, H, W), any other tensor (N, ...), or a Reader.
        labels: (N,) int64 classes, or (N, L) bool, or None.
        factors: (N, F) int64 ground-truth factors of generated data, each from 0, or None.
    """

    inputs: Tensor | Reader
    labels: Tensor | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        """Number of items."""
        return len(self.inputs)


class Dataset(abc.ABC):
    """Named splits of inputs, with labels and factors where there are any."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1

    @abc.abstractmethod
    def __init__(self, root: Path, config: Any) -> None:
        """Look at nothing yet.

        Args:
            root: Folder under which data sets lie (`--data-root`).
            config: An instance of `Config`.
        """

    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """Shapes, counts and classes, without decoding the data; DataMissingError where it must be looked at."""

    @abc.abstractmethod
    def digest(self) -> str:
        """SHA-256 (or the published sums) of the content: two copies with one digest give the same numbers."""

    @abc.abstractmethod
    def load(self, split: str) -> Split:
        """Read one split. Raises DataMissingError, which says where it was looked for and what to type."""

    def download(self) -> None:  # noqa: B027  # most that are not fetched have nothing to do here
        """Fetch what is missing and check its digest; the default has nothing to fetch."""
