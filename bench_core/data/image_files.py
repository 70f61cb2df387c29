"""Image files at one size: decoded once into a cached array, or one by one when they are read.

The cache is `.bench-cache` in the images' folder, or a folder under the cache folder of `bench` if that cannot be
written; it may be deleted. For each group of images it holds

- `PART.json`: a listing (path, size, time of each file) and the digest of all contents. While the listing is the same,
  the files are not read again.
- `PART-SIZE.npy` and `.json`: the decoded images, with digests of the contents and of the array. While both are the
  same, the files are not decoded again.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import Image
from torch import Tensor

from bench_core.data.files import cache_root, digest_of
from bench_core.errors import BenchError
from bench_core.files import new_file

_log = logging.getLogger("bench")
# Formats by a file's content, whatever its suffix. Pillow knows more; its EPS reader would start another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 178_956_970  # twice Pillow's limit for a warning, 512 MiB as RGB; guards against decompression bombs


class ImageFiles:
    """A group of images below one folder, at one size.

    Each image is decoded to RGB or grey (an animation to its first frame). Its largest centred square is resized to
    `size` with PIL's bilinear filter, which antialiases.
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
        """
        self.name, self.folder, self.part, self.files = name, folder, part, files
        self.size, self.grey, self.max_cached_bytes = size, grey, max_cached_bytes

    @cached_property
    def content(self) -> str:
        """Digest of all paths and contents; read from the cache while the listing of the files is the same."""
        stats = [os.stat(path) for path in self._paths]
        lines = [f"{s.st_size} {s.st_mtime_ns} {file}" for s, file in zip(stats, self.files, strict=True)]
        listing, cache_file = digest_of("\n".join(lines)), self._cache / f"{self.part}.json"
        cached = _read_json(cache_file)
        content = str(cached.get("content"))
        if cached.get("listing") == listing and cached.get("seal") == digest_of(listing, content):
            return content
        digests = _in_threads(_file_digest, self._paths)
        content = digest_of("\n".join(f"{digest} {file}" for digest, file in zip(digests, self.files, strict=True)))
        seal = digest_of(listing, content)
        _write_cache(cache_file, _json_writer({"listing": listing, "content": content, "seal": seal}))
        return content

    def undecodable(self) -> dict[str, str]:
        """Return file -> reason for all images that cannot be decoded; cached for the same contents and decoder."""
        cache_file = self._cache / f"{self.part}-undecodable.json"
        inputs = self._decoder_inputs()
        cached = _read_json(cache_file)
        files = cached.get("files")
        if isinstance(files, dict) and all(cached.get(key) == value for key, value in inputs.items()):
            return {file: str(reason) for file, reason in files.items()}
        reasons = _in_threads(_why_undecodable, self._paths)
        undecodable = {file: reason for file, reason in zip(self.files, reasons, strict=True) if reason}
        _write_cache(cache_file, _json_writer({**inputs, "files": undecodable}))
        return undecodable

    def load(self) -> "Tensor | FileReader":
        """Return all images as uint8 (N, C, size, size) in memory, or a Reader if the array would be too large."""
        if len(self.files) * (1 if self.grey else 3) * self.size**2 > self.max_cached_bytes:
            return FileReader(self._paths, self.size, self.grey)
        return torch.from_numpy(self._array())

    @property
    def _paths(self) -> list[str]:
        return [str(self.folder / file) for file in self.files]

    @cached_property
    def _cache(self) -> Path:
        if os.access(self.folder, os.W_OK):
            return self.folder / ".bench-cache"
        key = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        return cache_root() / "folders" / key

    def _decoder_inputs(self) -> dict[str, str]:
        """Return what decides about decoded pixels; kept beside cached results to see when they are out of date."""
        return {"content": self.content, "decoder": f"pillow {PIL.__version__}"}

    def _array(self) -> npt.NDArray[np.uint8]:
        """Return the decoded images, from the cache while contents, decoder and array are the same."""
        path = self._cache / f"{self.part}-{self.size}{'-grey' if self.grey else ''}.npy"
        description_file = path.with_suffix(".json")
        inputs = self._decoder_inputs()
        cached = _read_json(description_file)
        if all(cached.get(key) == value for key, value in inputs.items()):
            array = _read_array(path)
            if array is not None and digest_of(array) == cached.get("array"):
                return array
            _log.info("%s: %s is damaged; the images are decoded again", self.name, path)
        _log.info("%s: decoding %s images of %s into %s", self.name, f"{len(self.files):,}", self.part, path)
        array = decode(self._paths, self.size, self.grey)
        _write_cache(path, lambda file: np.save(file, array))
        _write_cache(description_file, _json_writer({**inputs, "array": digest_of(array)}))
        return array


class FileReader:
    """A Reader of images that decodes them when they are read."""

    def __init__(self, paths: Sequence[str], size: int, grey: bool) -> None:
        """Keep the arguments; no file is opened yet.

        Args:
            paths: Path of each image.
            size: Side of the decoded images, in pixels.
            grey: Decode to one grey channel instead of three.
        """
        self.paths, self.size, self.grey = paths, size, grey

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def read(self, index: Tensor) -> Tensor:
        """Decode the images at index (N,) int64 to uint8 (N, C, size, size)."""
        return torch.from_numpy(decode([self.paths[i] for i in index.tolist()], self.size, self.grey))


def decode(paths: Sequence[str], size: int, grey: bool = False) -> npt.NDArray[np.uint8]:
    """Decode image files to uint8 (N, C, size, size).

    Raises:
        BenchError: Some images cannot be decoded; the message has the first one, its reason, and their number.
    """
    images = np.empty((len(paths), 1 if grey else 3, size, size), np.uint8)

    def decode_one(number: int) -> str:
        try:
            images[number] = _square(paths[number], size, grey)
        except Exception as error:  # a damaged file may make Pillow raise anything
            return str(error) or type(error).__name__
        return ""

    with warnings.catch_warnings():  # around all threads, which share the filters
        warnings.simplefilter("ignore")  # Pillow's: an image is either decoded or reported below
        errors = _in_threads(decode_one, range(len(paths)))
    broken = [number for number, error in enumerate(errors) if error]
    if broken:
        first = broken[0]
        raise BenchError(
            f"{len(broken)} of {len(paths)} images cannot be read, the first is {paths[first]}: "
            f"{errors[first]}. Replace or remove them."
        )
    return images


def _square(path: str, size: int, grey: bool) -> npt.NDArray[np.uint8]:
    """Decode the largest centred square of one image to (C, size, size)."""
    with Image.open(path, formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise OSError(f"{file.width} x {file.height} pixels are more than {MAX_PIXELS:,}")
        image = _eight_bits(file).convert("L" if grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _why_undecodable(path: str) -> str:
    """Return the reason why an image cannot be decoded, or an empty string if it can."""
    try:
        decode([path], 1)
    except BenchError as error:
        return str(error.__cause__ or error)
    return ""


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale an image of 16 bits to 8, which Pillow would clip; refuse 32 bits, whose range is unknown."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise OSError(f"pixels of mode {image.mode} (32 bits) have no known range; save it with 8 or 16 bits")
    return image


def _in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Apply a function to all items in threads; reading, decoding and hashing release the interpreter's lock."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))


def _file_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from the cache; empty if there is none or it is damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_array(path: Path) -> npt.NDArray[np.uint8] | None:
    """Read an array from the cache; None if there is none or it is damaged."""
    try:
        array: npt.NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def _json_writer(content: dict[str, Any]) -> Callable[[Any], object]:
    return lambda file: file.write(json.dumps(content, indent=1).encode())


def _write_cache(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file of the cache, whole or not at all; if that fails, warn and go on without it."""
    try:
        with new_file(path) as temporary, temporary.open("wb") as file:
            write(file)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the images will be decoded again next time", path, error)
