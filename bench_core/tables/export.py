"""A tidy frame of scores -> files for other tools."""

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pandas as pd

from bench_core.errors import RequestError


def to_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write comma-separated values with a header."""
    temporary = _beside(path)
    frame.to_csv(temporary, index=False)
    os.replace(temporary, path)


def to_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write parquet; RequestError where pyarrow is not installed."""
    temporary = _beside(path)
    try:
        frame.to_parquet(temporary, index=False, engine="pyarrow")
    except ImportError as error:
        raise RequestError("parquet needs pyarrow: pip install 'bench-core[parquet]'") from error
    os.replace(temporary, path)


def to_sqlite(frame: pd.DataFrame, path: Path) -> None:
    """Write a table `scores` into an SQLite file, in place of the one that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        frame.to_sql("scores", connection, if_exists="replace", index=False)
        connection.commit()


def _beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
