"""Tensors in safetensors files that appear whole, written at once or row by row, and read as memory maps."""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save, save_file
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


class TensorRows:
    """A safetensors file that is filled in pieces: some rows of all its tensors at a time.

    The first piece fixes the names, types and shapes. The finished file has the bytes that `save_tensors` would have
    written of the whole tensors.

    Args:
        file: File open for writing, empty and without a buffer.
        path: The path that errors name.
        rows: Number of rows of every tensor.
    """

    def __init__(self, file: FileIO, path: Path, rows: int) -> None:
        """Keep the file; nothing is written before the first piece comes."""
        self.rows, self.filled = rows, 0
        self._file, self._path = file, path
        self._start: dict[str, int] = {}  # name -> position of its first row in the file
        self._first: dict[str, Tensor] = {}  # name -> a tensor without rows, of its type and shape

    def append(self, piece: Mapping[str, Tensor]) -> None:
        """Write the next rows of each tensor.

        Args:
            piece: Name -> values (n, ...), with one n for all.

        Raises:
            ValueError: Names, types, shapes or numbers of rows do not fit those of the first piece.
            StoreError: The file cannot be written.
        """
        empty = {name: values.new_empty((0, *values.shape[1:]), device="cpu") for name, values in piece.items()}
        self._first = self._first or empty
        if _described(empty) != _described(self._first):
            raise ValueError(f"the first rows have {_described(self._first)}, later ones {_described(empty)}")
        sizes = {len(values) for values in piece.values()}
        if len(sizes) != 1 or self.filled + max(sizes) > self.rows:
            raise ValueError(f"rows {self.filled} to {self.rows} are missing, got {sorted(sizes)} more")
        try:
            if not self._start:
                self._write_header()
            for name, values in piece.items():
                rows = values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
                self._write(self._start[name] + self.filled * _row_bytes(values), rows.data)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written ({error}).") from error
        self.filled += max(sizes)

    def _write_header(self) -> None:
        """Write the header: the library's own for tensors without rows, with the rows put in."""
        [length] = struct.unpack("<Q", (empty := save(self._first))[:8])
        header, end = json.loads(empty[8 : 8 + length]), 0
        for name, entry in header.items():
            entry["shape"][0] = self.rows
            start, end = end, end + self.rows * _row_bytes(self._first[name])
            entry["data_offsets"] = [start, end]
            self._start[name] = start
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self._write(0, memoryview(struct.pack("<Q", len(text)) + text))
        self._start = {name: 8 + len(text) + start for name, start in self._start.items()}

    def _write(self, position: int, content: memoryview) -> None:
        """Write all of the content; the system may take it in parts."""
        self._file.seek(position)
        while content:
            content = content[self._file.write(content) :]


def _row_bytes(values: Tensor) -> int:
    return values.shape[1:].numel() * values.element_size()


def _described(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the type and shape of each tensor's rows in words."""
    return {name: f"{values.dtype} {tuple(values.shape[1:])}" for name, values in sorted(tensors.items())}


@contextmanager
def tensor_rows(path: Path, rows: int) -> Iterator[TensorRows]:
    """Yield a safetensors file to fill in pieces, so that its tensors need not lie in memory.

    The file gets its name when it is complete.

    Args:
        path: Path of the file.
        rows: Number of rows of every tensor, which must all have come at the end; ValueError otherwise.
    """
    with new_file(path) as temporary:
        with temporary.open("wb", buffering=0) as file:
            yield (growing := TensorRows(file, path, rows))
        if growing.filled < rows:
            raise ValueError(f"{growing.filled} of {rows} rows were written")


def load_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file, which must have this SHA-256 unless it is None; StoreError otherwise.

    The tensors are memory maps: a part of the file is read where it is used, and its memory can be taken back. Who
    writes to them changes a copy in memory, not the file.
    """
    if not path.is_file() or (digest is not None and file_digest(path) != digest):
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
