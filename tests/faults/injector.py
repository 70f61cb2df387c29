"""Run commands in which one chosen operation on files fails: opening, reading, writing, renaming, ...

A small library stands between the process and the C library (LD_PRELOAD), so that operations count that no Python
code makes: those of safetensors, SQLite and pyarrow.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.runs import run_command_and_exit, wait_for

SOURCE = Path(__file__).with_name("injector.c")
LIBRARY = "BENCH_TEST_INJECTOR"  # environment variable with the path of the compiled library
ERRORS = {"EIO": errno.EIO, "ESTALE": errno.ESTALE, "ENOSPC": errno.ENOSPC}
NEEDS_ROOM = ("create", "write", "fsync", "rename", "link", "mkdir", "truncate")  # operations that a full disk refuses


@dataclass(frozen=True)
class Operation:
    """One operation on files: what was done ("rename"), and to which path."""

    name: str
    path: str


@dataclass(frozen=True)
class Fault:
    """An operation of a command, by its number, that fails with an error. Where the disk is full, so do later ones."""

    number: int
    error: str


@dataclass(frozen=True)
class Ending:
    """How a command ended: exit code, and what it printed."""

    code: int
    stdout: str
    stderr: str


def compile_library(folder: Path) -> Path:
    """Compile the library, and return its file.

    Raises:
        OSError: There is no C compiler, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise OSError("no C compiler, or no Linux")
    library = folder / "injector.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr)
    return library


def restart_with_library() -> None:
    """Start this program again with the library loaded, unless it is; processes that are forked then have it, too."""
    if LIBRARY in os.environ:
        return
    library = compile_library(Path(tempfile.mkdtemp(prefix="bench-injector-")))
    environment = {**os.environ, "LD_PRELOAD": str(library), LIBRARY: str(library)}
    os.execve(sys.executable, [sys.executable, "-m", "tests.faults", *sys.argv[1:]], environment)


def remove_library() -> None:
    """Delete the library that `restart_with_library` compiled, if it did."""
    if LIBRARY in os.environ:
        shutil.rmtree(Path(os.environ[LIBRARY]).parent)


def run_command(
    arguments: Sequence[str], roots: Sequence[Path], outside: Path, fault: Fault | None = None
) -> tuple[Ending, list[Operation]]:
    """Run a command in a fork of this process, and return how it ended and the operations that it made.

    Args:
        arguments: Arguments of `bench`.
        roots: Operations on paths below these folders count; the first one has a folder `tmp` for temporary files.
        outside: A folder for logs, outside of the roots.
        fault: The operation that fails; None lets all be.
    """
    names = ("stdout", "stderr", "operations")
    files = [os.open(outside / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND) for name in names]
    pid = os.fork()
    if pid == 0:
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        run_command_and_exit(arguments, lambda: _start(roots, files[2], fault))
    code = wait_for(pid)
    for file in files:
        os.close(file)
    stdout, stderr, operations = ((outside / name).read_text(errors="replace") for name in names)
    made = [Operation(*line.split("\t", 1)) for line in operations.splitlines()]
    return Ending(code, stdout, stderr), made


def _start(roots: Sequence[Path], log: int, fault: Fault | None) -> None:
    """Begin to count, in the forked process."""
    tempfile.tempdir = str(roots[0] / "tmp")
    number, error = (fault.number, ERRORS[fault.error]) if fault else (-1, 0)
    lasting = fault is not None and fault.error == "ENOSPC"
    start = ctypes.CDLL(os.environ[LIBRARY]).injector_start
    start(":".join(map(str, roots)).encode(), ctypes.c_long(number), error, int(lasting), log)
