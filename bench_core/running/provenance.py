"""Provenance of a record: versions, commit, device and command. It is stored in the record and never in its key."""

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
    """Collect versions, commit, device, number of threads and the command.

    Args:
        device: Device that does the work.
        command: What was typed; None is the command line of this process.
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
        "host": hashlib.sha256(os.fsencode(socket.gethostname())).hexdigest()[:12],
        "command": command or command_line(),
    }


def command_line() -> str:
    r"""Return the command line of this process, without the path of the program.

    Bytes that are no UTF-8, as in names of old files, become `\xe9`: a record is UTF-8.
    """
    program = Path(sys.argv[0]).name
    if program == "__main__.py":
        program = "python -m bench_core"
    line = " ".join([program, *map(shlex.quote, sys.argv[1:])])
    return os.fsencode(line).decode("utf-8", "backslashreplace")


@cache
def _version(name: str) -> str | None:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


@cache
def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that this code runs from, and whether its code was changed.

    Returns:
        (None, None) from a wheel. (None, True) from a checkout without a commit (no git, or no repository): its code
        cannot be found again, so `bench publish` refuses such records.
    """
    root = checkout()
    if root is None:
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, True
    return commit, bool(_git(root, "status", "--porcelain", "--", "bench_core", "plugins", "pyproject.toml"))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
