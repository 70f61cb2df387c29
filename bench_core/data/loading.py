"""Passes over a split in batches: resident on the device if it fits, else streamed.

A resident split is moved to the device once, still as uint8, and indexed there: no workers, and no copy at each step.
Any other split is read by torch's DataLoader, one batch of indices at a time. Both give the same batches. Nodes of one
graph are always one batch: a step is a pass over the graph. Items that lie in sequence (`SequentialReader`) come in an
order of the reader's own, which a pass draws from the same generator.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from bench_core.contracts import Batch, Split
from bench_core.contracts.dataset import SequentialReader
from bench_core.data.kinds import Nodes, as_float, num_bytes, select
from bench_core.errors import RequestError

# From Python 3.14 on, Linux's default starts workers anew: they would import torch in every pass, and a plugin's Reader
# and a script without a main guard would have to allow it.
_START = "fork" if sys.platform == "linux" else None


class RowSharers(Protocol):
    """Processes that read the rows of a batch together, such as the ranks of a training."""

    rank: int

    def split(self, rows: int) -> list[int]:
        """Return how many of some rows each process has."""

    def gather(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all processes."""


_SHARERS = ContextVar[RowSharers | None]("_SHARERS", default=None)


@contextmanager
def read_by(sharers: RowSharers | None) -> Iterator[None]:
    """Share out the rows of each batch that is read from files, in passes that begin in this block."""
    token = _SHARERS.set(sharers)
    try:
        yield
    finally:
        _SHARERS.reset(token)


class Resident:
    """A split whose inputs lie on the device."""

    def __init__(self, split: Split, device: torch.device) -> None:
        """Move inputs, labels and factors to the device; on the CPU they are not copied.

        Args:
            split: A split whose inputs are a tensor or Items.
            device: Device of the batches.
        """
        assert not hasattr(split.inputs, "read"), "a Reader cannot be resident"
        self._inputs: Any = split.inputs.to(device)
        self._targets = _Targets(split, device)
        self._device = device

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._inputs)

    def step_items(self, batch_size: int) -> int:
        """Return the number of items in a step: all nodes of a graph, else at most `batch_size`."""
        return len(self) if isinstance(self._inputs, Nodes) else min(batch_size, len(self))

    def batches(
        self,
        batch_size: int,
        *,
        rng: torch.Generator | None = None,
        drop_last: bool = False,
        labels: bool = False,
        factors: bool = False,
        skip: int = 0,
    ) -> Iterator[Batch]:
        """Pass over the split once; `open_split` describes the arguments."""
        # The order is copied once for the whole pass: a copy for each batch would wait for the device each time.
        order = _order(len(self), rng).to(self._device)
        if isinstance(self._inputs, Nodes):
            order = order.sort().values
        targets = self._targets.requested(labels, factors)
        chunks = _chunks(order, max(1, self.step_items(batch_size)) if batch_size > 0 else batch_size, drop_last)
        # select copies. A slice would be a view, through which a method could change the data.
        return (Batch(as_float(select(self._inputs, c)), c, *targets.at(c)) for c in chunks[skip:])


class Streamed:
    """A split that is read batch by batch, in workers or in this process."""

    def __init__(self, split: Split, device: torch.device, workers: int) -> None:
        """Keep the arguments; nothing is read yet.

        Args:
            split: A split whose inputs are a Reader, or a tensor in memory.
            device: Device of the batches.
            workers: Number of processes that read ahead; 0 reads in this process.
        """
        self._split = split
        self._targets = _Targets(split, device)
        self._device, self._workers = device, workers

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._split)

    def step_items(self, batch_size: int) -> int:
        """Return the number of items in a step: at most `batch_size`."""
        return min(batch_size, len(self))

    def batches(
        self,
        batch_size: int,
        *,
        rng: torch.Generator | None = None,
        drop_last: bool = False,
        labels: bool = False,
        factors: bool = False,
        skip: int = 0,
    ) -> Iterator[Batch]:
        """Pass over the split once; `open_split` describes the arguments."""
        reader: Any = self._split.inputs
        in_sequence = hasattr(reader, "stream")
        order = reader.order(rng) if in_sequence and rng is not None else _order(len(self), rng)
        chunks = _chunks(order, batch_size, drop_last)[skip:]
        targets = self._targets.requested(labels, factors)
        sharers = _SHARERS.get()
        from_files = hasattr(reader, "read") and not in_sequence
        if sharers and from_files and chunks and isinstance(self._split.read(chunks[0][:1]), Tensor):
            return self._shared_batches(chunks, targets, sharers)
        loader = self._read(chunks, _StreamedBatches(reader, chunks) if in_sequence else None)
        return (self._batch(inputs, index, targets) for inputs, index in loader)

    def _read(self, chunks: Sequence[Tensor], in_sequence: Any = None) -> DataLoader[Any]:
        """Return a loader of the inputs and indices of each chunk; `in_sequence` reads chunks that lie in sequence."""
        # What lies in sequence is read ahead by one process: two would both read all of it.
        workers = min(self._workers, 1) if in_sequence is not None else self._workers
        return DataLoader(
            _IndexedBatches(self._split) if in_sequence is None else in_sequence,
            batch_size=None,
            sampler=chunks if in_sequence is None else None,
            num_workers=workers,
            multiprocessing_context=_START if workers else None,
            collate_fn=_identity,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # without one, the loader draws from the global generator
        )

    def _shared_batches(self, chunks: Sequence[Tensor], targets: "_Targets", sharers: RowSharers) -> Iterator[Batch]:
        """Yield batches of which this process reads some rows, and other processes the others."""
        counts_of = [sharers.split(len(chunk)) for chunk in chunks]
        own = [torch.split(chunk, counts)[sharers.rank] for chunk, counts in zip(chunks, counts_of, strict=True)]
        few = [min(counts) == 0 for counts in counts_of]  # a batch of fewer rows than processes is read by each
        read = [chunk if is_few else rows for chunk, rows, is_few in zip(chunks, own, few, strict=True)]
        for (inputs, _), chunk, counts, is_few in zip(self._read(read), chunks, counts_of, few, strict=True):
            moved = inputs.to(self._device, non_blocking=True)
            whole = moved if is_few else sharers.gather(moved, counts)
            yield self._batch(whole, chunk, targets)

    def _batch(self, inputs: Any, index: Tensor, targets: "_Targets") -> Batch:
        moved = inputs.to(self._device, non_blocking=True) if isinstance(inputs, Tensor) else inputs.to(self._device)
        index = index.to(self._device, non_blocking=True)
        return Batch(as_float(moved), index, *targets.at(index))


