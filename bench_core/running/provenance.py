"""Where a number came from: stored beside it, never in its key."""

import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch

from bench_core.devices import device_name
from bench_core.files import checkout

PACKAGES = ("torchvision", "numpy", "scikit-learn", "faiss-cpu", "scipy", "pluggy", "safetensors", "pillow", "pandas")


def provenance(device: torch.device, command: str | None = None) -> dict[str, Any]:
    """Versions, commit, device, threads and the command line.

    Args:
        device: Where the work is done.
        command: What was typed; by default this process's own arguments.
    """
    commit, dirty = _commit()
    cudnn: Any = torch.backends.cudnn  # its functions have no types
    return {
        "bench": _version("bench-core"),
        "torch": torch.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": cudnn.version() if device.type == "cuda" else None,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "host": hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12],
        "command": command or command_line(),
    }


def command_line() -> str:
    """What was typed, without the path of the program."""
    program = Path(sys.argv[0]).name
    if program == "__main__.py":
        program = "python -m bench_core"
    return " ".join([program, *map(shlex.quote, sys.argv[1:])])


@cache
def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


@cache
def _commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this code runs from and whether its code was changed; (None, None) from a wheel."""
    root = checkout()
    if root is None:
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    return commit, bool(_git(root, "status", "--porcelain", "--", "bench_core", "plugins", "pyproject.toml"))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
