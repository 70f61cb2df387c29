"""Traces of a training that goes on: `chains/<key>.under-way/`, beside its checkpoints.

    recipe.json    what is trained, as `recipe` in the file of a finished chain
    log.jsonl      the line of each epoch so far; the process that trains holds a lock on it

All of it may be deleted at any time: no training reads it, only people do, through `bench logs` and `bench status`.
"""

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self, TextIO

from bench_core.files import growing_file, write_over
from bench_core.store.chain_files import LOG, RECIPE

UNDER_WAY = ".under-way"  # what the folder's name ends with
_QUIET_S = 600.0  # where there are no locks: a log that is younger belongs to a training that goes on

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # Windows has none


def under_way_folder(folder: Path) -> Path:
    """Return the folder of a chain that is being trained; `folder` is the one that it has when it is trained."""
    return folder.with_name(f"{folder.name}{UNDER_WAY}")


class LiveLog:
    """The log of a training that goes on; a disk that cannot be written costs the log and not the training."""

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        """Name the folder; nothing is written before the log is entered.

        Args:
            folder: The folder of `under_way_folder`.
            description: What defines the training, the content of `recipe.json`.
        """
        self.folder, self.description = folder, description
        self._file: TextIO | None = None
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Write what is trained, and open and lock the log."""
        with suppress(OSError):
            write_over(self.folder / RECIPE, self.description)
            self._file = self._closing.enter_context(growing_file(self.folder / LOG))
            hold(self._file)
        return self

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the line of an epoch."""
        if self._file:
            with suppress(OSError):
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()

    def __exit__(self, *error: object) -> None:
        """Close the log; its lock ends."""
        with suppress(OSError):  # what was not written yet meets a full disk
            self._closing.close()


def hold(file: IO[Any]) -> None:
    """Lock an open file, so that `is_held` says yes until it is closed; any number of processes may hold it."""
    if fcntl:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Return whether a process holds a file; where there are no locks, whether it was written some minutes ago."""
    try:
        if fcntl:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        return time.time() - path.stat().st_mtime < _QUIET_S
    except BlockingIOError:
        return True
    except OSError:  # there is no such file, or the file system has no locks
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < _QUIET_S
        return False


def is_being_trained(folder: Path) -> bool:
    """Return whether a process trains the chain of an under-way folder now."""
    return is_held(folder / LOG)
