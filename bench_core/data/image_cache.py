"""Files of the cache of image folders, and stamps that tell whether a file may have changed since it was read.

Whatever is damaged or cannot be read counts as absent: all that the cache holds can be made again from the images.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench_core.data.files import cache_root, digest_of
from bench_core.errors import DataMissingError
from bench_core.files import new_file

_log = logging.getLogger("bench")
Pixels = npt.NDArray[np.uint8 | np.float32]
CACHE = ".bench-cache"  # its name in a folder of images
SETTLED_NS = 2_000_000_000  # clocks of file systems tick in steps of up to two seconds
ALWAYS_READ_BYTES = 64 << 20  # what is not larger is hashed every time, whatever its stamp
LARGEST_IN_MEMORY = 4 << 30


def cache_folder(folder: Path) -> Path:
    """Return `.bench-cache` in a folder of images, or a folder below the cache folder of `bench` if it is read-only."""
    if os.access(folder, os.W_OK):
        return folder / CACHE
    key = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache_root() / "folders" / key


def stamp(stat: os.stat_result) -> str:
    """Return what changes whenever a file does: size, times and inode.

    The time of the last write alone can be set back. The time of the last change of the inode cannot, and a file that
    takes another's place has another inode.
    """
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def is_settled(stats: Iterable[os.stat_result], now_ns: int) -> bool:
    """Say whether no file changed in the seconds before `now_ns`.

    A file that did may change again within the same tick of the clock, and its stamp would be the same.
    """
    return all(last_change(stat) < now_ns - SETTLED_NS for stat in stats)


def last_change(stat: os.stat_result) -> int:
    """Return when a file, or what is known about it, changed last, in nanoseconds."""
    return max(stat.st_mtime_ns, stat.st_ctime_ns)


@dataclass(frozen=True)
class Seen:
    """Stamps of many files, without all that the system knows about each.

    Attributes:
        size: Bytes of all files together.
        newest: The file that changed last, as it was when it was looked at; None without files.
        stamps: Stamp of each file.
    """

    size: int
    newest: os.stat_result | None
    stamps: list[str]

    @staticmethod
    def of(paths: Iterable[str]) -> "Seen":
        """Look at files; OSError if one cannot be found."""
        size, newest, stamps = 0, None, []
        for path in paths:
            stat = os.stat(path)
            size += stat.st_size
            newest = stat if newest is None or last_change(stat) > last_change(newest) else newest
            stamps.append(stamp(stat))
        return Seen(size, newest, stamps)


def read_entry(path: Path) -> dict[str, Any]:
    """Read a JSON object that `write_entry` wrote; empty if there is none or it is damaged."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        value = entry["value"]
        return value if isinstance(value, dict) and entry["seal"] == _seal(value) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def write_entry(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with a seal, which shows later damage."""
    content = json.dumps({"value": value, "seal": _seal(value)}, indent=1).encode()
    write_cache(path, lambda file: file.write(content))


def cached_array(
    path: Path,
    inputs: dict[str, Any],
    shape: tuple[int, ...],
    dtype: type[np.uint8 | np.float32],
    make: Callable[[], Iterable[Pixels]],
    name: str,
    *,
    trust_stamp: bool = True,
) -> Pixels:
    """Return an array of images as a private memory map of a file of the cache, which is made if it must be.

    The file is used while it is whole and `inputs` are the same. A large one is not read again to see whether it is
    whole while its stamp is the same.

    Args:
        path: The file; one of JSON beside it holds the inputs, a digest of the array and the file's stamp.
        inputs: What decides about the array.
        shape: Shape of the array.
        dtype: Type of its values.
        make: Called for an array that is not in the cache; returns its parts, one after the other, which are written
            as they come.
        name: Name of the dataset, for messages.
        trust_stamp: Whether a large file is not read while its stamp is the same.

    Raises:
        DataMissingError: The file cannot be written, and the array is too large to be kept in memory.
    """
    entry = path.with_suffix(".json")
    cached = read_entry(entry)
    if all(cached.get(key) == value for key, value in inputs.items()):
        array = read_array(path)
        if array is not None and array.shape == shape and _is_whole(path, array, cached, trust_stamp):
            if cached.get("stamp") != (found := _stamp_of(path)) and array.nbytes > ALWAYS_READ_BYTES:
                write_entry(entry, {**cached, "stamp": found})  # the file was copied; from now on it is known
            return array
        _log.info("%s: %s is damaged; the images are decoded again", name, path)
    try:
        with new_file(path) as temporary, temporary.open("wb") as file:
            digest = _write_parts(file, shape, dtype, make())
    except OSError as error:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > LARGEST_IN_MEMORY:
            raise DataMissingError(
                f"{name}: {path} cannot be written ({error.strerror or error}); the decoded images take "
                f"{size / 2**30:.1f} GiB. Free as much there, or decode them when they are read."
            ) from error
        _log.warning("%s cannot be written (%s); the images will be read again next time", path, error)
        return np.concatenate(list(make()))
    write_entry(entry, {**inputs, "array": digest, "stamp": _stamp_of(path)})
    array = read_array(path)
    return np.concatenate(list(make())) if array is None else array  # another process has just deleted it


def write_cache(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file of the cache, whole or not at all; if that fails, warn and go on without it."""
    try:
        with new_file(path) as temporary, temporary.open("wb") as file:
            write(file)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the images will be read again next time", path, error)


def read_array(path: Path) -> Pixels | None:
    """Map an array from the cache; None if it is absent or damaged. Writing into it does not change the file."""
    try:
        array: Pixels = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def _write_parts(file: Any, shape: tuple[int, ...], dtype: type[np.generic], parts: Iterable[Pixels]) -> str:
    """Write an array in the format of `np.save`, part by part, and return its digest, as `digest_of` has it."""
    kind = np.dtype(dtype).newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    total = hashlib.sha256(f"{kind.name} {shape}\n".encode())
    for part in parts:
        content = np.ascontiguousarray(part, dtype=kind).reshape(-1).view(np.uint8).data
        file.write(content)
        total.update(content)
    return f"sha256:{total.hexdigest()}"


def _is_whole(path: Path, array: Pixels, cached: dict[str, Any], trust_stamp: bool) -> bool:
    """Say whether an array is as it was written: by its digest, or of a large one by the stamp of its file."""
    if trust_stamp and array.nbytes > ALWAYS_READ_BYTES and cached.get("stamp") == _stamp_of(path):
        return True
    return digest_of(array) == cached.get("array")


def _stamp_of(path: Path) -> str | None:
    try:
        return stamp(path.stat())
    except OSError:
        return None


def _seal(value: dict[str, Any]) -> str:
    return digest_of(json.dumps(value, sort_keys=True))
