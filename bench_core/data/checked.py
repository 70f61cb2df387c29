"""Splits that agree with what their dataset declares: loaded for use, and refused where they do not agree.

Numbers of wrong data look like numbers. So a run loads every split through `load_split`. `bench check` makes the same
comparisons (`split_faults.py`).
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.contracts import Dataset, DataSpec, Split
from bench_core.data.files import missing_data
from bench_core.data.mapped import shared
from bench_core.data.split_faults import CHECKED_WHEN_READ, read_fault, split_fault
from bench_core.errors import DataMissingError

# Errors of writing a dataset's cache, not of reading its data.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def load_split(dataset: Dataset, spec: DataSpec, name: str, cache: Path | None = None) -> Split:
    """Load one split of a dataset and check it.

    Labels, factors, sizes and inputs in memory are checked now, items of a Reader when they are read first. Large
    inputs in memory become memory maps, so that processes share them (`mapped.py`).

    Args:
        dataset: The dataset.
        spec: Its description, with the dataset's `name`.
        name: Name of the split.
        cache: Folder of the memory maps that `--data-cache` names; None takes the usual one.

    Raises:
        DataMissingError: The split is missing, cannot be read, or is not as the description says.
    """
    dataset_name = spec.name or type(dataset).__name__
    where = f"dataset {dataset_name}, split {name!r}"
    try:
        with reading_data(dataset_name):
            split = dataset.load(name)
    except DataMissingError as error:
        if dataset_name in str(error):
            raise
        raise DataMissingError(f"{where}: {error}") from error
    if fault := split_fault(split, spec, name):
        raise DataMissingError(f"{where}: {fault}")
    inputs: Any = split.inputs
    if not hasattr(inputs, "read") or spec.kind not in CHECKED_WHEN_READ:
        return shared(split, cache)
    checked = _CheckedStream if hasattr(inputs, "stream") else _CheckedReader
    return Split(checked(inputs, spec, where), split.labels, split.factors)


@contextmanager
def reading_data(name: str) -> Iterator[None]:
    """Turn an operating system's error, such as a folder that may not be read, into a DataMissingError.

    Args:
        name: Name of the dataset whose methods are called in the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _CANNOT_WRITE:
            raise
        where = Path(str(error.filename or "its files"))
        raise missing_data(name, where, f"cannot be read ({error.strerror or error})", fetch=False) from error


class _CheckedReader:
    """Items of a Reader, each checked when it is read first."""

    def __init__(self, items: Any, spec: DataSpec, where: str) -> None:
        """Check nothing yet.

        Args:
            items: The Reader or SequentialReader of a dataset.
            spec: The dataset's description.
            where: Dataset and split, for the error.
        """
        self._items, self._spec, self._where = items, spec, where
        self._unread = torch.ones(len(items), dtype=torch.bool)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._items)

    def read(self, index: Tensor) -> Any:
        """Read items; DataMissingError if one that was not read before is not as the dataset declares."""
        return self._checked(self._items.read(index), index)

    def _checked(self, items: Any, index: Tensor) -> Any:
        if bool(self._unread[index].any()):
            if fault := read_fault(items, index, self._spec):
                raise DataMissingError(f"{self._where}: {fault}")
            self._unread[index] = False
        return items


class _CheckedStream(_CheckedReader):
    """Items of a SequentialReader, each checked when it is read first."""

    def order(self, rng: torch.Generator) -> Tensor:
        """Return the order of a shuffled pass."""
        order: Tensor = self._items.order(rng)
        return order

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Any]:
        """Read the inputs of each chunk; errors as `read`."""
        for index, items in zip(chunks, self._items.stream(chunks), strict=True):
            yield self._checked(items, index)
