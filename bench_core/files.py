"""Files written whole or not at all, seals that show later damage, digests, and the checkout of this code."""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.keys import key_of

_SEAL = "sha256"


_DIGEST = re.compile("[0-9a-f]{64}")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; StoreError names the file."""
    try:
        value = json.loads(text := path.read_text(encoding="utf-8"))
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a character could not be written again
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read ({error}); move it away and run again.") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds no JSON object; move it away and run again.")
    return value


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the SHA-256 of all that it holds, by which `read_sealed` knows it again."""
    return {**value, _SEAL: key_of(json.loads(json.dumps(value, allow_nan=False)))}


def read_sealed(path: Path) -> dict[str, Any]:
    """What was given to `sealed`, from a file; what was written before there were seals is taken as it is.

    Raises:
        StoreError: It is torn, or a byte of it is not as it was written.
    """
    value = read_json(path)
    last = next(reversed(value.values()), None)  # a seal, even where its name is what was damaged
    has_seal = _SEAL in value or (isinstance(last, str) and _DIGEST.fullmatch(last) is not None)
    if has_seal and value.pop(_SEAL, None) != key_of(value):
        raise StoreError(f"{path} is not as it was written: edited or damaged; move it away and run again.")
    return value


def write_once(path: Path, value: Mapping[str, Any]) -> bool:
    """Publish a JSON file whole; False, and nothing changed, where it is there already."""
    temporary = _write_beside(path, value)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: not atomic against a second writer, but never torn
        if path.exists():
            return False
        os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)
    return True


def write_over(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole, over what was there."""
    os.replace(_write_beside(path, value), path)


def _write_beside(path: Path, value: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, allow_nan=False, ensure_ascii=False)  # in their order: a curve's x is first
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return temporary


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def publishing(folder: Path, last: str) -> Iterator[Path]:
    """A folder beside `folder` to fill, which becomes `folder` at the end; where another writer was first, it goes.

    Args:
        folder: Where all shall lie at once; what lies there without the file `last` is no whole one and makes way.
        last: Name of the file that is written last.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:  # the folder is there and not empty
            if not (folder / last).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, over what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def checkout() -> Path | None:
    """Root of the checkout that this code runs from, or None where `bench_core` was installed from a wheel."""
    root = Path(__file__).resolve().parent.parent  # this file lies in bench_core/ itself
    return root if (root / "pyproject.toml").is_file() else None


def shipped_files() -> Path:
    """Folder of the files that a wheel carries instead of leaderboards/: boards and reported numbers."""
    return Path(__file__).resolve().parent / "shipped"
