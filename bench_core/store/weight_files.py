"""Reads files of weights that came from somewhere else: safetensors, and what `torch.save` wrote (.pt, .pth, .ckpt).

Code in a file is never run. Mappings inside a file become part of the names of their tensors:
{"state_dict": {"conv1.weight": ...}} is read as "state_dict.conv1.weight".
"""

import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest
from bench_core.store.tensors import holds_tensors

CONTAINERS = ("state_dict", "model", "teacher", "classy_state_dict")  # where checkpoints usually keep the weights
_NEEDS_CODE = re.compile(r"Unsupported (?:global: GLOBAL|class) (\S+)")
_LARGEST_PICKLE = 2**26  # bytes of a pickle, without its tensors, that are searched for the names of containers
_DEEPEST = 8  # mappings in mappings


def check_weights(path: Path) -> None:
    """Check that a file can be read as weights; of a safetensors file only the header is read.

    Raises:
        RequestError: It holds no weights, or code that would have to be run.
    """
    if not holds_tensors(path):
        _read_torch(path)


def read_weights(path: Path, digest: str) -> dict[str, Tensor]:
    """Return name -> tensor of all tensors in a file, on the CPU.

    Args:
        path: A safetensors file, or one that `torch.save` wrote.
        digest: The SHA-256 that the file must have.

    Raises:
        StoreError: It is missing or has changed.
        RequestError: It holds no weights, or code that would have to be run.
    """
    if not path.is_file() or file_digest(path) != digest:
        raise StoreError(f"{path} is missing or has changed since this run was planned; run the command again.")
    return load_file(path) if holds_tensors(path) else _read_torch(path)


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of archives that are no files of weights: refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a stranger's file: torch raises whatever its bytes lead to
        needed = _NEEDS_CODE.search(str(error))
        if needed:
            raise RequestError(_how_to_convert(path, needed[1])) from error
        raise RequestError(
            f"{path} holds no weights: it is no safetensors file and none that torch.save wrote, or it is damaged."
        ) from error
    tensors: dict[str, Tensor] = {}
    for name, tensor in _tensors(content, "", _DEEPEST):
        tensors.setdefault(name, tensor)
    if not tensors:
        raise RequestError(f"{path} holds no weights: it has no tensor under a name, as a state_dict() has.")
    return tensors


def _tensors(content: object, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors under names; the state of an optimizer has numbers in place of names and is left out."""
    if not isinstance(content, Mapping) or depth == 0:
        return
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(name, str):
            yield from _tensors(value, f"{prefix}{name}.", depth - 1)


def _how_to_convert(path: Path, needed: str) -> str:
    """Return the message for a file that needs code, with the two lines that write its tensors alone."""
    raw = _pickled(path)
    found = [name for name in (*CONTAINERS, "student") if struct.pack("<I", len(name)) + name.encode() in raw]
    weights = f"{{k: v for k, v in c.items() if k in {found}}}" if found else "c.state_dict()"
    return (
        f"{path} holds more than tensors ({needed}); reading it would run its code. If you trust it, convert it:\n"
        f"  import torch; c = torch.load({str(path)!r}, map_location='cpu', weights_only=False)\n"
        f"  torch.save({weights}, {str(path.with_suffix('.weights.pt'))!r})"
    )


def _pickled(path: Path) -> bytes:
    """Return the pickle of a file that torch wrote, without its tensors; of the older format, the file's beginning."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inner = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            with archive.open(inner) as file:
                return file.read(_LARGEST_PICKLE)
    with path.open("rb") as file:
        return file.read(_LARGEST_PICKLE)
