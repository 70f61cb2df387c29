"""Tensors in safetensors files, written whole."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench_core.errors import StoreError
from bench_core.files import file_digest


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file whole."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, temporary)
    os.replace(temporary, path)


def load_tensors(path: Path, digest: str) -> dict[str, Tensor]:
    """Read a safetensors file that must have this SHA-256."""
    if not path.is_file() or file_digest(path) != digest:
        raise StoreError(f"{path} is missing or damaged; delete {path.parent} and run again.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise StoreError(f"{path} is no safetensors file ({error}).") from error


def holds_tensors(path: Path) -> bool:
    """Whether it is a safetensors file; reads its header alone."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
