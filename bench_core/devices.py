"""How much memory training took at most."""

import platform
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from bench_core.contracts import Objective
from bench_core.errors import RequestError

_PROC = Path("/proc/self")


def reset_peak_memory(device: torch.device) -> None:
    """Begin anew, where the system lets a process do so (CUDA; Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return


def peak_memory_gib(device: torch.device) -> float | None:
    """On CUDA what tensors took, elsewhere what the process took, since `reset_peak_memory`; None where unknown."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**30, 4)
    try:
        lines = (_PROC / "status").read_text(encoding="ascii").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return round(kib / 2**20, 4)
    except (OSError, StopIteration, ValueError):
        return _whole_process_gib()


def _whole_process_gib() -> float | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 4)


def check_device(name: str) -> None:
    """RequestError where this device cannot be used here."""
    try:
        device = find_device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("it is none of cpu, cuda and mps.")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).partition("\n")[0]
        raise RequestError(f"device {name!r} cannot be used here: {first} Try auto or cpu.") from error


def find_device(name: str = "auto") -> torch.device:
    """CUDA, else MPS, else CPU; or the one named."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """`cuda: NVIDIA H200`, `cpu: Intel Xeon ...`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {_processor()}"


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


M = TypeVar("M", bound=nn.Module)


def placed(objective: Objective, device: torch.device, compiled: bool = False) -> Objective:
    """Ready to be trained there, the same object.

    Args:
        objective: On the CPU.
        device: Where.
        compiled: Its loss goes through `torch.compile`; optimiser and evaluation do not, views are
            `bench_core.views.pipeline`'.
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
