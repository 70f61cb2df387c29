"""Records and artifacts on disk.

    runs/
      bench-store.json                  {"format": 1}
      cells/ab/<key>.json               one finished cell: written once, never edited, sealed
      index.sqlite                      of stores with many records; may be deleted, see bench_core.store.index
      attempts/<key>/<time>-<id>.json   how an attempt that did not finish ended: kind, error, seconds, log
      chains/<key>.under-way/           checkpoints, recipe.json and log.jsonl, until the chain's training has ended
      chains/<key>/                     weights.safetensors  chain.json
        embeddings/<key>/               <split>.safetensors  done.json
        epochs/<epoch>.safetensors      weights along the way, where they were asked for
      claims/                           who works on which chain, see bench_core.store.claims; empty when nobody does
      rerun/  superseded/               what `bench run --rerun` makes and replaces, see bench_core.running.rerun

Any number of processes may write, without a lock: a record, and a folder below chains/, is made beside its final path
and renamed when it is complete; the first writer wins.
"""

import errno
import os
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

from bench_core.errors import RequestError, StoreError, shown
from bench_core.files import LOCK, files_below, paths_in, read_json, sealed, unsealed, write_once, write_text
from bench_core.keys import key_or_none
from bench_core.store.index import read_with_index
from bench_core.store.record import Record, record_from_json
from bench_core.store.record_schema import attempt_error, record_error

FORMAT = 1
MARKER = "bench-store.json"
PREEMPTED = "preempted"  # kind of an attempt that was stopped by a signal: no failure, the same command resumes it


