"""Image files at one size: decoded once into a cached array, or one by one when they are read.

The cache is `.bench-cache` in the images' folder, or a folder under the cache folder of `bench` if that cannot be
written; it may be deleted. For each group of images it holds

- `PART.json`, if the files have more than 64 MiB: a listing (path and stamp of each file) and the digest of all
  contents. While the listing is the same, the files are not read again. Smaller groups are read every time.
- `PART-SIZE.npy` and `.json`: the decoded images, with digests of the contents and of the array, the decoder's version
  and the depth. While all are the same, the files are not decoded again. Images as fractions lie in
  `PART-SIZE-float.npy`, grey ones in `PART-SIZE-grey.npy`, JPEG files in another way in `PART-SIZE-scaled.npy` and
  `PART-SIZE-gpu.npy`.
- `PART-brightest.json`: the largest value of images of 16 bits; `PART-undecodable.json`: images that are damaged.
"""

import hashlib
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from bench_core.data.files import digest_of, missing_data
from bench_core.data.gpu_jpeg import decode_jpegs
from bench_core.data.image_cache import Pixels, Seen, cache_folder, cached_array, is_settled, read_entry, write_entry
from bench_core.data.image_depth import brightest
from bench_core.data.image_pixels import Way, decode_fractions, decode_square, decoder_version
from bench_core.data.mapped import tensor_of
from bench_core.errors import DataMissingError

_log = logging.getLogger("bench")
ALWAYS_READ_BYTES = 64 << 20  # files of up to this size together are hashed every time
BLOCK_BYTES = 256 << 20  # decoded images that are in memory at once while an array is made


