"""Reads files that came from somebody else: a link, a pipe or a device is refused, never followed or waited for.

read_regular   the content of a file
names_in       what a folder holds
open_regular   an open file, for code that reads in blocks

Every folder is opened from the one above it, and the open file is asked what it is. So nothing can be exchanged between
a look and the reading.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench_core.errors import StoreError

LARGEST = 2**28  # bytes that are read at once


def read_regular(path: Path, *, below: Path | None = None, limit: int = LARGEST) -> bytes:
    """Read a file that came from somebody else; a link, a pipe or a device is refused, never followed or waited for.

    Args:
        path: The file.
        below: A folder above the file: no folder between the two may be a link either.
        limit: The most bytes that are read.

    Raises:
        StoreError: It is missing, no regular file, too large, or cannot be read.
    """
    with open_regular(path, below, limit) as file:
        return read(file, path)


def names_in(folder: Path, *, below: Path) -> list[str]:
    """List what is in a folder that came from somebody else, sorted; empty where there is no such folder.

    Raises:
        StoreError: The folder, or one between it and `below`, is a link or no folder.
    """
    try:
        descriptor = _open_folder(folder, below)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _not_regular(folder, error) from error
    try:
        return sorted(os.listdir(descriptor))
    except OSError as error:
        raise _not_regular(folder, error) from error
    finally:
        os.close(descriptor)


@contextmanager
def open_regular(path: Path, below: Path | None, limit: int | None = None) -> Iterator[io.FileIO]:
    """Open a file to read; what it is, is asked of the open file, so that nobody can exchange it in between.

    Args:
        path: The file, as for `read_regular`.
        below: As for `read_regular`.
        limit: The most bytes that it may have.

    Raises:
        StoreError: It is missing, no regular file, too large, or cannot be opened.
    """
    try:
        folder = _open_folder(path.parent, path.parent if below is None else below)
        try:
            descriptor = os.open(path.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        source = opened(descriptor, limit)
    except (OSError, ValueError) as error:
        raise _not_regular(path, error) from error
    with source as file:
        yield file


def _open_folder(folder: Path, below: Path) -> int:
    """Open a folder; `below` itself may be a link, the folders under it may not. Return its descriptor."""
    descriptor = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
    for name in folder.relative_to(below).parts:
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def opened(descriptor: int, limit: int | None) -> io.FileIO:
    """Return an open file to read; ValueError unless it is a regular one of at most this size."""
    status = os.fstat(descriptor)
    is_regular = stat.S_ISREG(status.st_mode)
    if is_regular and (limit is None or status.st_size <= limit):
        return io.FileIO(descriptor)
    os.close(descriptor)
    raise ValueError("it is too large" if is_regular else "it is no regular file")


def read(file: io.FileIO, path: Path, size: int = -1) -> bytes:
    """Read at most this many bytes, by default all; StoreError names the file."""
    try:
        return file.read(size)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}).") from error


def _not_regular(path: Path, error: Exception) -> StoreError:
    """Return the error of a file or folder that came from somebody else and cannot be opened."""
    reason = error.strerror if isinstance(error, OSError) else error
    if isinstance(error, OSError) and error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
        reason = "it is a link or lies in a linked folder, and links are not followed"
    return StoreError(f"{path} cannot be read ({reason}).")
