"""Paths of datasets, the error for missing data, and digests of content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench_core.errors import DataMissingError, RequestError
from bench_core.files import cache_root as cache_root
from bench_core.files import expanded

NO_FOLDER = Path(os.devnull) / "no-home"  # of a user without a home; below a file, so nothing can be there


def default_data_root() -> Path:
    """Return the folder of datasets without `--data-root`: `BENCH_DATA`, else `data` in the cache folder.

    Where no folder can be named, because the user has no home, nothing exists below the path that is returned, and
    nothing can be written there. So a dataset that needs no files works, and `missing_data` says what is missing.
    """
    folder = os.environ.get("BENCH_DATA")
    try:
        return expanded("BENCH_DATA", folder) if folder else cache_root() / "data"
    except RequestError:
        if folder:
            raise
        return NO_FOLDER


def missing_data(name: str, where: Path, why: str, *, fetch: bool) -> DataMissingError:
    """Return the error for a dataset that is missing or damaged.

    Args:
        name: Registered name of the dataset.
        where: File or folder that is missing or damaged.
        why: What is wrong with it: "does not exist", "its md5 differs from the published one".
        fetch: True if `--download` can fetch it.
    """
    if where.is_relative_to(NO_FOLDER):
        return DataMissingError(
            f"{name}: there is no folder of datasets: HOME is not set, and the system knows no home of this user. Set "
            "HOME or BENCH_DATA, or say --data-root FOLDER."
        )
    download = "add --download to `bench run` to fetch it, or " if fetch else ""
    return DataMissingError(
        f"{name}: {where}: {why}. To repair it, {download}put the data there; "
        "--data-root or BENCH_DATA names another folder."
    )


@contextmanager
def fetching(name: str, where: Path) -> Iterator[None]:
    """Turn errors of a download into a DataMissingError.

    with fetching("mnist", folder):
        download(...)
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise missing_data(name, where, f"cannot be fetched ({error})", fetch=False) from error


def digest_of(*parts: Tensor | npt.NDArray[Any] | bytes | str) -> str:
    """Return the SHA-256 of all parts as "sha256:" and 64 hex digits; dtype and shape of arrays and tensors count."""
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