Source = Resident | Streamed


def open_split(split: Split, device: torch.device, *, memory_fraction: float = 0.5, workers: int = 0) -> Source:
    """Prepare a split for any number of passes in batches.

    Each call of the result's `batches(batch_size, rng=None, drop_last=False, labels=False, factors=False, skip=0)` is
    one pass:

    - `rng`: generator on the CPU. One order is drawn from it at the call, a permutation unless the items lie in
      sequence; None gives index order.
    - `drop_last`: leave out a last, shorter batch, unless it is the only one: a pass over fewer items than
      `batch_size` gives one short batch, so that training on tiny data does not silently do nothing.
    - `labels`: True if batches carry labels; RequestError if the split has none.
    - `factors`: True if batches carry ground-truth factors; RequestError if the split has none.
    - `skip`: number of batches to leave out at the beginning, for a pass that is resumed from a checkpoint.

    Args:
        split: The split. uint8 inputs (a tensor, those of pairs, or read by a Reader) become float32 in [0, 1] on the
            device; other inputs are moved unchanged.
        device: Device of the batches.
        memory_fraction: On CUDA, a tensor is resident if it takes at most this fraction of the free memory; graphs and
            pairs likewise. On other devices everything in memory is resident.
        workers: Number of processes that read a streamed split; 0 reads in this process.
    """
    in_memory = not hasattr(split.inputs, "read")
    if in_memory and (isinstance(split.inputs, Nodes) or _fits(split.inputs, device, memory_fraction)):
        return Resident(split, device)
    return Streamed(split, device, workers)


class _IndexedBatches(Dataset[tuple[Any, Tensor]]):
    """Dataset for DataLoader whose items are whole batches: indices (N,) -> inputs and the indices."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, index: Tensor) -> tuple[Any, Tensor]:
        return self.split.read(index), index


class _StreamedBatches(IterableDataset[tuple[Any, Tensor]]):
    """Dataset for DataLoader that reads the chunks of a pass in sequence: their inputs and indices."""

    def __init__(self, reader: SequentialReader, chunks: Sequence[Tensor]) -> None:
        self.reader, self.chunks = reader, chunks

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        return zip(self.reader.stream(self.chunks), self.chunks, strict=True)


class _Targets:
    """Labels and factors of a split, on the device; None where a split has none, or where they were not asked for."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._labels = None if split.labels is None else split.labels.to(device)
        self._factors = None if split.factors is None else split.factors.to(device)

    def requested(self, labels: bool, factors: bool) -> "_Targets":
        """Return only what is asked for; RequestError where the split does not have it."""
        for what, values, wanted in (("labels", self._labels, labels), ("factors", self._factors, factors)):
            if wanted and values is None:
                raise RequestError(
                    f"the method needs {what}, but this split has none; choose a method that uses no {what}."
                )
        requested = copy(self)
        requested._labels, requested._factors = self._labels if labels else None, self._factors if factors else None
        return requested

    def at(self, index: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return labels and factors at index (N,) int64 on the device."""
        labels, factors = self._labels, self._factors
        return (
            None if labels is None else labels.index_select(0, index),
            None if factors is None else factors.index_select(0, index),
        )


def _identity(batch: Any) -> Any:
    """Return a batch as it is: it was read in one piece, so nothing is left to collate."""
    return batch


def _order(count: int, rng: torch.Generator | None) -> Tensor:
    return torch.arange(count) if rng is None else torch.randperm(count, generator=rng)


def _chunks(order: Tensor, batch_size: int, drop_last: bool) -> list[Tensor]:
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")
    chunks = list(torch.split(order, batch_size)) if len(order) else []
    if drop_last and len(chunks) > 1 and len(chunks[-1]) < batch_size:
        chunks.pop()
    return chunks


def _fits(inputs: Any, device: torch.device, memory_fraction: float) -> bool:
    if device.type != "cuda" or getattr(inputs, "device", None) == device:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes(inputs) <= memory_fraction * free
