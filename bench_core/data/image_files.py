"""Image files at one size: decoded once into an array, or as they are asked for.

What is kept lies in `.bench-cache` in their folder (in the cache folder where that cannot be written) and
may be deleted. The listing (path, size, time of each file) says whether the files have to be read again;
digests of their content and of the array say whether they have to be decoded again.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import Image
from torch import Tensor

from bench_core.data.files import cache_root, digest_of
from bench_core.errors import BenchError

_log = logging.getLogger("bench")
# By content, whatever a file is called: Pillow knows others, of which EPS would start a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 178_956_970  # twice Pillow's warning: 512 MiB as RGB; more is taken for a decompression bomb


class ImageFiles:
    """Some images below one folder, at one size.

    An image (of an animation its first picture) is decoded to RGB or grey, and its centre square (the shorter side
    whole) resized to `size` with PIL's bilinear filter, which antialiases.
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
        """Look at nothing yet.

        Args:
            name: Of the dataset, for messages.
            folder: Where the images are.
            part: What they are together ("train"), by which they are cached.
            files: Relative to the folder, with forward slashes.
            size: Side of the decoded images, in pixels.
            grey: One channel for three.
            max_cached_bytes: Images whose array would be larger are decoded as they are read.
        """
        self.name, self.folder, self.part, self.files = name, folder, part, files
        self.size, self.grey, self.max_cached_bytes = size, grey, max_cached_bytes

    @cached_property
    def content(self) -> str:
        """Digest of paths and bytes, from the cache while the listing is the same."""
        stats = [path.stat() for path in map(Path, self._paths)]
        lines = [f"{s.st_size} {s.st_mtime_ns} {f}" for s, f in zip(stats, self.files, strict=True)]
        stamp, beside = digest_of("\n".join(lines)), self._cache / f"{self.part}.json"
        known = _read_json(beside)
        content = str(known.get("content"))
        if known.get("listing") == stamp and known.get("seal") == digest_of(stamp, content):
            return content
        sums = _in_threads(_file_digest, self._paths)
        content = digest_of("\n".join(f"{s} {f}" for s, f in zip(sums, self.files, strict=True)))
        _publish(beside, _json_bytes({"listing": stamp, "content": content, "seal": digest_of(stamp, content)}))
        return content

    def undecodable(self) -> dict[str, str]:
        """File -> why it cannot be decoded; looked at once for the same files and decoder."""
        beside = self._cache / f"{self.part}-undecodable.json"
        made_of = {"content": self.content, "decoder": f"pillow {PIL.__version__}"}
        known = _read_json(beside)
        found = known.get("files")
        if isinstance(found, dict) and all(known.get(k) == v for k, v in made_of.items()):
            return {file: str(why) for file, why in found.items()}
        reasons = _in_threads(_why_undecodable, self._paths)
        found = {file: why for file, why in zip(self.files, reasons, strict=True) if why}
        _publish(beside, _json_bytes({**made_of, "files": found}))
        return found

    def load(self) -> "Tensor | FileReader":
        """All of them, uint8 (N, C, size, size) in memory, or a Reader where that is too large."""
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

    def _array(self) -> npt.NDArray[np.uint8]:
        """The images, from the cache while files, decoder and array are the same."""
        path = self._cache / f"{self.part}-{self.size}{'-grey' if self.grey else ''}.npy"
        beside = path.with_suffix(".json")
        made_of = {"content": self.content, "decoder": f"pillow {PIL.__version__}"}
        known = _read_json(beside)
        if all(known.get(k) == v for k, v in made_of.items()):
            array = _read_array(path)
            if array is not None and digest_of(array) == known.get("array"):
                return array
            _log.info("%s: %s is damaged and is made again", self.name, path)
        _log.info("%s: decoding %s images of %s, kept in %s", self.name, f"{len(self.files):,}", self.part, path)
        array = decode(self._paths, self.size, self.grey)
        _publish(path, lambda file: np.save(file, array))
        _publish(beside, _json_bytes({**made_of, "array": digest_of(array)}))
        return array


class FileReader:
    """Images that are decoded as they are read."""

    def __init__(self, paths: Sequence[str], size: int, grey: bool) -> None:
        """Open nothing yet.

        Args:
            paths: One image each.
            size: Side of the decoded images, in pixels.
            grey: One channel for three.
        """
        self.paths, self.size, self.grey = paths, size, grey

    def __len__(self) -> int:
        """Number of items."""
        return len(self.paths)

    def read(self, index: Tensor) -> Tensor:
        """Images at index (N,) int64: uint8 (N, C, size, size)."""
        return torch.from_numpy(decode([self.paths[i] for i in index.tolist()], self.size, self.grey))


def decode(paths: Sequence[str], size: int, grey: bool = False) -> npt.NDArray[np.uint8]:
    """Images as uint8 (N, C, size, size).

    Raises:
        BenchError: Some cannot be read; names the first and says how many.
    """
    out = np.empty((len(paths), 1 if grey else 3, size, size), np.uint8)

    def one(k: int) -> str:
        try:
            out[k] = _square(paths[k], size, grey)
        except Exception as error:  # a damaged file may make Pillow raise anything
            return str(error) or type(error).__name__
        return ""

    with warnings.catch_warnings():  # round the threads, which share it
        warnings.simplefilter("ignore")  # of Pillow: a file is read, or named
        errors = _in_threads(one, range(len(paths)))
    broken = [k for k, error in enumerate(errors) if error]
    if broken:
        raise BenchError(
            f"{len(broken)} of {len(paths)} images cannot be read, the first is {paths[broken[0]]}: "
            f"{errors[broken[0]]}. Replace them or take them out."
        )
    return out


def _square(path: str, size: int, grey: bool) -> npt.NDArray[np.uint8]:
    """The centre square of one image: (C, size, size)."""
    with Image.open(path, formats=FORMATS) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise OSError(f"{opened.width} x {opened.height} pixels are more than {MAX_PIXELS:,}")
        image = _eight_bits(opened).convert("L" if grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _why_undecodable(path: str) -> str:
    """Empty for an image that can be decoded."""
    try:
        decode([path], 1)
    except BenchError as error:
        return str(error.__cause__ or error)
    return ""


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits scaled to 8 (Pillow would clip it); of 32 bits refused, as its range is anybody's guess."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise OSError(f"pixels of mode {image.mode} (32 bits) have no known range; save it with 8 or 16 bits")
    return image


def _in_threads(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Reading, decoding and hashing leave the interpreter's lock, so threads serve."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(work, items))


def _file_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _read_array(path: Path) -> npt.NDArray[np.uint8] | None:
    try:
        array: npt.NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def _json_bytes(known: dict[str, Any]) -> Callable[[Any], object]:
    return lambda file: file.write(json.dumps(known, indent=1).encode())


def _publish(path: Path, write: Callable[[Any], object]) -> None:
    """Write beside and rename, so that nobody reads half a file; do without where that fails."""
    beside = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            write(file)
        beside.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the images will be decoded again next time", path, error)
        with suppress(OSError):
            beside.unlink(missing_ok=True)
