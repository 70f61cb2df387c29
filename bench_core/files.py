"""Files that appear whole or not at all, seals that show later damage, digests, and the checkout of this code.

Each function that writes makes the file or folder beside its final path, as `.<name>.<random>.tmp`, and renames it when
it is complete. A process that is killed leaves such a `.tmp`, never half a file. The content is on the disk before the
file or folder gets its name, and the name before the function returns: a power cut leaves all of it or nothing.

new_file, new_folder     a temporary path for code that writes on its own
write_once               a JSON file that is never changed; the first writer wins
write_over               a JSON file over what was there; also write_text and write_bytes
growing_file             a log; the one kind of file that may be seen half written
move                     another name for a file or folder that is complete
sealed, read_sealed      a JSON object with the digest of its content
copy_regular             a copy of a stranger's file, see `bench_core.regular_files`
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from bench_core.errors import RequestError, StoreError
from bench_core.keys import key_of, key_or_none
from bench_core.regular_files import LARGEST, open_regular, opened, read, read_regular

LARGEST_JSON = LARGEST  # bytes
DEEPEST_JSON = 64  # lists and objects in each other; the deepest of ours have about ten

_SEAL = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}")
LOCK = ".lock"  # in folders of file systems without hard links
_CANNOT_LINK = (
    errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EXDEV,
)  # fmt: skip
_CANNOT_SYNC = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


def temporary_path(path: Path) -> Path:
    """Return a new path beside `path`, hidden and of the same folder, to write to before it is renamed."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, which becomes `path` at the end, over what was there; gone after an error.

    OSError where a device or a pipe has this path, such as /dev/null: the file would take its place.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file", str(path))
    make_folder(path.parent)
    temporary = temporary_path(path)
    try:
        yield temporary
        _sync(temporary)
        move(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def new_folder(folder: Path, *last: str, over: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, which becomes `folder` at the end.

    If another process finished the folder first, that one stays and ours is deleted.

    Args:
        folder: The final path. What is there without a file that is written last is incomplete and is replaced.
        last: Name of the file that is written last; several where the folder may be of an older form.
        over: Replace what is at the final path, complete or not.
    """
    make_folder(folder.parent)
    temporary, old = temporary_path(folder), temporary_path(folder)
    temporary.mkdir()
    try:
        yield temporary
        _sync_all_below(temporary)
        if over:
            with suppress(FileNotFoundError):  # another process has just moved it
                folder.rename(old)
        try:
            _rename_folder_once(temporary, folder, last)
        except OSError:
            with suppress(OSError):  # there is none, or it cannot be moved back either
                old.rename(folder)
            raise
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_folder_once(temporary: Path, folder: Path, last: Sequence[str]) -> None:
    """Give a folder its final name unless a complete one has it."""
    try:
        temporary.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not any((folder / name).is_file() for name in last):
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they exist."""
    missing = list(takewhile(lambda path: not path.is_dir(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync(made.parent)


def move(source: Path, target: Path) -> None:
    """Give a file or folder that is complete another name, over a file that has it."""
    make_folder(target.parent)
    os.replace(source, target)
    for folder in {target.parent, source.parent}:
        _sync(folder)


def link_folder(link: Path, folder: Path) -> None:
    """Make a link to a folder, relative to its own place; what is there stays. OSError where there are no links."""
    make_folder(link.parent)
    with suppress(FileExistsError):
        link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)


def write_once(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a JSON file unless it exists; return whether it was written."""
    make_folder(path.parent)
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(_json_bytes(value))
        _sync(temporary)
        return move_once(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def move_once(source: Path, target: Path) -> bool:
    """Give a file that is complete another name unless a file has that; return whether it was given."""
    make_folder(target.parent)
    given = _rename_once(source, target)
    _sync(target.parent)
    return given


def _rename_once(temporary: Path, path: Path) -> bool:
    """Give a file its final name unless that exists; return whether it was given."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return _rename_once_without_links(temporary, path)
    return True


def _rename_once_without_links(temporary: Path, path: Path) -> bool:
    """Give a file its final name unless that exists, on a file system without hard links (exFAT, some network mounts).

    One process at a time looks and renames. A process that is killed releases its lock.

    Raises:
        StoreError: The file system has no locks either.
    """
    import fcntl  # Windows lacks it, and has hard links wherever it has locks

    with (path.parent / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(
                f"{path.parent} is on a file system with neither hard links nor locks ({error.strerror}), where one "
                "run could overwrite the results of another; put the store on another disk."
            ) from error
        if path.exists():
            return False
        os.replace(temporary, path)
        return True


def write_over(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file over what was there."""
    write_bytes(path, _json_bytes(value))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file over what was there."""
    with new_file(path) as temporary:
        temporary.write_bytes(content)


def growing_file(path: Path) -> TextIO:
    """Open a file to which lines are added; it may end in half a line, which readers pass over."""
    make_folder(path.parent)
    return path.open("a", encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a text file over what was there; it ends with a newline."""
    write_bytes(path, (text if text.endswith("\n") else text + "\n").encode())


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as the content of a file; keys keep their order (a curve's first column is x)."""
    return (_json_text(value, indent=1) + "\n").encode()


def _json_text(value: Mapping[str, Any], indent: int | None = None) -> str:
    """Return a JSON object as text; StoreError where it holds NaN or infinity, which JSON does not have."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise StoreError(f"a number that is not finite cannot be written to a file ({error}).") from error


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk, if the file system knows how."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def _sync_all_below(folder: Path) -> None:
    """Wait until all files and names in a folder and its subfolders are on the disk."""
    for root, _, names in os.walk(folder):
        for path in (*(Path(root) / name for name in names), Path(root)):
            if path.is_dir() or (path.is_file() and not path.is_symlink()):
                _sync(path)


def paths_in(folder: Path, ending: str = "") -> list[Path]:
    """Return what lies in a folder and has a name that ends so, sorted; nothing where there is no such folder.

    Raises:
        OSError: The folder cannot be read. (`Path.glob` passes over it, and a table would lack its records.)
    """
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(ending))
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(folder: Path, ending: str = "") -> list[Path]:
    """Return the files in a folder and its subfolders whose names end so, sorted by name; errors as `paths_in`.

    A folder whose name ends so is returned, too: it is in the place of a file, and whoever reads it says so.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    found = [(root, inner, names) for root, inner, names in os.walk(folder, onerror=fail)]
    paths = [Path(root) / name for root, inner, names in found for name in (*names, *(inner if ending else ()))]
    return sorted((path for path in paths if path.name.endswith(ending)), key=lambda path: path.name)


def read_json(path: Path, *, below: Path | None = None) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: The file.
        below: Given for a file that came from somebody else, see `read_regular`. Without it a link is followed.

    Raises:
        StoreError: The file cannot be read, or holds something else; names the file.
    """
    if below is not None:
        return parse_json(read_regular(path, below=below), path)
    try:
        # Not `path.read_bytes`, which waits for ever where somebody put a pipe.
        with opened(os.open(path, os.O_RDONLY | os.O_NONBLOCK), LARGEST_JSON) as file:
            content = file.read()
    except OSError as error:  # a network's file may come back
        raise StoreError(f"{path} cannot be read ({error}); if that stays so, move it away and run again.") from error
    except ValueError as error:
        raise StoreError(f"{path} cannot be read ({error}); move it away and run again.") from error
    return parse_json(content, path)


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Parse the content of a file, which must be a JSON object.

    Raises:
        StoreError: It is none, is nested too deep, or holds half a character; names the file.
    """
    try:
        text = content.decode("utf-8")
        value = json.loads(text)
        if text.count("[") + text.count("{") > DEEPEST_JSON and _is_deeper(value, DEEPEST_JSON):
            raise ValueError("lists or objects lie too deep in each other")
        if "\\ud" in text or "\\uD" in text:  # an escape for half a character, perhaps
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written again
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); move it away and run again.") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds no JSON object; move it away and run again.")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether more lists and objects lie in each other than this."""
    level = [value]
    for _ in range(levels):
        inner = [part.values() if isinstance(part, dict) else part for part in level]
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add a seal to a JSON object: the SHA-256 of its content, which `read_sealed` checks."""
    return {**value, _SEAL: key_of(json.loads(_json_text(value)))}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object that `sealed` made, and remove the seal; files without a seal are older and accepted.

    Raises:
        StoreError: The file is torn, or was changed after it was written.
    """
    return unsealed(read_json(path), path)


def unsealed(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the seal of a JSON object from this file, and remove it; as `read_sealed`."""
    last = next(reversed(value.values()), None)  # the seal, even where its name is what was damaged
    has_seal = _SEAL in value or (isinstance(last, str) and _DIGEST.fullmatch(last) is not None)
    if has_seal and value.pop(_SEAL, None) != key_or_none(value):
        raise StoreError(f"{path} is not as it was written: edited or damaged; move it away and run again.")
    return value


def copy_regular(path: Path, target: Path | None, *, below: Path | None = None) -> str:
    """Copy a file that came from somebody else, and return the SHA-256 of what was copied.

    Args:
        path: The file, as for `read_regular`.
        target: The file to write, inside a folder that has a temporary name yet. None only reads.
        below: As for `read_regular`.

    Raises:
        StoreError: It is missing, no regular file, or cannot be read.
    """
    digest = hashlib.sha256()
    with open_regular(path, below) as file, open(target or os.devnull, "wb") as copy:
        while block := read(file, path, 2**20):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checkout() -> Path | None:
    """Return the root of the checkout that this code runs from, or None if `bench_core` was installed from a wheel."""
    root = Path(__file__).resolve().parent.parent  # this file is bench_core/files.py
    return root if (root / "pyproject.toml").is_file() else None


def shipped_files() -> Path:
    """Return the folder of files that a wheel contains instead of leaderboards/: boards and reported numbers."""
    return Path(__file__).resolve().parent / "shipped"


def cache_root() -> Path:
    """Return the cache folder: `bench` in `XDG_CACHE_HOME`, else in ~/.cache. All its files may be deleted.

    A relative `XDG_CACHE_HOME` is passed over, as its specification asks.

    Raises:
        RequestError: There is no home folder to be found: HOME is not set, and the system does not know the user.
    """
    parent = os.environ.get("XDG_CACHE_HOME")
    if parent and (folder := expanded("XDG_CACHE_HOME", parent)).is_absolute():
        return folder / "bench"
    try:
        return Path.home() / ".cache" / "bench"
    except RuntimeError as error:
        raise RequestError(
            "there is no folder for caches: HOME is not set, and the system knows no home of this user. Set HOME or "
            "XDG_CACHE_HOME."
        ) from error


def expanded(variable: str, folder: str) -> Path:
    """Return the folder that an environment variable names."""
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:  # "~user" of an unknown user, or "~" without any home
        raise RequestError(f"{variable} is {folder!r}, and there is no such home folder; give a whole path.") from error
