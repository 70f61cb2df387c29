"""Processes that train one chain together, each with a rank: what they send to one another.

Rank 0 leads: it alone reads checkpoints and writes files. Tensors go by gloo between CPUs and by NCCL between GPUs.
Words, such as "the step is saved, go on", go by a group of their own over gloo, which waits as long as it must: between
two trainings the others wait for rank 0.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store

_ROWS_TIMEOUT = timedelta(minutes=30)  # a rank may read slower files than another
_WORDS_TIMEOUT = timedelta(days=30)  # rank 0 may run tasks for hours, or keep a queue of them waiting


class RankGroup:
    """One of several processes that train together, and its connections to the others.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        device: Device of this process.
    """

    def __init__(self, store: Store, rank: int, size: int, device: torch.device) -> None:
        """Connect to the others; each of them must do the same.

        Args:
            store: Where the processes find one another.
            rank: Number of this process, from 0.
            size: Number of processes.
            device: Device of this process.
        """
        self.rank, self.size, self.device = rank, size, device
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_ROWS_TIMEOUT)
        self._words: Any = dist.new_group(backend="gloo", timeout=_WORDS_TIMEOUT)

    @property
    def leads(self) -> bool:
        """True in rank 0, which reads checkpoints and writes all files."""
        return self.rank == 0

    def split(self, rows: int) -> list[int]:
        """Return how many of some rows each rank has; those that do not divide go to the first ranks."""
        return [rows // self.size + (rank < rows % self.size) for rank in range(self.size)]

    def counts(self, number: int) -> list[int]:
        """Return the number that each rank gives."""
        numbers = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(numbers, torch.tensor([number]), group=self._words)
        return [int(each) for each in numbers]

    def gather(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all ranks, one rank after the other, without gradient.

        Args:
            own: Rows (n, ...) of this rank, n = counts[rank].
            counts: Number of rows of each rank.
        """
        shape = own.shape[1:]
        row_bytes = shape.numel() * own.element_size()
        # As bytes, for gloo does not know every type; all of one length, as the ranks that have fewer rows pad theirs.
        sent = torch.zeros(max(counts) * row_bytes, dtype=torch.uint8, device=own.device)
        sent[: own.numel() * own.element_size()] = own.detach().contiguous().view(-1).view(torch.uint8)
        received = torch.empty(self.size, len(sent), dtype=torch.uint8, device=own.device)
        dist.all_gather(list(received.unbind(0)), sent)
        parts = [part[: count * row_bytes] for part, count in zip(received, counts, strict=True)]
        whole = received.view(-1) if len(set(counts)) == 1 else torch.cat(parts)
        return whole.view(own.dtype).view(sum(counts), *shape)

    def sum(self, own: Tensor) -> Tensor:
        """Return the sum of the tensors that the ranks give, the same bits in each, without gradient."""
        total = own.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def tell(self, message: Any) -> None:
        """Send a plain value from rank 0 to all others, which `hear` it."""
        content = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        self.tell_bytes(content)

    def hear(self) -> Any:
        """Wait until rank 0 tells something, and return it."""
        return json.loads(self.hear_bytes().numpy().tobytes())

    def tell_bytes(self, content: Tensor) -> None:
        """Send bytes (B,) uint8 on the CPU from rank 0 to all others."""
        dist.broadcast(torch.tensor([len(content)]), 0, group=self._words)
        dist.broadcast(content, 0, group=self._words)

    def hear_bytes(self) -> Tensor:
        """Wait until rank 0 tells bytes, and return them as (B,) uint8 on the CPU."""
        length = torch.empty(1, dtype=torch.int64)
        dist.broadcast(length, 0, group=self._words)
        content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, 0, group=self._words)
        return content

    def close(self) -> None:
        """End the connections, so that another rank that waits for this one gets an error; another group may follow."""
        self._words = None  # gloo keeps a connection as long as something refers to it
        dist.destroy_process_group()
