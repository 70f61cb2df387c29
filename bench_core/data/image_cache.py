"""Files of the cache of image folders, and stamps that tell whether a file may have changed since it was read.

Whatever is damaged or cannot be read counts as absent: all that the cache holds can be made again from the images.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench_core.data.files import cache_root, digest_of
from bench_core.files import new_file

_log = logging.getLogger("bench")
Pixels = npt.NDArray[np.uint8 | np.float32]
CACHE = ".bench-cache"  # its name in a folder of images
SETTLED_NS = 2_000_000_000  # clocks of file systems tick in steps of up to two seconds


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
    return all(max(stat.st_mtime_ns, stat.st_ctime_ns) < now_ns - SETTLED_NS for stat in stats)


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


def cached_array(path: Path, inputs: dict[str, Any], make: Callable[[], Pixels], name: str) -> Pixels:
    """Return an array of images from the cache while it is whole and `inputs` are the same, else make it.

    Args:
        path: The file; one of JSON beside it holds the inputs and a digest of the array.
        inputs: What decides about the array.
        make: Called for an array that is not in the cache.
        name: Name of the dataset, for messages.
    """
    cached = read_entry(path.with_suffix(".json"))
    if all(cached.get(key) == value for key, value in inputs.items()):
        array = _read_array(path)
        if array is not None and digest_of(array) == cached.get("array"):
            return array
        _log.info("%s: %s is damaged; the images are decoded again", name, path)
    array = make()
    write_cache(path, lambda file: np.save(file, array))
    write_entry(path.with_suffix(".json"), {**inputs, "array": digest_of(array)})
    return array


def write_cache(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file of the cache, whole or not at all; if that fails, warn and go on without it."""
    try:
        with new_file(path) as temporary, temporary.open("wb") as file:
            write(file)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the images will be read again next time", path, error)


def _seal(value: dict[str, Any]) -> str:
    return digest_of(json.dumps(value, sort_keys=True))


def _read_array(path: Path) -> Pixels | None:
    """Read an array from the cache; None if there is none or it is damaged."""
    try:
        array: Pixels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array
