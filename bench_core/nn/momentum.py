"""Momentum copies of networks and queues of features, as in BYOL, MoCo and `nac_moco`.

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
    """Return a copy of a network without gradients. Its buffers (batch norm's statistics) are its own from then on."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update_copy(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """Move each parameter of a momentum copy to momentum * target + (1 - momentum) * source; buffers stay.

    Args:
        target: The copy, from `momentum_copy`.
        source: The network that is trained, with parameters in the same order.
        momentum: In [0, 1]; 1 leaves the target as it is.
    """
    trained = [parameter.detach() for parameter in source.parameters()]
    torch._foreach_lerp_(list(target.parameters()), trained, 1 - momentum)


def cosine_momentum(start: float, step: int, num_steps: int, end: float = 1.0) -> float:
    """Return the momentum of a step, rising as a cosine from `start` at step 0 to `end` after the last step.

    end - (end - start) (cos(pi step / num_steps) + 1) / 2.
    """
    return end - (end - start) * (math.cos(math.pi * step / max(1, num_steps)) + 1) / 2


@torch.no_grad()
def enqueue(queue: Tensor, position: Tensor, rows: Tensor) -> None:
    """Overwrite the oldest rows of a queue in place, without waiting for the device.

    Args:
        queue: (K, P), a buffer.
        position: () int64, a buffer on the same device: index of the oldest row. It is moved on by M, modulo K.
        rows: (M, P) new rows; of more than K, the last K are kept.
    """
    slots = torch.arange(len(rows), device=queue.device)[-len(queue) :]
    queue.index_copy_(0, (slots + position) % len(queue), rows[-len(queue) :].to(queue.dtype))
    position.add_(len(rows)).remainder_(len(queue))
