"""Images that a table holds as the bytes of their files: decoded at one size by the rules of image folders.

    images = EncodedImages("my_data", blobs, size=64, content=digest)
    split = Split(images.load())

Decoded images lie in a file of the cache under the digest of their contents, so no other images are ever read from it.
"""

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench_core.data.files import cache_root, digest_of
from bench_core.data.image_cache import Pixels, cached_array, is_settled, read_entry, stamp, write_entry
from bench_core.data.image_files import decode
from bench_core.data.image_pixels import decoder_version
from bench_core.data.mapped import tensor_of

_log = logging.getLogger("bench")
_BLOCK = 1024  # images that are read at once


class Blobs(Protocol):
    """Contents of image files, read by position; what `EncodedImages` needs of a table."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, places: Iterable[int]) -> list[bytes]:
        """Return the content of some images, in that order."""

    def names(self, places: Iterable[int]) -> list[str]:
        """Return the names of some images, for messages."""


class EncodedImages:
    """A group of images in a table, at one size."""

    def __init__(
        self,
        name: str,
        blobs: Blobs,
        size: int,
        *,
        content: str,
        grey: bool = False,
        depth: int = 16,
        max_cached_bytes: int = 4 << 30,
    ) -> None:
        """Keep the arguments; nothing is read yet.

        Args:
            name: Name of the dataset, for messages.
            blobs: The images.
            size: Side of the decoded images, in pixels.
            content: Digest of all images, in their order (`content_digest`).
            grey: Decode to one grey channel instead of three.
            depth: Number of bits of the values in images whose header says 16 bits, 8 to 16.
            max_cached_bytes: If the array of all images is larger, they are decoded when they are read.
        """
        self.name, self.blobs, self.size, self.content = name, blobs, size, content
        self.grey, self.depth, self.max_cached_bytes = grey, depth, max_cached_bytes

    def load(self) -> "Tensor | EncodedReader":
        """Return all images (N, C, size, size) in memory, or a Reader if the array would be too large.

        Raises:
            DataMissingError: Some images cannot be decoded.
        """
        reader = EncodedReader(self.blobs, self.size, self.grey, self.depth)
        if len(self.blobs) * (1 if self.grey else 3) * self.size**2 > self.max_cached_bytes:
            return reader
        path = self._path()

        def make() -> Iterator[Pixels]:
            _log.info("%s: decoding %s images into %s", self.name, f"{len(self.blobs):,}", path)
            for start in range(0, len(self.blobs), _BLOCK):
                yield reader.read(torch.arange(start, min(start + _BLOCK, len(self.blobs)))).numpy()

        shape = (len(self.blobs), 1 if self.grey else 3, self.size, self.size)
        return tensor_of(cached_array(path, {"decoder": decoder_version()}, shape, np.uint8, make, self.name))

    def _path(self) -> Path:
        """Return the file of decoded images; whatever decides about them but the decoder is in its name."""
        form = f"{self.size}{'-grey' if self.grey else ''}{'' if self.depth == 16 else f'-{self.depth}'}"
        return cache_root() / "encoded" / f"{self.content.removeprefix('sha256:')}-{form}.npy"


class EncodedReader:
    """A Reader of images in a table, decoded when they are read."""

    def __init__(self, blobs: Blobs, size: int, grey: bool, depth: int) -> None:
        """Keep the arguments, which are those of `EncodedImages`."""
        self.blobs, self.size, self.grey, self.depth = blobs, size, grey, depth

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.blobs)

    def read(self, index: Tensor) -> Tensor:
        """Decode the images at index (N,) int64 to (N, C, size, size) uint8."""
        images = torch.empty(len(index), 1 if self.grey else 3, self.size, self.size, dtype=torch.uint8)
        for start in range(0, len(index), _BLOCK):
            places = index[start : start + _BLOCK].tolist()
            decoded = decode(self.blobs.read(places), self.size, self.grey, self.depth, names=self.blobs.names(places))
            images[start : start + _BLOCK] = torch.from_numpy(decoded)
        return images


def content_digest(blobs: Blobs, files: Sequence[Path] = (), version: str = "", *, trust_stamps: bool = False) -> str:
    """Return the SHA-256 of the contents of all images, in their order, as "sha256:" and 64 hex digits.

    Args:
        blobs: The images.
        files: The files that hold them. While version and these are the same, the digest comes from the cache.
        version: What else decides which images these are, such as the table's own fingerprint.
        trust_stamps: Whether the images are not hashed again while sizes, times and inodes of `files` are the same.

    Raises:
        OSError: A file cannot be read.
    """
    now, stats = time.time_ns(), [file.stat() for file in files]
    stamps = [f"{stamp(stat)} {file}" for stat, file in zip(stats, files, strict=True)]
    listing = digest_of("\n".join([version, str(len(blobs)), *stamps])).removeprefix("sha256:")
    entry = cache_root() / "encoded" / f"listing-{listing}.json"
    known = read_entry(entry).get("content") if files and trust_stamps else None
    if isinstance(known, str):
        return known
    content = _hash(blobs)
    if files and is_settled(stats, now):
        write_entry(entry, {"content": content})
    return content


def _hash(blobs: Blobs) -> str:
    total = hashlib.sha256()
    for start in range(0, len(blobs), _BLOCK):
        for content in blobs.read(range(start, min(start + _BLOCK, len(blobs)))):
            total.update(hashlib.sha256(content).digest())
    return f"sha256:{total.hexdigest()}"
