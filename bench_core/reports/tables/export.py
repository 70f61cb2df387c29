"""Writes scores to files for other tools; only Parquet needs pandas."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError
from bench_core.files import new_file
from bench_core.output import csv_text
from bench_core.reports.tables.frames import COLUMNS, frame_of

_SQLITE_TYPES = {"string": "TEXT", "Int64": "INTEGER", "float64": "REAL", "boolean": "INTEGER"}

Line = Sequence[Any]  # values in the order of `COLUMNS`, as `score_lines` yields them


def write_csv(lines: Iterable[Line], path: Path, *, raw_cells: bool = False) -> int:
    """Write comma-separated values with a header, line by line; return the number of scores.

    Args:
        lines: The scores.
        path: The file.
        raw_cells: Leave text that a spreadsheet would take for a formula as it is. By default it gets a `'` in front.
    """
    count = -1  # the header is no score
    with _new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for line in chain([list(COLUMNS)], lines):
            file.write(csv_text([line], raw_cells=raw_cells))
            count += 1
    return count


def write_parquet(lines: Iterable[Line], path: Path) -> int:
    """Write parquet, and return the number of scores; RequestError where pyarrow is not installed."""
    frame = frame_of(lines)
    with _new_file(path) as temporary:
        try:
            frame.to_parquet(temporary, index=False, engine="pyarrow")
        except ImportError as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({reason})") from error
    return len(frame)


def write_sqlite(lines: Iterable[Line], path: Path) -> int:
    """Write an SQLite file with one table, `scores`, and return their number."""
    columns = ", ".join(f'"{name}" {_SQLITE_TYPES[dtype]}' for name, dtype in COLUMNS.items())
    with _new_file(path) as temporary, closing(sqlite3.connect(temporary)) as connection, connection:
        connection.execute(f"create table scores ({columns})")
        values = ", ".join("?" * len(COLUMNS))
        return connection.executemany(f"insert into scores values ({values})", lines).rowcount


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, which becomes `path` at the end; RequestError where that fails."""
    try:
        with new_file(path) as temporary:
            yield temporary
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} cannot be written ({reason}); choose another file.") from error
