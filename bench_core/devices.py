"""Devices: find, check and name one, measure its memory, and place a method on it.

In the order of a run: `check_device` and `find_device` turn `--device auto` into a device, `device_name` is written
into a record, `place_on_device` moves a method there, `exact_float32` surrounds training and evaluation, and
`peak_memory_gib` says what they took.
"""

import platform
import re
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
_DEVICE_NAME = re.compile(r"auto|(cpu|cuda|mps)(:[0-9]{1,3})?")
M = TypeVar("M", bound=nn.Module)


# ---------------------------------------------------------------------------------------- find, check, name


def find_device(name: str = "auto") -> torch.device:
    """Return the device of this name; "auto" is CUDA where there is one, else MPS, else the CPU."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def check_device_name(name: str) -> None:
    """Raise RequestError if this is no name of a device. The device is not touched, and may be missing."""
    if not _DEVICE_NAME.fullmatch(str(name)):
        raise RequestError(
            f"device {name!r} cannot be used here: it is none of auto, cpu, cuda, cuda:NUMBER and mps. Try auto or cpu."
        )


def check_device(name: str) -> None:
    """Raise RequestError if the device of this name cannot be used on this machine."""
    check_device_name(name)
    try:
        torch.empty(0, device=find_device(name))
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).partition("\n")[0]
        raise RequestError(f"device {name!r} cannot be used here: {first_line} Try auto or cpu.") from error


def device_name(device: torch.device) -> str:
    """Return type and model of a device, for a record: `cuda: NVIDIA H200`, `cpu: Intel Xeon ...`."""
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


# ---------------------------------------------------------------------------------------------- peak memory


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory, on CUDA and on Linux; elsewhere nothing can be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: `peak_memory_gib` then gives the peak since the process began
        return


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the peak memory in GiB since `reset_peak_memory`; None where the system does not tell it.

    On CUDA this is the memory of tensors on the device, elsewhere the memory of the process.
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**30, 4)
    try:
        lines = (_PROC / "status").read_text(encoding="ascii").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return round(kib / 2**20, 4)
    except (OSError, StopIteration, ValueError):
        return _peak_of_process_gib()


def _peak_of_process_gib() -> float | None:
    """Return the peak memory in GiB since the process began; None on Windows."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 4)


# ------------------------------------------------------------------------------- place a method on a device


def place_on_device(objective: Objective, device: torch.device, compiled: bool = False) -> Objective:
    """Move a method to the device where it is trained, and return the same object.

    Args:
        objective: A method on the CPU.
        device: The device.
        compiled: Run the method's loss through `torch.compile`. Optimiser and evaluation are not compiled; for views
            see `bench_core.views.pipeline`.
    """
    objective = to_channels_last(objective.to(device))
    if compiled:
        # Graphs of earlier chains count against a limit of torch's, after which nothing more would be compiled.
        torch.compiler.reset()
        objective.compile()
    return objective


def to_channels_last(objective: M) -> M:
    """Change weights of 2-D convolutions in place to the memory layout that is fastest on most devices."""
    for tensor in (*objective.parameters(), *objective.buffers()):
        if tensor.ndim == 4:
            # `to`, as nn.Module does it. With one input channel `contiguous` would leave other strides, and the results
            # would end in other last bits.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return objective


def exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which convolutions on CUDA compute in float32 and do not round their inputs to TF32.

    PyTorch does not round the inputs of matrix products by default. On other devices the context does nothing.
    """
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False)
