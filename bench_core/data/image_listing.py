"""Listing of the labelled images below `root/SPLIT/<class>/`, at any depth, and of all that is passed over.

The class of an image is the first folder; `scan_tree` lists a folder that need not have any. Links to folders are
followed, except to a folder that contains the link. Hidden entries are passed over. A file with the suffix of an image
is listed unopened; of any other file the first bytes decide, and their answer is kept in the cache with the file's
stamp.
"""

import os
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core.data.files import missing_data
from bench_core.data.image_cache import CACHE, cache_folder, is_settled, read_entry, stamp, write_entry
from bench_core.data.image_formats import SUFFIXES, first_bytes, format_of
from bench_core.errors import DataMissingError

_Inode = tuple[int, int]  # device and number, which name a folder whatever path leads to it


@dataclass(frozen=True)
class Listing:
    """The image files of one split, sorted by path.

    Attributes:
        files: Paths relative to the dataset's folder, with forward slashes.
        classes: Name of the class of each file.
        folders: Names of all class folders, sorted, also of those without images.
        passed_over: Paths of entries that are hidden or no images, relative to the dataset's folder, sorted.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    passed_over: tuple[str, ...]

    def without(self, files: Sequence[str]) -> "Listing":
        """Return the listing without some of its files."""
        removed = set(files)
        kept = [pair for pair in zip(self.files, self.classes, strict=True) if pair[0] not in removed]
        return _listing(kept, self.folders, self.passed_over)


def scan(name: str, folder: Path, split: str, *, trust_cache: bool = True) -> Listing:
    """List the images of one split; empty if `folder/split` is no folder.

    Args:
        name: Name of the dataset, for messages.
        folder: Folder of the dataset.
        split: Name of the split, a folder in it.
        trust_cache: Whether a file without the suffix of an image is not opened again while its stamp is the same.

    Raises:
        DataMissingError: A name has control characters, which could make two listings look the same; something with
            the suffix of an image is not a file; a link leads nowhere; or a folder cannot be read.
    """
    try:
        return _scan(name, folder, split, trust_cache)
    except OSError as error:
        raise missing_data(
            name, Path(error.filename or folder), f"cannot be read ({error.strerror})", fetch=False
        ) from error


def scan_tree(name: str, folder: Path, *, trust_cache: bool = True) -> Listing:
    """List all images of a folder that has no splits; the class of an image in no folder is "".

    Args:
        name: Name of the dataset, for messages.
        folder: Folder of the dataset.
        trust_cache: Whether a file without the suffix of an image is not opened again while its stamp is the same.

    Raises:
        DataMissingError: As in `scan`.
    """
    images: list[str] = []
    others: list[str] = []
    passed_over: list[str] = []
    try:
        above = frozenset(_inode(path) for path in folder.resolve().parents)
        for file, path in _walk(name, str(folder), "", above, passed_over):
            (images if path.lower().endswith(SUFFIXES) else others).append(file)
        no_images = _without_images(folder, "all", others, trust_cache)
    except OSError as error:
        raise missing_data(
            name, Path(error.filename or folder), f"cannot be read ({error.strerror})", fetch=False
        ) from error
    images += [file for file in others if file not in no_images]
    _require_all_printable(name, folder, images)
    pairs = [(file, file.partition("/")[0] if "/" in file else "") for file in images]
    passed_over = [path for path in passed_over if path != CACHE]
    return _listing(pairs, sorted({label for _, label in pairs} - {""}), (*passed_over, *no_images))


def _scan(name: str, folder: Path, split: str, trust_cache: bool) -> Listing:
    top = folder / split
    if not top.is_dir():
        return _listing([], (), ())
    images: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    passed_over, class_folders = [], []
    above = frozenset(_inode(path) for path in (top, *top.resolve().parents))
    for entry in _entries(top):
        hidden = entry.name.startswith(".")
        if not hidden and entry.is_symlink() and not os.path.exists(entry.path):
            raise _refused(name, entry.path, "leads nowhere; remove the link")
        if hidden or not _is_dir(entry):
            passed_over.append(f"{split}/{entry.name}")
            continue
        class_folders.append(entry.name)
        for file, path in _walk(name, entry.path, f"{split}/{entry.name}/", above, passed_over):
            known = path.lower().endswith(SUFFIXES)
            (images if known else others).append((file, entry.name))
    no_images = _without_images(folder, split, [file for file, _ in others], trust_cache)
    images += [pair for pair in others if pair[0] not in no_images]
    _require_all_printable(name, folder, [file for file, _ in images])
    return _listing(images, tuple(class_folders), (*passed_over, *no_images))


def _listing(pairs: Sequence[tuple[str, str]], folders: Sequence[str], passed_over: Sequence[str]) -> Listing:
    """Make a Listing from pairs of file and class."""
    pairs = sorted(pairs)
    files, classes = tuple(file for file, _ in pairs), tuple(name for _, name in pairs)
    return Listing(files, classes, tuple(sorted(folders)), tuple(sorted(passed_over)))


def _walk(
    name: str, top: str, prefix: str, above: frozenset[_Inode], passed_over: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield all files below a folder that may be images, as relative path and path; add the others to `passed_over`.

    Args:
        name: Name of the dataset, for messages.
        top: Path of the folder.
        prefix: Its path relative to the dataset's folder, with a slash at its end; empty for that folder itself.
        above: The folders that contain it.
        passed_over: List of relative paths that grows.
    """
    waiting = [(top, prefix, above)]
    while waiting:
        path, prefix, above = waiting.pop()
        inode = _inode(path)
        if inode in above:  # a link back to a folder that contains it
            passed_over.append(prefix.removesuffix("/"))
            continue
        for entry in _entries(path):
            below = f"{prefix}{entry.name}"
            if entry.name.startswith("."):
                passed_over.append(below)
            elif _is_dir(entry):
                waiting.append((entry.path, f"{below}/", above | {inode}))
            elif _is_file(entry):
                yield below, entry.path
            elif entry.name.lower().endswith(SUFFIXES):
                raise _refused(name, entry.path, "is not a file (a pipe, or a broken link); remove it")
            else:
                passed_over.append(below)


