"""How a method lies on its device while it is trained."""

from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from bench_core.contracts import Objective

M = TypeVar("M", bound=nn.Module)


def placed(objective: Objective, device: torch.device, compiled: bool = False) -> Objective:
    """Ready to be trained there, the same object.

    Args:
        objective: On the CPU.
        device: Where.
        compiled: Its loss goes through `torch.compile`; optimiser and evaluation do not, views are `bench_core.views`'.
    """
    objective = channels_last(objective.to(device))
    if compiled:
        torch.compiler.reset()  # what is kept of other chains would count, and after some nothing more is compiled
        objective.compile()
    return objective


def channels_last(objective: M) -> M:
    """Weights of 2-D convolutions in the layout that is fastest on most devices; others as they are."""
    for tensor in (*objective.parameters(), *objective.buffers()):
        if tensor.ndim == 4:
            # `to`, as nn.Module does it: of one input channel `contiguous` leaves other strides, and other last bits.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return objective


def exact(device: torch.device) -> AbstractContextManager[None]:
    """On CUDA float32 means float32: convolutions do not round their inputs to TF32 (matrix products do not anyway)."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False)