class ImageFiles:
    """A group of images below one folder, at one size.

    Each image is decoded to RGB or grey; `bench_core.data.image_pixels` says how.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        part: str,
        files: Sequence[str],
        size: int,
        *,
        grey: bool = False,
        max_cached_bytes: int = 4 << 30,
        trust_stamps: bool = True,
        floats: bool = False,
        way: Way = "exact",
    ) -> None:
        """Keep the arguments; no file is read yet.

        Args:
            name: Name of the dataset, for messages.
            folder: Folder of the images.
            part: Name of this group of images in the cache ("train").
            files: Paths relative to the folder, with forward slashes.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
            max_cached_bytes: If the array of all images is larger, they are decoded when they are read.
            trust_stamps: Whether files are not hashed again while their sizes, times and inodes are the same.
            floats: Decode to float32 in [0, 1] instead of uint8, so that values of 16 bits are kept.
            way: How JPEG files are decoded, see `image_pixels`; only `exact` goes with `floats`.
        """
        self.name, self.folder, self.part, self.files = name, folder, part, files
        self.size, self.grey, self.max_cached_bytes = size, grey, max_cached_bytes
        self.trust_stamps, self.floats, self.way = trust_stamps, floats, way

    @cached_property
    def content(self) -> str:
        """Digest of all paths and contents; of a large group from the cache while the stamps of all files are the same.

        Raises:
            DataMissingError: A file cannot be read.
        """
        try:
            return self._read_content()
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
            raise missing_data(self.name, Path(error.filename or self.folder), why, fetch=False) from error

    def check_files(self) -> None:
        """Read all files again for `content`, also those that the cache has seen before."""
        self.trust_stamps = False
        self.__dict__.pop("content", None)

    def undecodable(self) -> dict[str, str]:
        """Return file -> reason for all images that cannot be decoded; cached for the same contents and decoder."""

        def compute() -> dict[str, str]:
            with _no_warnings():
                reasons = _in_threads(lambda path: _try_to_decode(path, 1, grey=False, depth=16)[1], self._paths)
            return {file: reason for file, reason in zip(self.files, reasons, strict=True) if reason}

        return dict(self._cached("undecodable", dict, compute))

    def brightest(self) -> int | None:
        """Return the largest value of images whose header says 16 bits, or None; cached like `undecodable`."""

        def compute() -> list[int]:
            with _no_warnings():
                values = _in_threads(brightest, self._paths)
            return [max(found)] if (found := [value for value in values if value is not None]) else []

        values: list[int] = self._cached("brightest", list, compute)
        return values[0] if values else None

    def load(self, depth: int = 16) -> "Tensor | FileReader":
        """Return all images (N, C, size, size) in memory, or a Reader if the array would be too large.

        Args:
            depth: Number of bits of the values in images whose header says 16 bits, 8 to 16.
        """
        values = len(self.files) * (1 if self.grey else 3) * self.size**2
        if values * (4 if self.floats else 1) > self.max_cached_bytes:
            return FileReader(self._paths, self.size, self.grey, depth, self.floats, self.way)
        return tensor_of(self._array(depth))

    @cached_property
    def _paths(self) -> list[str]:
        above = f"{self.folder}/"  # not `Path`, which takes seconds for a million files
        return [above + file for file in self.files]

    @cached_property
    def _cache(self) -> Path:
        return cache_folder(self.folder)

    def _read_content(self) -> str:
        """Hash all files, unless they are many bytes and the cache has the digest for their stamps."""
        now, seen = time.time_ns(), Seen.of(self._paths)
        if seen.size <= ALWAYS_READ_BYTES:
            return self._hash_files()
        listing = digest_of("\n".join(f"{stamp} {file}" for stamp, file in zip(seen.stamps, self.files, strict=True)))
        cached = read_entry(self._cache / f"{self.part}.json")
        known = cached.get("content") if cached.get("listing") == listing else None
        if isinstance(known, str) and self.trust_stamps:
            return known
        content = self._hash_files()
        if known not in (None, content):
            _log.warning("%s: images of %s changed, but not their sizes, times and inodes", self.name, self.part)
        if seen.newest is None or is_settled([seen.newest], now):
            write_entry(self._cache / f"{self.part}.json", {"listing": listing, "content": content})
        return content

    def _hash_files(self) -> str:
        digests = _in_threads(_file_digest, self._paths)
        return digest_of("\n".join(f"{digest} {file}" for digest, file in zip(digests, self.files, strict=True)))

    def _decoder_inputs(self) -> dict[str, Any]:
        """Return what decides about decoded pixels; kept beside cached results to see when they are out of date."""
        return {"content": self.content, "decoder": decoder_version()}

    def _cached(self, what: str, kind: type, compute: Callable[[], Any]) -> Any:
        """Return a result from the cache while contents and decoder are the same, else compute it."""
        cache_file, inputs = self._cache / f"{self.part}-{what}.json", self._decoder_inputs()
        cached = read_entry(cache_file)
        if isinstance(cached.get(what), kind) and all(cached.get(key) == value for key, value in inputs.items()):
            return cached[what]
        result = compute()
        write_entry(cache_file, {**inputs, what: result})
        return result

    def _array(self, depth: int) -> Pixels:
        """Return the decoded images, from the cache while contents, decoder, depth and array are the same."""
        forms = f"{'-grey' if self.grey else ''}{'-float' if self.floats else ''}"
        forms += "" if self.way == "exact" else f"-{self.way}"
        path = self._cache / f"{self.part}-{self.size}{forms}.npy"
        inputs = {**self._decoder_inputs(), "depth": depth}
        if self.way == "gpu":
            inputs["torchvision"] = version("torchvision")

        def make() -> Iterator[Pixels]:
            _log.info("%s: decoding %s images of %s into %s", self.name, f"{len(self.files):,}", self.part, path)
            block = max(1, BLOCK_BYTES // (math.prod(shape[1:]) * np.dtype(dtype).itemsize))
            for start in range(0, len(paths), block):
                part = paths[start : start + block]
                yield decode(part, self.size, self.grey, depth, self.floats, way=self.way)

        paths, dtype = self._paths, np.float32 if self.floats else np.uint8
        shape = (len(paths), 1 if self.grey else 3, self.size, self.size)
        return cached_array(path, inputs, shape, dtype, make, self.name, trust_stamp=self.trust_stamps)


class FileReader:
    """A Reader of images that decodes them when they are read."""

    def __init__(
        self,
        paths: Sequence[str],
        size: int,
        grey: bool,
        depth: int = 16,
        floats: bool = False,
        way: Way = "exact",
    ) -> None:
        """Keep the arguments; no file is opened yet.

        Args:
            paths: Path of each image.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
            depth: Number of bits of the values in images whose header says 16 bits, 8 to 16.
            floats: Decode to float32 in [0, 1] instead of uint8.
            way: How JPEG files are decoded, see `image_pixels`; only `exact` goes with `floats`.
        """
        self.paths, self.size, self.grey, self.depth = paths, size, grey, depth
        self.floats, self.way = floats, way

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def read(self, index: Tensor) -> Tensor:
        """Decode the images at index (N,) int64 to (N, C, size, size), uint8 or float32."""
        paths = [self.paths[i] for i in index.tolist()]
        return torch.from_numpy(decode(paths, self.size, self.grey, self.depth, self.floats, way=self.way))


def decode(
    images: Sequence[str | bytes],
    size: int,
    grey: bool = False,
    depth: int = 16,
    floats: bool = False,
    names: Sequence[str] | None = None,
    *,
    way: Way = "exact",
) -> Pixels:
    """Decode image files to (N, C, size, size), uint8 or float32 in [0, 1].

    Args:
        images: Path of each image, or the content of its file.
        size: Side of the decoded images, in pixels.
        grey: Decode to one grey channel instead of three.
        depth: Number of bits of the values in images whose header says 16 bits, 8 to 16.
        floats: Decode to float32 instead of uint8.
        names: Name of each image, for messages; without them, the images must be paths.
        way: How JPEG files are decoded, see `image_pixels`; only `exact` goes with `floats`.

    Raises:
        DataMissingError: Some images cannot be decoded; the message has the first one, its reason, and their number.
    """
    array: Pixels = np.empty((len(images), 1 if grey else 3, size, size), np.float32 if floats else np.uint8)
    on_gpu = decode_jpegs(images, size, grey) if way == "gpu" else [None] * len(images)

    def decode_one(number: int) -> str:
        if (square := on_gpu[number]) is not None:
            array[number] = square.numpy()
            return ""
        pixels, reason = _try_to_decode(images[number], size, grey, depth, floats, way)
        if pixels is not None:
            array[number] = pixels
        return reason

    with _no_warnings():
        errors = _in_threads(decode_one, range(len(images)))
    broken = [number for number, error in enumerate(errors) if error]
    if broken:
        first = broken[0]
        raise DataMissingError(
            f"{len(broken)} of {len(images)} images cannot be read, the first is {(names or images)[first]!s}: "
            f"{errors[first]}. Replace or remove them."
        )
    return array


def _try_to_decode(
    path: str | bytes, size: int, grey: bool, depth: int, floats: bool = False, way: Way = "exact"
) -> tuple[Pixels | None, str]:
    """Return the pixels of an image and "", or None and the reason why it cannot be decoded."""
    try:
        if floats:
            return decode_fractions(path, size, grey, depth), ""
        return decode_square(path, size, grey, depth, scaled=way == "scaled"), ""
    except Exception as error:  # a damaged file may make Pillow raise anything
        return None, str(error) or type(error).__name__


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence Pillow's warnings, since images are decoded or reported; goes around all threads, which share filters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Apply a function to all items in threads; reading, decoding and hashing release the interpreter's lock."""
    threads = _num_threads()
    if threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    count = min(64, math.ceil(len(items) / threads))  # one by one, queues would take longer
    parts = [items[start : start + count] for start in range(0, len(items), count)]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        return [result for part in pool.map(lambda part: [work(item) for item in part], parts) for result in part]


def _num_threads() -> int:
    """Return the number of threads that read, at most 16: the cores that this process may use, shared among readers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    worker = get_worker_info()
    return max(1, min(16, cores // (worker.num_workers if worker else 1)))


def _file_digest(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # much faster than Path.read_bytes where files are small
        return hashlib.sha256(file.read()).hexdigest()