def _without_images(folder: Path, split: str, files: Sequence[str], trust_cache: bool) -> set[str]:
    """Return those of some files that begin like no image, by the cache where a file's stamp is the same."""
    if not files:
        return set()
    cache_file, now = cache_folder(folder) / f"{split}-kinds.json", time.time_ns()
    cached = read_entry(cache_file) if trust_cache else {}
    answers, kept = {}, {}
    for file in files:
        stat = os.stat(folder / file)
        known = cached.get(file)
        if not (isinstance(known, list) and known[:1] == [stamp(stat)] and len(known) == 2):
            known = [stamp(stat), format_of(first_bytes(folder / file))]
        answers[file] = known[1]
        if is_settled([stat], now):
            kept[file] = known
    if kept != cached:
        write_entry(cache_file, kept)
    return {file for file, kind in answers.items() if kind is None}


def _require_all_printable(name: str, folder: Path, files: Sequence[str]) -> None:
    if not "".join(files).isprintable():  # asked once, which is quick for a million files
        for file in files:
            require_printable(name, folder, file)


def require_printable(name: str, folder: Path, file: str) -> None:
    """Refuse a relative path with control characters, which could make two listings look the same.

    Raises:
        DataMissingError: The path has such characters, or bytes that are not UTF-8.
    """
    if file.isprintable():  # nearly all, and quickly said
        return
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in file):  # line breaks; bytes that are not UTF-8
        why = "names of classes and images must be printable UTF-8; rename it"
        raise DataMissingError(f"{name}: {str(folder / file)!r}: {why}.")


def _refused(name: str, path: str, why: str) -> DataMissingError:
    return DataMissingError(f"{name}: {path} {why}.")


def _entries(folder: str | Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return list(entries)


def _inode(path: str | Path) -> _Inode:
    stat = os.stat(path)
    return stat.st_dev, stat.st_ino


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
