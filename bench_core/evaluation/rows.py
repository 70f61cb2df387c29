"""Features that are read in blocks, so that a task on more of them than memory holds copies one block at a time.

An embedding is a memory map of its file. To scale, reorder or select its items would copy all of it into memory; `Rows`
keeps the copy as a description instead, and computes a part of it where the part is needed. Up to `ONE_BLOCK` entries
features are plain tensors. Whether they are, and how long a block is, follows from their shape alone, so the numbers
of a task are the same on every machine, whatever its memory.

Shapes: N items, D features, n items of a block.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from bench_core.store.tensors import load_tensors, tensor_rows

ONE_BLOCK = 2**23  # entries of features up to which they are held as plain tensors: 32 MiB
BLOCK = 2**20  # entries of a block: 4 MiB, which stay in the caches of a processor


@dataclass(frozen=True)
class Rows:
    """A matrix (N, D) float32 that is computed in blocks from a larger tensor, which may be a memory map.

    Attributes:
        values: Features (M, D).
        index: Positions (N,) int64 in `values` of the rows; None for all.
        mean: Mean (D,) float64 that is subtracted; None for none.
        scale: Factors (D,) float64 of what is left; given with `mean`.
        memory: Bytes that code may use to keep what it computed from blocks; None for any number. Results do not
            depend on it.
    """

    values: Tensor
    index: Tensor | None = None
    mean: Tensor | None = None
    scale: Tensor | None = None
    memory: int | None = None

    def __len__(self) -> int:
        """Return the number of items N."""
        return len(self.values if self.index is None else self.index)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (N, D)."""
        return len(self), self.values.shape[1]

    def __getitem__(self, index: Tensor) -> "Features":
        """Return the rows of a mask (N,) bool or of positions (n,) int64, in order."""
        position = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        chosen = replace(self, index=position if self.index is None else self.index[position])
        return chosen.read(0, len(chosen)) if is_small(*chosen.shape) else chosen

    def read(self, start: int, end: int) -> Tensor:
        """Return some consecutive rows, (n, D) float32."""
        rows = self.values[start:end] if self.index is None else self.values[self.index[start:end]]
        if self.mean is None or self.scale is None:
            return rows.float()
        return ((rows.double() - self.mean) * self.scale).float()

    def blocks(self, entries: int | None = None) -> Iterator[Tensor]:
        """Yield all rows in order, in blocks (n, D) float32 of at most so many entries (`BLOCK`), or of one row."""
        for start, end in spans(*self.shape, entries):
            yield self.read(start, end)

    def standardised_as(self, train: "Rows") -> "Rows":
        """Return rows with each feature scaled to mean 0 and standard deviation 1 of the rows of `train`.

        Features that are constant on `train` become 0.
        """
        mean = train.average()
        squares = ((block.double() - mean).square().sum(0) for block in train.blocks())
        mean, scale = scaling(mean, (_total(squares) / len(train)).sqrt())
        return replace(self, mean=mean, scale=scale)

    def average(self) -> Tensor:
        """Return the mean (D,) float64 of each feature."""
        return _total(block.double().sum(0) for block in self.blocks()) / len(self)

    def is_finite(self) -> bool:
        """Return True if no entry is NaN or infinite."""
        return all(bool(block.isfinite().all()) for block in self.blocks())


Features = Tensor | Rows
"""Features (N, D): a tensor, or `Rows` where there are too many for one block."""


def is_small(items: int, dims: int) -> bool:
    """Return True if features of this shape are held as a plain tensor.

    Those with more features than items are, too: code that works on them needs a matrix of that size anyway.
    """
    return items * dims <= ONE_BLOCK or items <= dims


def as_features(values: Tensor, index: Tensor | None = None, memory: int | None = None) -> Features:
    """Return features (N, D) as a tensor where they are small, else as `Rows`.

    Args:
        values: Features (M, D), perhaps a memory map.
        index: Positions (N,) int64 of the items; None for all.
        memory: As for `Rows`.
    """
    rows = Rows(values, index, memory=memory)
    if not is_small(*rows.shape):
        return rows
    return values if index is None else values[index]


def gathered(batches: Iterable[Mapping[str, Tensor]], items: int) -> dict[str, Tensor]:
    """Join features that come in batches: name -> (N, D).

    Up to `ONE_BLOCK` entries they are tensors in memory. Larger ones are written to a temporary file as they come, and
    mapped; the file has no name any more and goes with the tensors.

    Args:
        batches: Name -> some rows (n, ...) of the features of this name, with the same names in each batch.
        items: Number of items N.
    """
    upcoming = iter(batches)
    first = next(upcoming)
    batches = itertools.chain([first], upcoming)
    if items * sum(values.shape[1:].numel() for values in first.values()) <= ONE_BLOCK:
        parts = list(batches)
        return {name: torch.cat([part[name] for part in parts]) for name in first}
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # of Windows, which deletes no file that is mapped
        path = Path(folder) / "features.safetensors"
        with tensor_rows(path, items) as file:
            for batch in batches:
                file.append(batch)
        return load_tensors(path)


def spans(items: int, dims: int, entries: int | None = None) -> list[tuple[int, int]]:
    """Return first and last position + 1 of each block of at most so many entries (`BLOCK`), or of one row."""
    size = max(1, (entries or BLOCK) // max(1, dims))
    return [(start, min(start + size, items)) for start in range(0, items, size)]


def blocks_of(features: Features, entries: int | None = None) -> Iterator[tuple[int, int, Tensor]]:
    """Yield first and last position + 1 of each block, and its rows; a tensor is one block as it is."""
    if isinstance(features, Tensor):
        yield 0, len(features), features
        return
    for start, end in spans(*features.shape, entries):
        yield start, end, features.read(start, end)


def scaling(mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean to subtract and the factors that give each feature deviation 1, (D,) float64.

    A constant feature gets the factor 0; its deviation, below 1e-6 of its mean, is a rounding error of float32.

    Args:
        mean: Means (D,) float64.
        deviation: Standard deviations (D,) float64.
    """
    constant = deviation <= 1e-6 * mean.abs()
    return mean, torch.where(constant, 0.0, 1 / deviation.where(~constant, torch.ones_like(deviation)))


def _total(values: Iterable[Tensor]) -> Tensor:
    """Return the sum of tensors of one shape, in float64."""
    return sum(values, torch.zeros((), dtype=torch.float64))


def keeps(bytes_needed: int, memory: int | None) -> bool:
    """Return True if code may keep so many bytes: half of the memory, as the rest of the task needs some, too."""
    return bytes_needed <= (math.inf if memory is None else memory / 2)
