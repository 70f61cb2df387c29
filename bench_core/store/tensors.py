"""Tensors in safetensors files that appear whole."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench_core.errors import StoreError
from bench_core.files import file_digest, new_file

_CANNOT_OPEN = (OSError, SafetensorError, RuntimeError)  # torch, which maps the file, raises the last one


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; StoreError where that fails."""
    contents = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with new_file(path) as temporary:
        try:
            save_file(contents, temporary)
        except SafetensorError as error:  # of the disk, too: safetensors wraps it
            raise StoreError(f"{path} cannot be written ({error}).") from error


def load_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """Read a safetensors file, which must have this SHA-256; StoreError otherwise."""
    if not path.is_file() or file_digest(path) != digest:
        raise StoreError(f"{path} is missing or damaged; delete {path.parent} and run again.")
    try:
        return load_file(path)
    except _CANNOT_OPEN as error:
        raise StoreError(f"{path} is no safetensors file ({error}).") from error


def tensor_names(path: Path) -> set[str]:
    """Return the names of the tensors in a safetensors file; reads its header alone. StoreError if there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except _CANNOT_OPEN as error:
        raise StoreError(f"{path} is no safetensors file ({error}).") from error


def holds_tensors(path: Path) -> bool:
    """Return whether this is a safetensors file; reads its header alone."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except _CANNOT_OPEN:
        return False
