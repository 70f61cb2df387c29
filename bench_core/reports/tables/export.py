"""Writes a tidy frame of scores to files for other tools."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench_core.errors import RequestError
from bench_core.files import new_file
from bench_core.output import csv_text

if TYPE_CHECKING:
    import pandas as pd


def write_csv(frame: "pd.DataFrame", path: Path, *, raw_cells: bool = False) -> None:
    """Write comma-separated values with a header.

    Args:
        frame: The scores.
        path: The file.
        raw_cells: Leave text that a spreadsheet would take for a formula as it is. By default it gets a `'` in front.
    """
    cells = frame.astype(object)
    rows = cells.where(frame.notna(), None).itertuples(index=False, name=None)
    with _new_file(path) as temporary:
        temporary.write_text(csv_text([list(frame.columns), *rows], raw_cells=raw_cells), encoding="utf-8", newline="")


def write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write parquet; RequestError where pyarrow is not installed."""
    with _new_file(path) as temporary:
        try:
            frame.to_parquet(temporary, index=False, engine="pyarrow")
        except ImportError as error:
            reason = str(error).partition("\n")[0]
            raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({reason})") from error


def write_sqlite(frame: "pd.DataFrame", path: Path) -> None:
    """Write an SQLite file with one table, `scores`."""
    with _new_file(path) as temporary, closing(sqlite3.connect(temporary)) as connection:
        frame.to_sql("scores", connection, index=False)


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write, which becomes `path` at the end; RequestError where that fails."""
    try:
        with new_file(path) as temporary:
            yield temporary
    except (OSError, sqlite3.Error) as error:  # pandas wraps errors of SQLite into an OSError
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"{path} cannot be written ({reason}); choose another file.") from error
