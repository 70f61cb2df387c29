"""Passes over a split in batches: resident on the device if it fits, else streamed.

A resident split is moved to the device once, still as uint8, and indexed there: no workers, and no copy at each step.
Any other split is read by torch's DataLoader, one batch of indices at a time. Both give the same batches.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench_core.contracts import Batch, Reader, Split
from bench_core.errors import RequestError

# From Python 3.14 on, Linux's default starts workers anew: they would import torch in every pass, and a plugin's Reader
# and a script without a main guard would have to allow it.
_START = "fork" if sys.platform == "linux" else None


class Resident:
    """A split whose inputs lie on the device as one tensor."""

    def __init__(self, split: Split, device: torch.device) -> None:
        """Move inputs and labels to the device; on the CPU they are not copied.

        Args:
            split: A split whose inputs are a tensor.
            device: Device of the batches.
        """
        assert isinstance(split.inputs, Tensor)
        self._inputs = split.inputs.to(device)
        self._labels = None if split.labels is None else split.labels.to(device)
        self._device = device

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._inputs)

    def batches(
        self,
        batch_size: int,
        *,
        rng: torch.Generator | None = None,
        drop_last: bool = False,
        labels: bool = False,
        skip: int = 0,
    ) -> Iterator[Batch]:
        """Pass over the split once; `open_split` describes the arguments."""
        # The order is copied once for the whole pass: a copy for each batch would wait for the device each time.
        order = _order(len(self), rng).to(self._device)
        batch_labels = _labels_if_requested(self._labels, labels)
        return (self._batch(chunk, batch_labels) for chunk in _chunks(order, batch_size, drop_last)[skip:])

    def _batch(self, index: Tensor, labels: Tensor | None) -> Batch:
        # index_select copies. A slice would be a view, through which a method could change the data.
        inputs = _as_float(self._inputs.index_select(0, index))
        return Batch(inputs, index, None if labels is None else labels.index_select(0, index))


class Streamed:
    """A split that is read batch by batch, in workers or in this process."""

    def __init__(self, split: Split, device: torch.device, workers: int) -> None:
        """Keep the arguments; nothing is read yet.

        Args:
            split: A split whose inputs are a Reader, or a tensor in memory.
            device: Device of the batches.
            workers: Number of processes that read ahead; 0 reads in this process.
        """
        self._batches = _IndexedBatches(split.inputs)
        self._labels = None if split.labels is None else split.labels.to(device)
        self._device, self._workers = device, workers

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._batches.inputs)

    def batches(
        self,
        batch_size: int,
        *,
        rng: torch.Generator | None = None,
        drop_last: bool = False,
        labels: bool = False,
        skip: int = 0,
    ) -> Iterator[Batch]:
        """Pass over the split once; `open_split` describes the arguments."""
        chunks = _chunks(_order(len(self), rng), batch_size, drop_last)[skip:]
        batch_labels = _labels_if_requested(self._labels, labels)
        loader: DataLoader[Any] = DataLoader(
            self._batches,
            batch_size=None,
            sampler=chunks,
            num_workers=self._workers,
            multiprocessing_context=_START if self._workers else None,
            collate_fn=_identity,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # without one, the loader draws from the global generator
        )
        return (self._batch(inputs, index, batch_labels) for inputs, index in loader)

    def _batch(self, inputs: Any, index: Tensor, labels: Tensor | None) -> Batch:
        moved = inputs.to(self._device, non_blocking=True) if isinstance(inputs, Tensor) else inputs.to(self._device)
        index = index.to(self._device, non_blocking=True)
        return Batch(_as_float(moved), index, None if labels is None else labels.index_select(0, index))


Source = Resident | Streamed


def open_split(split: Split, device: torch.device, *, memory_fraction: float = 0.5, workers: int = 0) -> Source:
    """Prepare a split for any number of passes in batches.

    Each call of the result's `batches(batch_size, rng=None, drop_last=False, labels=False, skip=0)` is one pass:

    - `rng`: generator on the CPU. One permutation is drawn from it at the call; None gives index order.
    - `drop_last`: leave out a last, shorter batch, unless it is the only one: a pass over fewer items than
      `batch_size` gives one short batch, so that training on tiny data does not silently do nothing.
    - `labels`: True if batches carry labels; RequestError if the split has none.
    - `skip`: number of batches to leave out at the beginning, for a pass that is resumed from a checkpoint.

    Args:
        split: The split. uint8 inputs (a tensor, or read by a Reader) become float32 in [0, 1] on the device; other
            inputs are moved unchanged.
        device: Device of the batches.
        memory_fraction: On CUDA, a tensor is resident if it takes at most this fraction of the free memory. On other
            devices every tensor is resident.
        workers: Number of processes that read a streamed split; 0 reads in this process.
    """
    if isinstance(split.inputs, Tensor) and _fits(split.inputs, device, memory_fraction):
        return Resident(split, device)
    return Streamed(split, device, workers)


class _IndexedBatches(Dataset[tuple[Any, Tensor]]):
    """Dataset for DataLoader whose items are whole batches: indices (N,) -> inputs and the indices."""

    def __init__(self, inputs: Tensor | Reader) -> None:
        self.inputs = inputs

    def __getitem__(self, index: Tensor) -> tuple[Any, Tensor]:
        if isinstance(self.inputs, Tensor):
            return self.inputs.index_select(0, index), index
        return self.inputs.read(index), index


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


def _labels_if_requested(labels: Tensor | None, requested: bool) -> Tensor | None:
    if requested and labels is None:
        raise RequestError("the method needs labels, but this split has none; choose a method that uses no labels.")
    return labels if requested else None


def _as_float(inputs: Any) -> Any:
    return inputs.float().div_(255) if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 else inputs


def _fits(inputs: Tensor, device: torch.device, memory_fraction: float) -> bool:
    if device.type != "cuda" or inputs.device == device:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return inputs.numel() * inputs.element_size() <= memory_fraction * free
