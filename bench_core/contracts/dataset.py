"""Dataset: named splits of items, with labels and ground-truth factors where there are any.

Shapes: N items, C channels, H x W pixels, L labels, F factors.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from torch import Generator, Tensor

from bench_core.config import NoConfig

_KIND_OF_DIMENSIONS = {1: "vector", 3: "image"}
_KINDS_OF_TENSORS = ("", "image", "vector", "other")  # which of them follows from the shape, also after `replace`


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Description of a dataset that is known before its items are read.

    Encoders, methods and tasks get it when they are built, and decide with it whether they can use the dataset.

    Attributes:
        shape: Shape of one input: (C, H, W) for images with any number C of channels, (D,) for vectors, (F,) for
            nodes and for graphs with F features a node, () for pairs.
        splits: Name of each split and its number of items. Methods are trained on `train`.
        num_classes: Number of classes if each item has one label, else None.
        num_labels: Number of labels L if labels are multi-hot (N, L), else None.
        mean: Mean of each channel, of inputs in [0, 1]; encoders standardise with it.
        std: Standard deviation of each channel, in the same units.
        factors: Name of each ground-truth factor and its number of values, in the order of the columns of
            `Split.factors`; None if the factors are not known.
        name: Name under which the dataset is registered. The planner fills it in; tasks that read several datasets
            need it.
        views: Which changes keep the meaning of an image: "natural" (crop, mirror, colour), "glyph" (small affine
            changes and noise; a mirrored 5 is not a 5), or "bands" (crop, mirror, brightness and contrast, but no hue:
            the channels are bands of a spectrum, of which some may be missing).
        kind: Kind of data: "image", "vector", "nodes" (of one graph), "graphs", "pairs", or a name of the plugin's
            own. Where it is left out, a shape of three dimensions is an image, one of one dimension a vector, and any
            other "other". The classes of the inputs are in `bench_core.data`: Nodes, Graphs, Pair.
        modalities: For pairs, the name and description of each of the two modalities, in the order of `Pair`; each
            has a kind of its own.
        transductive: True if training reads the items that are tested, without their labels: the nodes of one graph,
            or a set of graphs without a test part. Rows say so.
        folds: For a dataset without a test part, number of parts K of its parameter `fold`, which tests on one part
            and trains on the others. Methods that use labels are trained K times, once for each value of `fold` from
            0 to K - 1, and their row is the mean.
        information: For pairs made by a formula, the true mutual information of the two modalities in nats; None where
            it is not known.
    """

    shape: tuple[int, ...]
    splits: Mapping[str, int]
    num_classes: int | None = None
    num_labels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    factors: Mapping[str, int] | None = None
    name: str | None = None
    views: Literal["natural", "glyph", "bands"] = "natural"
    kind: str = ""
    modalities: Mapping[str, "DataSpec"] | None = None
    transductive: bool = False
    folds: int | None = None
    information: float | None = None

    def __post_init__(self) -> None:
        """Find the kind from the shape, unless it is another one than those of tensors."""
        if self.kind in _KINDS_OF_TENSORS:
            object.__setattr__(self, "kind", _KIND_OF_DIMENSIONS.get(len(self.shape), "other"))

    @property
    def is_image(self) -> bool:
        """True if one input is an image (C, H, W)."""
        return self.kind == "image"

    @property
    def num_train(self) -> int:
        """Number of items in the train split."""
        return self.splits["train"]


class Items(Protocol):
    """Inputs in memory that are not one tensor: nodes, graphs or pairs of `bench_core.data`, or a class of your own.

    A split holds all of its items as one such object, and a batch holds some of them.
    """

    def __len__(self) -> int:
        """Return the number of items."""

    def select(self, index: Tensor) -> Self:
        """Return the items at index (N,) int64, in that order; an item may be there several times."""

    def to(self, device: Any) -> Self:
        """Return the same items with their tensors on a device."""


class Reader(Protocol):
    """Inputs that are read by index because they are not one tensor in memory: a folder of large images, graphs."""

    def __len__(self) -> int:
        """Return the number of items."""

    def read(self, index: Tensor) -> Any:
        """Read the inputs at index (N,) int64. Called once for each batch, possibly in a worker process.

        Returns:
            A tensor (N, ...), in which images are uint8 or float32 in [0, 1], or any object with `.to(device)`.
        """


class SequentialReader(Reader, Protocol):
    """A Reader whose items lie one after another, such as in tar files: whole passes are read in an order of its own.

    Training shuffles with `order`, and every pass is read by `stream`. `read` is for few items: it may have to read all
    that lies before them.
    """

    def order(self, rng: Generator) -> Tensor:
        """Return the items of one shuffled pass, in an order that can be read at once: a permutation (N,) int64.

        Args:
            rng: Generator on the CPU, from which alone the order follows.
        """

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Any]:
        """Read the inputs of each chunk of items (M,) int64, one chunk after the other; no item comes twice."""


@dataclass(frozen=True)
class Split:
    """One part of a dataset: inputs, and labels and factors where there are any.

    Attributes:
        inputs: Images (N, C, H, W) as uint8, or as float32 in [0, 1]; any other tensor (N, ...); nodes, graphs or
            pairs (Items); or a Reader.
        labels: Classes (N,) int64 from 0 to K - 1, multi-hot labels (N, L) bool, or None.
        factors: Ground-truth factors (N, F) int64, each counted from 0, or None; -1 where a value is not known.
    """

    inputs: Tensor | Items | Reader
    labels: Tensor | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.inputs)

    def read(self, index: Tensor) -> Any:
        """Return the inputs at index (N,) int64, in that order, from a tensor, Items or a Reader."""
        inputs: Any = self.inputs
        if isinstance(inputs, Tensor):
            return inputs[index]
        return inputs.read(index) if hasattr(inputs, "read") else inputs.select(index)


class Dataset(abc.ABC):
    """Interface of datasets: describes its splits without reading them, and reads one split at a time.

    Attributes:
        Config: Dataclass of the parameters; `--set NAME.PARAMETER=` and boards change them.
        revision: Raised when the items may change although digest and parameters do not.
        licence: Name of the items' licence in SPDX's list, then a comma and a word on the source: "CC-BY-4.0, Alpaydin
            and Kaynak, UCI". "" where no licence is known: then pages show no items.
    """

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    licence: ClassVar[str] = ""

    @abc.abstractmethod
    def __init__(self, root: Path, config: Any) -> None:
        """Keep the arguments. Read no file here: datasets are also built to be listed.

        Args:
            root: Folder that holds all datasets (`--data-root`).
            config: An instance of `Config`.
        """

    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """Describe the dataset without decoding its items. Called while a run is planned.

        Raises:
            DataMissingError: Counts or classes are known only from files, and these are missing.
        """

    @abc.abstractmethod
    def digest(self) -> str:
        """Return the SHA-256 of the content, or the published checksums. Called while a run is planned.

        The digest is part of every key, so two copies of the data with one digest must give the same numbers.
        """

    @abc.abstractmethod
    def load(self, split: str) -> Split:
        """Read one split. Called in the process that trains or evaluates.

        A split that is not as `spec` says (number of items, shape, range of labels or of images) is refused.

        Raises:
            DataMissingError: The data is missing; the message names the path that was tried and what to type.
        """

    def check_files(self) -> None:  # noqa: B027  # most datasets read all files anyway
        """Read all files again for `digest`, also those that a cache has seen. Called under `--check-data`."""

    def download(self) -> None:  # noqa: B027  # most datasets that are not fetched have nothing to do here
        """Fetch missing files and check their digests. Called under `--download`; the default does nothing."""
