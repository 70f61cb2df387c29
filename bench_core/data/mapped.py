"""Splits in memory as files that several processes share: written once, and loaded as memory maps.

Processes that map one file have its pages in memory once. A map is private: whoever writes into the tensor changes
neither the file nor what other processes see.

The file of a tensor is named after the digest of its content, in the data cache: the folder that `--data-cache` or
`BENCH_DATA_CACHE` names, else one in the cache folder. It may be deleted. Every load compares the file with what was
decoded, so a damaged file is written again, and no other data is ever read from it.
"""

import logging
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench_core.contracts import Split
from bench_core.data.files import cache_root, digest_of
from bench_core.data.image_cache import Pixels, read_array
from bench_core.errors import RequestError, StoreError
from bench_core.files import make_folder, move_once, temporary_path

_log = logging.getLogger("bench")
SHARED_BYTES = 16 << 20  # what is smaller is not worth a file
VARIABLE = "BENCH_DATA_CACHE"
_IS_MAP = "bench_is_map"  # attribute of a tensor; what is computed from it does not have it


def data_cache(named: Path | None = None) -> Path | None:
    """Return the folder of mapped splits; None where there is none, because the user has no home.

    Args:
        named: The folder that `--data-cache` names; None takes `BENCH_DATA_CACHE`, else a folder of the cache folder.
    """
    if named is not None or os.environ.get(VARIABLE):
        return Path(os.path.expanduser(named or os.environ[VARIABLE]))
    try:
        return cache_root() / "splits"
    except RequestError:
        return None


def tensor_of(array: Pixels) -> Tensor:
    """Return an array as a tensor without a copy, and remember if it is a memory map."""
    tensor = torch.from_numpy(array)
    if isinstance(array, np.memmap):
        setattr(tensor, _IS_MAP, True)
    return tensor


def is_mapped(tensor: Tensor) -> bool:
    """Say whether `tensor_of` made this tensor of a memory map."""
    return hasattr(tensor, _IS_MAP)


def shared(split: Split, folder: Path | None = None) -> Split:
    """Return a split whose inputs are a memory map of a file with the same bits.

    Small inputs, and others than images and vectors in memory, are left as they are; so are inputs that are a map
    already, unless a folder is named: it may be on a disk of this machine. Where the file cannot be written or read,
    a warning says so, and the split is returned as it is.

    Args:
        split: The split.
        folder: The folder that `--data-cache` names, if any.
    """
    inputs = split.inputs
    cache = data_cache(folder)
    if cache is None or not isinstance(inputs, Tensor) or not _is_plain(inputs) or inputs.nbytes < SHARED_BYTES:
        return split
    if is_mapped(inputs) and folder is None and not os.environ.get(VARIABLE):
        return split
    path = cache / f"{digest_of(inputs).removeprefix('sha256:')}.npy"
    mapped = _same(path, inputs)
    if mapped is None:
        try:
            _write(path, inputs)
        except (OSError, StoreError) as error:
            _log.warning("%s cannot be written (%s); each process keeps its own copy of the data", path, error)
        mapped = _same(path, inputs)
    return split if mapped is None else replace(split, inputs=mapped)


def _is_plain(inputs: Tensor) -> bool:
    """Say whether a tensor is bytes in a row in memory, of a type that files of arrays have."""
    return (
        inputs.device.type == "cpu"
        and inputs.layout == torch.strided
        and inputs.is_contiguous()
        and not inputs.requires_grad
        and inputs.dtype in (torch.uint8, torch.float32, torch.float64)
    )


def _write(path: Path, inputs: Tensor) -> None:
    """Write the file of some inputs; of several writers the first wins, so that all map one file."""
    make_folder(path.parent)
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as file:
            np.save(file, inputs.numpy())
        move_once(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _same(path: Path, inputs: Tensor) -> Tensor | None:
    """Map a file; None if it is absent or has not the same bits as the inputs."""
    array = read_array(path)
    if array is not None and array.dtype == inputs.numpy().dtype and array.shape == tuple(inputs.shape):
        mapped = tensor_of(array)
        if torch.equal(mapped.view(torch.uint8), inputs.view(torch.uint8)):
            return mapped
    if path.is_file():
        _log.warning("%s is damaged; it is written again", path)
        with suppress(OSError):
            path.unlink()
    return None
