"""Devices: find, check and name one, measure its memory, and place a method on it.

In the order of a run: `check_device` and `find_device` turn `--device auto` into a device, `device_name` is written
into a record, `place_on_device` moves a method there, `exact_float32` surrounds training and evaluation, and
`peak_memory_gib` says what they took. `free_memory_gib` says what may still be taken.
"""

import platform
import re
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
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
    """Return the device of this name, of several the first; "auto" is CUDA where there is one, else MPS, else CPU."""
    name = split_devices(name)[0]
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def split_devices(names: str) -> list[str]:
    """Return the names in `cuda:0,cuda:1`; of a single device its name alone."""
    return [name.strip() for name in str(names).split(",")]


def check_device_name(names: str) -> None:
    """Raise RequestError if this is no name of a device, nor several GPUs: `cuda:0,cuda:1`. They may be missing."""
    devices = split_devices(names)
    for name in devices:
        if not _DEVICE_NAME.fullmatch(name):
            raise RequestError(
                f"device {name!r} cannot be used here: it is none of auto, cpu, cuda, cuda:NUMBER and mps. Try auto or "
                "cpu."
            )
    if len(devices) > 1 and (len(set(devices)) < len(devices) or not all(name[:5] == "cuda:" for name in devices)):
        raise RequestError(f"device {names!r} cannot be used here: several are different GPUs, such as cuda:0,cuda:1.")


def check_device(names: str) -> None:
    """Raise RequestError if a device of these names cannot be used on this machine."""
    check_device_name(names)
    for name in split_devices(names):
        try:
            torch.empty(0, device=find_device(name))
        except (RuntimeError, AssertionError) as error:
            first_line = str(error).partition("\n")[0]
            raise RequestError(f"device {name!r} cannot be used here: {first_line} Try auto or cpu.") from error


def check_device_count(names: str) -> None:
    """Raise RequestError if this machine has fewer devices than named. The memory of none is touched."""
    check_device_name(names)
    for name in split_devices(names):
        device = find_device(name)
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            check_device(name)  # it says why


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


def taken_and_all_gib(device: torch.device) -> tuple[float, float] | None:
    """Return the most memory of a GPU that this process has held for tensors, and all that the GPU has, in GiB.

    None on devices that have no memory of their own, or do not tell it.
    """
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_reserved(device) / 2**30, torch.cuda.mem_get_info(device)[1] / 2**30


def _peak_of_process_gib() -> float | None:
    """Return the peak memory in GiB since the process began; None on Windows."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 4)


# --------------------------------------------------------------------------------------------- free memory


def free_memory_gib(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the memory in GiB that processes can still take: the machine's, or less where a cgroup limits them.

    Args:
        proc: Folder that tells the machine's memory, and the cgroup of this process.
        groups: Folder of the cgroups, of either version.

    Returns:
        None where the system does not tell it.
    """
    free = []
    with suppress(OSError, StopIteration, ValueError):
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
        free.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    with suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                free += _free_of_groups(groups, path, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
                free += _free_of_groups(groups / "memory", path, *names)
    return round(max(0, min(free)) / 2**30, 4) if free else None


def _free_of_groups(root: Path, path: str, limit: str, use: str, cache: str) -> list[int]:
    """Return the free bytes of a cgroup and of those above it, as far as they have a limit; files in cache are free."""
    inner, free = root / path.lstrip("/"), []
    for folder in (inner, *inner.parents):
        with suppress(OSError, ValueError):  # in a container the path may be one outside of it; "max" is no limit
            most = int((folder / limit).read_text(encoding="ascii"))
            used = int((folder / use).read_text(encoding="ascii"))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            free.append(most - used + sum(int(line.split()[1]) for line in lines if line.split()[0] == cache))
        if folder == root:
            break
    return free


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
