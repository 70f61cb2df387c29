"""An index of a store's records, so that commands need not read and check every file again: `STORE/index.sqlite`.

Records stay the only truth, and the index may be deleted at any time. For each file it holds a row (`index_rows.py`)
and a stamp: size, time of the last change of its content, and of its inode. A row counts where the stamp is that of the
file now, and else the file is read. So an index that is old, of another store, or came along with a copy of a store
costs time and changes nothing: the copy's inodes are younger. A file that has just changed gets no stamp, as it might
change again in the same tick of the clock; it is read again the next time.

An index is never changed in place. Whoever finds that many files are not in it writes another one, from it and what was
read, beside it, and renames it: two who do so at once leave one of two whole files. It is opened read-only and
immutable, so that SQLite takes no lock, which network file systems do not always have. Each row and part has a
checksum, for disks that lose bits; whatever is wrong with an index, the files are read. Small stores have none.
"""

import hashlib
import json
import os
import random
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench_core.errors import RequestError
from bench_core.files import cache_root, new_file
from bench_core.store.index_rows import SharedParts, record_of_row, row_of
from bench_core.store.record import Record

VERSION = 1  # rises when rows or the checks of records change: an index of another version is not read
FILE = "index.sqlite"
FEWEST_NEW = 256  # files that are not in the index; fewer are read each time
_NEW_SHARE = 0.02  # of all files; an index is written again where more are new
_SETTLED_NS = 3 * 10**9  # age of a change from which on a further one has another time, on all file systems
_TABLES = (
    "CREATE TABLE parts (number integer primary key, text text not null, checksum integer not null)",
    "CREATE TABLE records (file text primary key, stamp text not null, row text not null, checksum integer not null) "
    "without rowid",
)
_NO_INDEX = (sqlite3.Error, OSError, ValueError, TypeError, KeyError)  # what a missing or damaged index raises

Read = Callable[[Path], Record]  # reads and checks a record's file
_Row = tuple[str, str, str]  # name of the file, its stamp, and the row as JSON

_as_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class _File:
    """A file of a record.

    Attributes:
        path: The file.
        name: Its path below the folder of records.
        stamp: Changes whenever the file does; empty where that cannot be relied on.
    """

    path: str
    name: str
    stamp: str


@dataclass(frozen=True)
class _Known:
    """Content of an index, as far as it is of the files as they are now.

    Attributes:
        index: The index; None where there is none that is whole.
        number: A random number that each index has, as another process may replace it at any time.
        records: Name of a file -> its record.
        parts: The parts of the rows.
        gone: Names in the index whose file is not there, or has changed.
    """

    index: Path | None = None
    number: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    parts: SharedParts = field(default_factory=SharedParts)
    gone: Sequence[str] = ()


def read_with_index(folder: Path, store: Path, read: Read) -> list[Record]:
    """Read the records of a store, those that are in its index from there, sorted by the names of their files.

    Args:
        folder: Folder of the records.
        store: The store, in which the index lies; in the user's cache folder where it cannot be written.
        read: Reads a file that is not in the index, and raises StoreError where it is no record.
    """
    files = sorted(_files(folder), key=lambda file: os.path.basename(file.name))
    if len(files) < FEWEST_NEW:
        return [read(Path(file.path)) for file in files]
    known = _known(store, files)
    records = known.records
    unread = [file for file in files if file.name not in records]
    if len(unread) < max(FEWEST_NEW, _NEW_SHARE * len(files)):
        records |= {file.name: read(Path(file.path)) for file in unread}
    else:
        rows = []
        for file in unread:
            row = row_of(read(Path(file.path)), known.parts)
            records[file.name] = record_of_row(row, known.parts, file.path)  # it takes a tenth of the memory
            if file.stamp:
                rows.append((file.name, file.stamp, _as_json(row)))
        if rows:
            _write(store, known, rows)
    return [records[file.name] for file in files]


def _files(folder: Path) -> Iterator[_File]:
    """Yield the files below a folder whose names end in .json, with their stamps; OSError where one cannot be read."""
    now, left = time.time_ns(), [(str(folder), "")]
    while left:
        path, name = left.pop()
        try:
            entries = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    yield _File(entry.path, f"{name}{entry.name}", _stamp(entry, now))
                elif entry.is_dir(follow_symlinks=False):
                    left.append((entry.path, f"{name}{entry.name}/"))


