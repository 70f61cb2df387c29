"""How a split is passed over: resident on the device where it fits, streamed where it does not.

A split that fits is moved to the device once and indexed there, uint8 as it came: no worker, no copy a step.
The rest goes through torch's DataLoader, a batch of indices at a time. Both give the same batches.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench_core.contracts import Batch, Reader, Split
from bench_core.errors import RequestError


class Resident:
    """A split whose inputs lie on the device as one tensor."""

    def __init__(self, split: Split, device: torch.device) -> None:
        """Move it there; on the CPU it stays where it is.

        Args:
            split: Its inputs are a tensor.
            device: Where batches are wanted.
        """
        assert isinstance(split.inputs, Tensor)
        self._inputs = split.inputs.to(device)
        self._labels = None if split.labels is None else split.labels.to(device)
        self._device = device

    def __len__(self) -> int:
        """Number of items."""
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
        """One pass; see `open_split`."""
        order = _order(len(self), rng).to(
            self._device
        )  # once a pass: a copy a batch would wait for the device each time
        wanted = _wanted(self._labels, labels)
        return (self._batch(chunk, wanted) for chunk in _chunks(order, batch_size, drop_last)[skip:])

    def _batch(self, index: Tensor, labels: Tensor | None) -> Batch:
        # index_select also in order: a slice would be a view that a method could change
        inputs = _as_float(self._inputs.index_select(0, index))
        return Batch(inputs, index, None if labels is None else labels.index_select(0, index))


class Streamed:
    """A split that is read as it is needed, by workers or in this process."""

    def __init__(self, split: Split, device: torch.device, workers: int) -> None:
        """Read nothing yet.

        Args:
            split: Its inputs are a Reader, or a tensor in memory.
            device: Where batches are wanted.
            workers: Processes that read ahead; 0 reads in this one.
        """
        self._reads = _Reads(split.inputs)
        self._labels = None if split.labels is None else split.labels.to(device)
        self._device, self._workers = device, workers

    def __len__(self) -> int:
        """Number of items."""
        return len(self._reads.inputs)

    def batches(
        self,
        batch_size: int,
        *,
        rng: torch.Generator | None = None,
        drop_last: bool = False,
        labels: bool = False,
        skip: int = 0,
    ) -> Iterator[Batch]:
        """One pass; see `open_split`."""
        chunks = _chunks(_order(len(self), rng), batch_size, drop_last)[skip:]
        wanted = _wanted(self._labels, labels)
        loader: DataLoader[Any] = DataLoader(
            self._reads,
            batch_size=None,
            sampler=chunks,
            num_workers=self._workers,
            collate_fn=_same,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # without one the loader draws from the global state
        )
        return (self._batch(inputs, index, wanted) for inputs, index in loader)

    def _batch(self, inputs: Any, index: Tensor, labels: Tensor | None) -> Batch:
        moved = inputs.to(self._device, non_blocking=True) if isinstance(inputs, Tensor) else inputs.to(self._device)
        index = index.to(self._device, non_blocking=True)
        return Batch(_as_float(moved), index, None if labels is None else labels.index_select(0, index))


Source = Resident | Streamed


def open_split(split: Split, device: torch.device, *, memory_fraction: float = 0.5, workers: int = 0) -> Source:
    """A split ready to be passed over, as often as wanted.

    `batches(batch_size, rng=None, drop_last=False, labels=False, skip=0)` of what is returned is one pass:

    - `rng`: a generator on the CPU from which one permutation is drawn at the call; None is index order.
    - `drop_last`: leave out a last short batch, but never the only one: a pass over fewer items than
      `batch_size` gives one short batch, so that training on tiny data does not silently do nothing.
    - `labels`: whether batches carry them; RequestError where the split has none.
    - `skip`: batches at the beginning that are left out, of a pass that goes on where it was stopped.

    Args:
        split: uint8 inputs (tensor, or as a Reader reads them) become float32 in [0, 1] on the device;
            anything else is moved as it is.
        device: Where batches are wanted.
        memory_fraction: On CUDA, a tensor of at most this part of the free memory is resident. Elsewhere,
            where the device's memory is the machine's, every tensor is.
        workers: Processes that read what is streamed; 0 reads in this one.
    """
    if isinstance(split.inputs, Tensor) and _fits(split.inputs, device, memory_fraction):
        return Resident(split, device)
    return Streamed(split, device, workers)


class _Reads(Dataset[tuple[Any, Tensor]]):
    """A batch of indices -> its inputs, as DataLoader asks."""

    def __init__(self, inputs: Tensor | Reader) -> None:
        self.inputs = inputs

    def __getitem__(self, index: Tensor) -> tuple[Any, Tensor]:
        if isinstance(self.inputs, Tensor):
            return self.inputs.index_select(0, index), index
        return self.inputs.read(index), index


def _same(batch: Any) -> Any:
    """A batch is read in one piece; nothing is left to collate."""
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


def _wanted(labels: Tensor | None, asked: bool) -> Tensor | None:
    if asked and labels is None:
        raise RequestError("labels were asked for, and this split has none; choose a method that uses none.")
    return labels if asked else None


def _as_float(inputs: Any) -> Any:
    return inputs.float().div_(255) if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 else inputs


def _fits(inputs: Tensor, device: torch.device, memory_fraction: float) -> bool:
    if device.type != "cuda" or inputs.device == device:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return inputs.numel() * inputs.element_size() <= memory_fraction * free
