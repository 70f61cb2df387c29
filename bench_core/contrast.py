"""What methods share that compare with earlier batches: a queue, and batches in parts.

Source: MoCo's queue and shuffled batch norm, He et al., CVPR 2020, https://arxiv.org/abs/1911.05722, Sec. 3.2 and 3.3.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@torch.no_grad()
def enqueue(queue: Tensor, position: Tensor, rows: Tensor) -> None:
    """Write rows over the oldest of a queue, in place, without a wait for the device.

    Args:
        queue: (K, P), a buffer.
        position: () int64, a buffer on the same device: where the oldest lies. Moves on by as many as came.
        rows: (M, P), any M; of more than K, the last K stay.
    """
    slots = torch.arange(len(rows), device=queue.device)[-len(queue) :]
    queue.index_copy_(0, (slots + position) % len(queue), rows[-len(queue) :].to(queue.dtype))
    position.add_(len(rows)).remainder_(len(queue))


def in_parts(network: nn.Module, images: Tensor, parts: int, *, dealt: bool = False) -> Tensor:
    """A network's output on a batch that passes in parts, so that each part has batch statistics of its own.

    Args:
        network: (n, C, H, W) -> (n, P).
        images: (N, C, H, W).
        parts: As equal as can be; fewer where a part would have less than two images.
        dealt: Row i goes to part i mod `parts`, as cards are dealt, instead of consecutive rows together.

    Returns:
        (N, P), row i for image i.
    """
    parts = max(1, min(parts, len(images) // 2))
    if dealt:
        order = (torch.arange(len(images), device=images.device) % parts).argsort(stable=True)
        return in_parts(network, images[order], parts)[order.argsort()]
    with _slower_statistics(network, parts):
        return torch.cat([network(part) for part in images.tensor_split(parts)])


@contextmanager
def _slower_statistics(network: nn.Module, parts: int) -> Iterator[None]:
    """Batch norm's running statistics move by a part's share at each part, so that they remember as many batches."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.momentum is not None]
    usual = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = (norm.momentum or 0.0) / parts
        yield
    finally:
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