def _stamp(entry: os.DirEntry[str], now: int) -> str:
    try:
        found = entry.stat()
    except OSError:  # whoever reads the file says what is wrong
        return ""
    if max(found.st_mtime_ns, found.st_ctime_ns) > now - _SETTLED_NS:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _places(store: Path) -> Iterator[Path]:
    """Yield where the index of a store may lie: in the store, or in the user's cache folder."""
    yield store / FILE
    with suppress(RequestError):  # there is no such folder
        digest = hashlib.sha256(os.path.realpath(store).encode("utf-8", "surrogateescape")).hexdigest()
        yield cache_root() / "stores" / f"{digest}.sqlite"


def _known(store: Path, files: Iterable[_File]) -> _Known:
    """Read the index that was written last; what is returned is empty where there is none, or it is damaged."""
    by_name = {file.name: file for file in files if file.stamp}
    records: dict[str, Record] = {}
    gone = []
    try:
        index = max((place for place in _places(store) if place.is_file()), key=lambda place: place.stat().st_mtime_ns)
        with closing(_opened(index)) as connection:
            [(number,)] = connection.execute("pragma application_id")
            parts = SharedParts(_checked_parts(connection))
            for name, stamp, row, checksum in connection.execute("select file, stamp, row, checksum from records"):
                file = by_name.get(name)
                if file is not None and file.stamp == stamp and checksum == _checksum(name, stamp, row):
                    records[name] = record_of_row(json.loads(row), parts, file.path)
                else:
                    gone.append(name)
    except _NO_INDEX:
        return _Known()
    return _Known(index, number, records, parts, gone) if records else _Known()


def _opened(path: Path) -> sqlite3.Connection:
    """Open an index to read, without any lock; sqlite3.Error where it is none of this version.

    A store may come from anybody, so the tables must be ours: in place of one, a view could compute for ever.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        [(version,)] = connection.execute("pragma user_version")
        if version != VERSION:
            raise sqlite3.DatabaseError(f"an index of version {version}")
        if [sql for (sql,) in connection.execute("select sql from sqlite_master")] != list(_TABLES):
            raise sqlite3.DatabaseError("no index of ours")
    except BaseException:
        connection.close()
        raise
    return connection


def _checked_parts(connection: sqlite3.Connection) -> Iterator[tuple[int, str]]:
    """Yield the parts; ValueError where one is damaged."""
    for number, text, checksum in connection.execute("select number, text, checksum from parts"):
        if checksum != _checksum(number, text):
            raise ValueError(f"part {number} is damaged")
        yield number, text


def _checksum(*values: object) -> int:
    return zlib.crc32("\n".join(map(str, values)).encode())


def _write(store: Path, known: _Known, rows: Sequence[_Row]) -> None:
    """Write an index with further records, in the first place that can be written; nothing happens without one.

    Args:
        store: The store.
        known: The old index, whose rows stay where their files have not changed.
        rows: The rows of further records.
    """
    for place in _places(store):
        with suppress(OSError, sqlite3.Error):
            with new_file(place) as temporary:
                if known.index is not None:
                    shutil.copyfile(known.index, temporary)
                with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
                    _add(connection, known, rows)
            return


def _add(connection: sqlite3.Connection, known: _Known, rows: Iterable[_Row]) -> None:
    """Write parts and rows into a file that nobody else knows yet."""
    for setting in ("journal_mode = off", "synchronous = off"):  # a file that is not finished has no name
        connection.execute(f"pragma {setting}")
    connection.execute("begin")
    if known.index is None:
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"pragma user_version = {VERSION}")
    elif [(known.number,)] != connection.execute("pragma application_id").fetchall():
        raise sqlite3.DatabaseError("another process has replaced the index: its parts have other numbers")
    connection.execute(f"pragma application_id = {random.SystemRandom().getrandbits(31)}")
    connection.executemany("delete from records where file = ?", ((name,) for name in known.gone))
    connection.executemany(
        "insert into parts values (?, ?, ?)",
        ((number, text, _checksum(number, text)) for number, text in known.parts.added),
    )
    connection.executemany("insert into records values (?, ?, ?, ?)", ((*row, _checksum(*row)) for row in rows))
    connection.execute("commit")
