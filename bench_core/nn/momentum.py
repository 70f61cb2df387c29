"""Momentum copies of networks: BYOL, MoCo, NAC's queue variant.

Source: Tarvainen and Valpola, NeurIPS 2017, https://arxiv.org/abs/1703.01780; the rising momentum is BYOL's
        (Grill et al., NeurIPS 2020, https://arxiv.org/abs/2006.07733, Sec. 3.3).
"""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def momentum_copy(network: M) -> M:
    """A copy that no gradient reaches; its buffers (batch norm's statistics) go their own way."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_copy(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """Move each parameter to momentum * target + (1 - momentum) * source; buffers are left alone.

    Args:
        target: Made by `momentum_copy` of a network like `source`.
        source: The network that is trained.
        momentum: In [0, 1]; 1 leaves the target as it is.
    """
    theirs = [p.detach() for p in source.parameters()]
    torch._foreach_lerp_(list(target.parameters()), theirs, 1 - momentum)


def cosine_momentum(start: float, step: int, num_steps: int, end: float = 1.0) -> float:
    """From `start` at step 0 to `end` after the last: end - (end - start) (cos(pi step / num_steps) + 1) / 2."""
    return end - (end - start) * (math.cos(math.pi * step / max(1, num_steps)) + 1) / 2


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
