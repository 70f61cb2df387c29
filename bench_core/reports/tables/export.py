"""A tidy frame of scores -> files for other tools."""

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench_core.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd


def to_csv(frame: "pd.DataFrame", path: Path) -> None:
    """Write comma-separated values with a header."""
    with _beside(path) as temporary:
        frame.to_csv(temporary, index=False)


def to_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write parquet; RequestError where pyarrow is not installed."""
    with _beside(path) as temporary:
        try:
            frame.to_parquet(temporary, index=False, engine="pyarrow")
        except ImportError as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({reason})") from error


def to_sqlite(frame: "pd.DataFrame", path: Path) -> None:
    """Write an SQLite file with one table, `scores`."""
    with _beside(path) as temporary, closing(sqlite3.connect(temporary)) as connection:
        frame.to_sql("scores", connection, index=False)
        connection.commit()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file to write, which becomes `path` at the end; RequestError where that cannot be."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror}); choose another file.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
