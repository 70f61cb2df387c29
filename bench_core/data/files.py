"""Where datasets lie, what is said of one that is missing, and digests of content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench_core.errors import DataMissingError


def default_data_root() -> Path:
    """Where data sets lie without `--data-root`: `BENCH_DATA`, else `data` in the cache folder."""
    named = os.environ.get("BENCH_DATA")
    return Path(named).expanduser() if named else cache_root() / "data"


def cache_root() -> Path:
    """`bench` under `XDG_CACHE_HOME`, else under ~/.cache; all in it may be deleted."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".cache") / "bench"


def missing_data(name: str, where: Path, why: str, *, fetch: bool) -> DataMissingError:
    """The error of a data set that is not there.

    Args:
        name: Registered name.
        where: File or folder that was looked for.
        why: What was found instead: "does not exist", "its md5 differs from the published one".
        fetch: Whether `--download` can fetch it.
    """
    get = "add --download to `bench run` to fetch it, " if fetch else ""
    return DataMissingError(
        f"{name}: {where}: {why}. To mend it, {get}{'or ' if fetch else ''}put the data there; "
        "--data-root or BENCH_DATA names another folder."
    )


@contextmanager
def fetching(name: str, where: Path) -> Iterator[None]:
    """Around a download: what goes wrong in it becomes a DataMissingError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise missing_data(name, where, f"cannot be fetched ({error})", fetch=False) from error


def digest_of(*parts: Tensor | npt.NDArray[Any] | bytes | str) -> str:
    """Content digest, "sha256:" and 64 hex digits; of arrays and tensors with dtype and shape."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str | bytes):
            data = part.encode() if isinstance(part, str) else part
            total.update(f"bytes {len(data)}\n".encode() + data)
        else:
            array = part.detach().cpu().numpy() if isinstance(part, Tensor) else part
            total.update(f"{array.dtype.name} {array.shape}\n".encode())
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            total.update(little.reshape(-1).view(np.uint8).data)  # no copy: arrays may be large
    return f"sha256:{total.hexdigest()}"
