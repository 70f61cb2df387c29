"""Records and artifacts on disk.

    runs/
      bench-store.json                  {"format": 1}
      cells/ab/<key>.json               one finished cell: written beside, published once, never edited, sealed
      attempts/<key>/<time>-<id>.json   how an attempt that did not finish ended: kind, error, seconds, log
      chains/<key>.under-way/           checkpoints, as long as the chain is trained
      chains/<key>/                     recipe.json  weights.safetensors  log.jsonl  summary.json
        embeddings/<key>/               <split>.safetensors  done.json

Any number of writers, no lock: a record, and a folder below chains/, is made beside and appears whole; the first one
published wins.
"""

import errno
import os
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError, shown
from bench_core.files import read_json, read_sealed, sealed, write_once, write_text
from bench_core.keys import key_of
from bench_core.store.record_schema import attempt_fault, record_fault

FORMAT = 1
MARKER = "bench-store.json"
PREEMPTED = "preempted"  # the kind of an attempt that was told to stop: no failure, the same command goes on


class Store:
    """A folder of records; made when the first thing is written."""

    def __init__(self, path: Path | str) -> None:
        """Open a store.

        Args:
            path: Its folder; may not exist yet.

        Raises:
            RequestError: The folder exists and is something else.
            StoreError: It is of a newer format.
        """
        self.path = Path(path)
        marker = self.path / MARKER
        try:
            is_store = marker.is_file() or (self.path / "cells").is_dir()
        except OSError as error:
            raise RequestError(f"--store {shown(str(path))} is no folder's name ({error.strerror}).") from error
        if is_store:
            found = _format_of(marker)
            if found != FORMAT:
                raise StoreError(
                    f"{self.path} has format {shown(found)}, this bench reads {FORMAT}; upgrade bench-core."
                )
        elif _is_taken(self.path) and not marker.is_file():  # another process may have made it in between
            raise RequestError(f"{self.path} exists and is no store (it lacks {MARKER}); choose another with --store.")

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a finished cell, or None."""
        path = self.cell(key)
        return read_record(path) if path.is_file() else None

    def records(self) -> list[dict[str, Any]]:
        """All finished cells, by key."""
        return read_records(self.path / "cells")

    def publish(self, record: Mapping[str, Any]) -> bool:
        """Make a finished cell known; False where another writer was first."""
        self.create()
        return write_once(self.cell(record["key"]), sealed(record))

    def add_attempt(self, attempt: Mapping[str, Any]) -> Path:
        """Keep how an attempt on a cell failed; where that is."""
        self.create()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        path: Path = self.path / "attempts" / attempt["key"] / f"{stamp}-{uuid.uuid4().hex[:8]}.json"
        write_once(path, attempt)
        return path

    def last_attempt(self, key: str) -> Path | None:
        """The file of the last failed attempt on a cell, or None."""
        return max((self.path / "attempts" / key).glob("*.json"), default=None)

    def attempts(self) -> list[dict[str, Any]]:
        """All failed attempts, oldest first."""
        paths = (self.path / "attempts").glob("*/*.json")
        return [read_attempt(path) for path in sorted(paths, key=lambda p: p.name)]

    def chain(self, key: str) -> Path:
        """The folder of a chain's artifacts, which may not be there yet."""
        return self.path / "chains" / key

    def write_page(self, text: str) -> Path:
        """Write the store's own page."""
        self.create()
        path = self.path / "leaderboard.md"
        write_text(path, text)
        return path

    def create(self) -> None:
        """Make the folder, marked as a store; RequestError where that cannot be done."""
        try:
            if not (self.path / MARKER).exists():
                write_once(self.path / MARKER, {"format": FORMAT})
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        except OSError as error:
            raise RequestError(
                f"{self.path} cannot be written ({error.strerror}); choose another folder with --store."
            ) from error

    def cell(self, key: str) -> Path:
        """The file of a cell's record, which may not be there yet."""
        return self.path / "cells" / key[:2] / f"{key}.json"


def _format_of(marker: Path) -> Any:
    """The format of a store; StoreError where its marker is gone or damaged."""
    try:
        return read_json(marker)["format"]
    except (StoreError, KeyError) as error:
        raise StoreError(
            f'{marker} is missing or damaged; if bench made this store, write {{"format": {FORMAT}}} into {marker}.'
        ) from error


def _is_taken(path: Path) -> bool:
    """Whether this is a file, or a folder that holds more than a process left that was making a store."""
    return any(not p.name.startswith(f".{MARKER}.") for p in path.iterdir()) if path.is_dir() else path.exists()


def find_records(path: Path) -> dict[Path, dict[str, Any]]:
    """File -> record, of a store, of a published board or of a folder that holds records alone.

    Raises:
        RequestError: There is no such folder, or it holds none.
        StoreError: A record is damaged.
    """
    if (path / MARKER).is_file():
        return {Store(path).cell(record["key"]): record for record in Store(path).records()}
    folder = path / "records" if (path / "records").is_dir() else path
    found = {file: read_record(file) for file in sorted(folder.glob("*.json"))}
    if not found:
        raise RequestError(f"{path} holds no records: it is no store (it lacks {MARKER}) and no board's records/.")
    return found


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All records below a folder, by key."""
    return [read_record(path) for path in sorted(folder.rglob("*.json"), key=lambda p: p.name)]


def read_record(path: Path) -> dict[str, Any]:
    """One record; its key must be the hash of its document and the name of its file.

    Raises:
        StoreError: It is torn, damaged, of another format, or not what its key says.
    """
    record = read_sealed(path)
    if record.get("format") != FORMAT:
        raise StoreError(f"{path} has format {shown(record.get('format'))}, this bench reads {FORMAT}; move it away.")
    document, key = record.get("doc"), record.get("key")
    if not isinstance(document, Mapping) or key != path.stem or _hash(document) != key:
        raise StoreError(f"{path} is not what its key says: it was edited or damaged; move it away and run again.")
    if fault := record_fault(record):
        raise StoreError(f"{path} is no record: {fault}; move it away and run again.")
    return record


def read_attempt(path: Path) -> dict[str, Any]:
    """One failed attempt; StoreError where it is none."""
    attempt = read_json(path)
    if fault := attempt_fault(attempt):
        raise StoreError(f"{path} is no attempt: {fault}; move it away.")
    return attempt


def _hash(document: Mapping[str, Any]) -> str | None:
    """Its key; None where it can have none."""
    try:
        return key_of(document)
    except ValueError:  # NaN, half a character
        return None


def latest_attempts(attempts: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Key -> its last attempt, where that one failed."""
    latest = {attempt["key"]: attempt for attempt in attempts}
    return {key: attempt for key, attempt in latest.items() if attempt.get("kind") not in (None, PREEMPTED)}
