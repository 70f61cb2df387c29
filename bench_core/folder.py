"""Image folders, `root/{train,test}/<class>/<image>`: decoded once into an array, or as they are asked for.

What is kept lies in `.bench-cache` beside the splits (in the cache folder where that cannot be written) and
may be deleted. The listing (path, size, time of each file) says whether the files have to be read again;
digests of their content and of the array say whether they have to be decoded again.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
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

from bench_core.contracts import Split
from bench_core.data import cache_root, digest_of, missing_data
from bench_core.errors import BenchError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_log = logging.getLogger("bench")


@dataclass(frozen=True)
class Listing:
    """The images of one split, sorted by path.

    Attributes:
        files: Relative to the folder, with forward slashes.
        classes: Name of the class of each file.
        stamp: Digest of path, size and time of each file.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    stamp: str


class ImageFolder:
    """The images under one folder, at one size.

    Classes are the folders under `train`, numbered in sorted order. An image is decoded to RGB or grey, and
    its centre square (the shorter side whole) resized to `size` with PIL's bilinear filter, which antialiases.
    """

    def __init__(
        self, name: str, folder: Path, size: int, *, grey: bool = False, max_cached_bytes: int = 4 << 30
    ) -> None:
        """Look at nothing yet.

        Args:
            name: Of the dataset, for messages.
            folder: Holds `train` and `test`.
            size: Side of the decoded images, in pixels.
            grey: One channel for three.
            max_cached_bytes: A split whose array would be larger is decoded as it is read.
        """
        self.name, self.folder, self.size, self.grey = name, folder, size, grey
        self.max_cached_bytes = max_cached_bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one decoded image."""
        return (1 if self.grey else 3, self.size, self.size)

    @cached_property
    def listings(self) -> dict[str, Listing]:
        """Both splits; DataMissingError where one has no image."""
        found = {split: scan(self.folder, split) for split in ("train", "test")}
        for split, listing in found.items():
            if not listing.files:
                why = "has no images; they are looked for in one folder a class"
                raise missing_data(self.name, self.folder / split, why, fetch=False)
        unknown = sorted(set(found["test"].classes) - set(found["train"].classes))
        if unknown:
            raise BenchError(f"{self.folder / 'test'}: class {unknown[0]!r} does not exist under train")
        return found

    @property
    def classes(self) -> list[str]:
        """Names of the classes; the label is the position."""
        return sorted(set(self.listings["train"].classes))

    def digest(self) -> str:
        """Of the paths and bytes of all images, whatever size they are decoded to."""
        return digest_of(self._content("train"), self._content("test"))

    def load(self, split: str) -> Split:
        """`train` or `test`: uint8 (N, C, size, size) in memory, or a Reader where that is too large."""
        listing = self.listings[split]
        number = {name: k for k, name in enumerate(self.classes)}
        labels = torch.tensor([number[c] for c in listing.classes])
        if len(labels) * int(np.prod(self.shape)) > self.max_cached_bytes:
            return Split(FolderReader(self._paths(split), self.size, self.grey), labels)
        return Split(torch.from_numpy(self._array(split)), labels)

    def _paths(self, split: str) -> list[str]:
        return [str(self.folder / file) for file in self.listings[split].files]

    @cached_property
    def _cache(self) -> Path:
        if os.access(self.folder, os.W_OK):
            return self.folder / ".bench-cache"
        key = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]
        return cache_root() / "folders" / key

    def _content(self, split: str) -> str:
        """Digest of a split's paths and bytes, from the cache while the listing is the same."""
        listing, beside = self.listings[split], self._cache / f"{split}.json"
        known = _read_json(beside)
        if known.get("listing") == listing.stamp and "content" in known:
            return str(known["content"])
        sums = _in_threads(_file_digest, self._paths(split))
        content = digest_of("\n".join(f"{s} {f}" for s, f in zip(sums, listing.files, strict=True)))
        _publish(beside, _json_bytes({"listing": listing.stamp, "content": content}))
        return content

    def _array(self, split: str) -> npt.NDArray[np.uint8]:
        """A split's images, from the cache while files, decoder and array are the same."""
        path = self._cache / f"{split}-{self.size}{'-grey' if self.grey else ''}.npy"
        beside = path.with_suffix(".json")
        made_of = {"content": self._content(split), "decoder": f"pillow {PIL.__version__}"}
        known = _read_json(beside)
        if all(known.get(k) == v for k, v in made_of.items()):
            array = _read_array(path)
            if array is not None and digest_of(array) == known.get("array"):
                return array
            _log.info("%s: %s is damaged and is made again", self.name, path)
        paths = self._paths(split)
        _log.info("%s: decoding %s images of %s, kept in %s", self.name, f"{len(paths):,}", split, path)
        array = decode(paths, self.size, self.grey)
        _publish(path, lambda file: np.save(file, array))
        _publish(beside, _json_bytes({**made_of, "array": digest_of(array)}))
        return array


class FolderReader:
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


def scan(folder: Path, split: str) -> Listing:
    """What images lie in `folder/split/<class>/`, hidden ones passed over; empty where there is nothing."""
    found = []
    for group in _entries(folder / split):
        for file in _entries(group) if group.is_dir() else ():
            if file.suffix.lower() in SUFFIXES:
                stat = file.stat()
                name = f"{split}/{group.name}/{file.name}"
                found.append((name, group.name, stat.st_size, stat.st_mtime_ns))
    found.sort()
    stamp = digest_of("\n".join(f"{size} {time} {name}" for name, _, size, time in found))
    return Listing(tuple(f[0] for f in found), tuple(f[1] for f in found), stamp)


def decode(paths: Sequence[str], size: int, grey: bool = False) -> npt.NDArray[np.uint8]:
    """Images as uint8 (N, C, size, size).

    Raises:
        BenchError: Some cannot be read; names the first and says how many.
    """
    out = np.empty((len(paths), 1 if grey else 3, size, size), np.uint8)

    def one(k: int) -> Exception | None:
        try:
            out[k] = _square(paths[k], size, grey)
        except (OSError, SyntaxError, ValueError) as error:  # what PIL raises, by format
            return error
        return None

    errors = _in_threads(one, range(len(paths)))
    broken = [k for k, error in enumerate(errors) if error is not None]
    if broken:
        raise BenchError(
            f"{len(broken)} of {len(paths)} images cannot be read, the first is {paths[broken[0]]}: "
            f"{errors[broken[0]]}. Replace them or take them out."
        )
    return out


def _square(path: str, size: int, grey: bool) -> npt.NDArray[np.uint8]:
    """The centre square of one image: (C, size, size)."""
    with Image.open(path) as opened:
        image = _eight_bits(opened).convert("L" if grey else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits scaled to 8 (Pillow would clip it); of 32 bits refused, as its range is anybody's guess."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise OSError(f"pixels of mode {image.mode} (32 bits) have no known range; save it with 8 or 16 bits")
    return image


def _entries(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []


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


def _json_bytes(known: dict[str, str]) -> Callable[[Any], object]:
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
