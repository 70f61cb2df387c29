"""How much memory training took at most."""

import sys
from pathlib import Path

import torch

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
