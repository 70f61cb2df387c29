"""Writes a tidy frame of scores to files for other tools."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench_core.errors import RequestError
from bench_core.files import new_file

if TYPE_CHECKING:
    import pandas as pd


def to_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write comma-separated values with a header."""
    with _new_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def to_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write parquet; RequestError where pyarrow is not installed."""
    with _new_file(path) as temporary:
        try:
            frame.to_parquet(temporary, index=False, engine="pyarrow")
        except ImportError as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({reason})") from error


def to_sqlite(frame: "pd.DataFrame", path: Path) -> None:
    """Write an SQLite file with one table, `scores`."""
    with _new_file(path) as temporary, closing(sqlite3.connect(temporary)) as connection:
        frame.to_sql("scores", connection, index=False)
        connection.commit()


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, which becomes `path` at the end; RequestError where that fails."""
    try:
        with new_file(path) as temporary:
            yield temporary
    except (OSError, sqlite3.Error) as error:  # pandas wraps errors of SQLite into an OSError
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} cannot be written ({reason}); choose another file.") from error