class Store:
    """A folder of records; it is created when the first file is written."""

    def __init__(self, path: Path | str) -> None:
        """Open a store.

        Args:
            path: Its folder. A missing or empty one is a store without records.

        Raises:
            RequestError: The folder exists and is something else.
            StoreError: The store has a newer format.
        """
        self.path = Path(path)
        marker = self.path / MARKER
        try:
            is_store = self.exists()
        except OSError as error:
            raise RequestError(f"--store {shown(str(path))} is no folder's name ({error.strerror}).") from error
        if is_store:
            store_format = _format_of(marker)
            if store_format != FORMAT:
                raise StoreError(
                    f"{self.path} has format {shown(store_format)}, this bench reads {FORMAT}; upgrade bench-core."
                )
        elif _is_taken(self.path) and not marker.is_file():  # another process may have created it meanwhile
            raise RequestError(f"{self.path} exists and is no store (it lacks {MARKER}); choose another with --store.")

    @classmethod
    def existing(cls, path: Path | str) -> Self:
        """Open a store to read; a missing one is an error here, so that a mistyped path is no empty table.

        Raises:
            RequestError: There is no store.
            StoreError: The store has a newer format.
        """
        store = cls(path)
        if not store.exists():
            raise no_store(store.path)
        return store

    def exists(self) -> bool:
        """Return whether the folder is a store; its marker may be damaged."""
        return (self.path / MARKER).is_file() or (self.path / "cells").is_dir()

    def create(self) -> None:
        """Create the folder and mark it as a store, unless that was done.

        Raises:
            RequestError: The folder cannot be written.
        """
        try:
            if not (self.path / MARKER).exists():
                write_once(self.path / MARKER, {"format": FORMAT})
            if not os.access(self.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        except OSError as error:
            raise RequestError(
                f"{self.path} cannot be written ({error.strerror}); choose another folder with --store."
            ) from error

    def record(self, key: str) -> Record | None:
        """Return the record of a finished cell, or None."""
        path = self.record_file(key)
        return read_record(path) if path.is_file() else None

    def records(self) -> list[Record]:
        """Read the records of all finished cells, sorted by key; a large store has an index of them."""
        return read_with_index(self.path / "cells", self.path, read_record)

    def some_records(self, most: int) -> list[Record]:
        """Read at most so many records: keys are hashes, so those that come first are a fair sample of all."""
        folders = paths_in(self.path / "cells")
        paths = islice((path for folder in folders for path in paths_in(folder, ".json")), most)
        return [read_record(path) for path in paths]

    def add_record(self, record: Mapping[str, Any]) -> bool:
        """Write the record of a finished cell, a JSON object; return False if another process was first."""
        self.create()
        return write_once(self.record_file(record["key"]), sealed(record))

    def add_attempt(self, attempt: Mapping[str, Any]) -> Path:
        """Write how an attempt on a cell ended, and return the file."""
        self.create()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        path: Path = self.path / "attempts" / attempt["key"] / f"{stamp}-{uuid.uuid4().hex[:8]}.json"
        write_once(path, attempt)
        return path

    def last_attempt(self, key: str) -> Path | None:
        """Return the file of the last attempt on a cell that did not finish, or None."""
        return max(paths_in(self.path / "attempts" / key, ".json"), default=None)

    def attempts(self) -> list[dict[str, Any]]:
        """Read all attempts that did not finish, oldest first."""
        return [read_attempt(path) for path in files_below(self.path / "attempts", ".json")]

    def write_page(self, text: str) -> Path:
        """Write the store's own page, and return its file."""
        self.create()
        path = self.path / "leaderboard.md"
        write_text(path, text)
        return path

    def record_file(self, key: str) -> Path:
        """Return the path of a cell's record, which may not exist yet."""
        return self.path / "cells" / key[:2] / f"{key}.json"

    def chain_folder(self, key: str) -> Path:
        """Return the folder of a chain's artifacts, which may not exist yet."""
        return self.path / "chains" / key


def find_records(path: Path) -> dict[Path, Record]:
    """Read the records of a store, of a published board or of a folder that holds nothing but records.

    Returns:
        File -> record.

    Raises:
        RequestError: There is no such folder, or it holds no records.
        StoreError: A record is damaged.
    """
    if (path / MARKER).is_file():
        store = Store(path)
        return {store.record_file(record.key): record for record in store.records()}
    if not path.exists():
        raise no_store(path)
    folder = path / "records" if (path / "records").is_dir() else path
    records = {file: read_record(file) for file in paths_in(folder, ".json")}
    if not records:
        raise no_records(path)
    return records


def read_records(folder: Path) -> list[Record]:
    """Read all records below a folder, sorted by key."""
    return [read_record(path) for path in files_below(folder, ".json")]


def read_record(path: Path) -> Record:
    """Read one record; its key must be the hash of its document and the name of its file.

    Raises:
        StoreError: It is torn, damaged, of another format, or its key is wrong.
    """
    return record_of(read_json(path), path)


def record_of(record: dict[str, Any], path: Path) -> Record:
    """Check the content of a record's file, and build the record; as `read_record`."""
    record = unsealed(record, path)
    if record.get("format") != FORMAT:
        raise StoreError(f"{path} has format {shown(record.get('format'))}, this bench reads {FORMAT}; move it away.")
    document, key = record.get("doc"), record.get("key")
    if not isinstance(document, Mapping) or key != path.stem or key_or_none(document) != key:
        raise StoreError(f"{path} is not what its key says: it was edited or damaged; move it away and run again.")
    if error := record_error(record):
        raise StoreError(f"{path} is no record: {error}; move it away and run again.")
    return record_from_json(record)


def read_attempt(path: Path) -> dict[str, Any]:
    """Read one attempt; StoreError where the file is none."""
    return attempt_of(read_json(path), path)


def attempt_of(attempt: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the content of an attempt's file; StoreError where it is none."""
    if error := attempt_error(attempt):
        raise StoreError(f"{path} is no attempt: {error}; move it away.")
    return attempt


def latest_attempts(attempts: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return key -> last attempt, for the cells whose last attempt failed; a preempted one has not failed."""
    latest = {attempt["key"]: attempt for attempt in attempts}
    return {key: attempt for key, attempt in latest.items() if attempt.get("kind") not in (None, PREEMPTED)}


def no_store(path: Path) -> RequestError:
    """Return the error of a path at which there is nothing."""
    return RequestError(
        f"there is no store at {path}; `bench run --store {path}` makes one, or name another with --store."
    )


def no_records(path: Path) -> RequestError:
    """Return the error of a folder that is neither a store nor holds records."""
    return RequestError(f"{path} holds no records: it is no store (it lacks {MARKER}) and no board's records/.")


def _format_of(marker: Path) -> Any:
    """Read the format of a store; StoreError where its marker is missing or damaged."""
    try:
        return read_json(marker)["format"]
    except (StoreError, KeyError) as error:
        raise StoreError(
            f'{marker} is missing or damaged; if bench made this store, write {{"format": {FORMAT}}} into {marker}.'
        ) from error


def _is_taken(path: Path) -> bool:
    """Return whether this is a file, or a folder with more in it than a process leaves that was creating a store."""
    if not path.is_dir():
        return path.exists()
    return any(child.name != LOCK and not child.name.startswith(f".{MARKER}.") for child in path.iterdir())
