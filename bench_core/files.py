"""Files that appear whole or not at all, seals that show later damage, digests, and the checkout of this code.

Each function that writes makes the file or folder beside its final path, as `.<name>.<random>.tmp`, and renames it when
it is complete. A process that is killed leaves such a `.tmp`, never half a file.

new_file, new_folder     a temporary path for code that writes on its own
write_once               a JSON file that is never changed; the first writer wins
write_over               a JSON file over what was there; also write_text and write_bytes
sealed, read_sealed      a JSON object with the digest of its content
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.keys import key_of

_SEAL = "sha256"
_DIGEST = re.compile("[0-9a-f]{64}")


def temporary_path(path: Path) -> Path:
    """Return a new path beside `path`, hidden and of the same folder, to write to before it is renamed."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, which becomes `path` at the end, over what was there; gone after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def new_folder(folder: Path, last: str, *, over: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, which becomes `folder` at the end.

    If another process finished the folder first, that one stays and ours is deleted.

    Args:
        folder: The final path. What is there without the file `last` is incomplete and is replaced.
        last: Name of the file that is written last.
        over: Replace what is at the final path, complete or not.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = temporary_path(folder), temporary_path(folder)
    temporary.mkdir()
    try:
        yield temporary
        if over:
            with suppress(FileNotFoundError):  # another process has just moved it
                folder.rename(old)
        try:
            temporary.rename(folder)
        except OSError:  # the folder exists and is not empty
            if not (folder / last).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_once(path: Path, value: Mapping[str, Any]) -> bool:
    """Write a JSON file unless it exists; return whether it was written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        _write_to_disk(temporary, _json_bytes(value))
        return _rename_once(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename_once(temporary: Path, path: Path) -> bool:
    """Give a file its final name unless that exists; return whether it was given."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: two writers may both win, but no file is ever torn
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def write_over(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file over what was there; it is on the disk before it gets its name."""
    write_bytes(path, _json_bytes(value))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file over what was there; it is on the disk before it gets its name."""
    with new_file(path) as temporary:
        _write_to_disk(temporary, content)


def write_text(path: Path, text: str) -> None:
    """Write a text file over what was there; it ends with a newline."""
    with new_file(path) as temporary:
        temporary.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return a JSON object as the content of a file; keys keep their order (a curve's first column is x)."""
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _write_to_disk(path: Path, content: bytes) -> None:
    """Write a file and wait until its content is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        StoreError: The file cannot be read, or holds something else; names the file.
    """
    try:
        text = path.read_bytes().decode("utf-8")  # read_text takes longer, and a store has thousands of files
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # an escape for half a character, perhaps
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written again
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); move it away and run again.") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds no JSON object; move it away and run again.")
    return value


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add a seal to a JSON object: the SHA-256 of its content, which `read_sealed` checks."""
    return {**value, _SEAL: key_of(json.loads(json.dumps(value, allow_nan=False)))}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object that `sealed` made, and remove the seal; files without a seal are older and accepted.

    Raises:
        StoreError: The file is torn, or was changed after it was written.
    """
    value = read_json(path)
    last = next(reversed(value.values()), None)  # the seal, even where its name is what was damaged
    has_seal = _SEAL in value or (isinstance(last, str) and _DIGEST.fullmatch(last) is not None)
    if has_seal and value.pop(_SEAL, None) != key_of(value):
        raise StoreError(f"{path} is not as it was written: edited or damaged; move it away and run again.")
    return value


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
