"""Tables of images: a CSV or parquet file with one row for each image, its labels, factors and split.

Paths are relative to the dataset's folder. Every cell becomes text, so both kinds of file give the same rows.
"""

import csv
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core.data.files import missing_data
from bench_core.data.image_listing import require_printable
from bench_core.errors import ConfigError, DataMissingError, RequestError, did_you_mean, shown


@dataclass(frozen=True)
class ImageTable:
    """A table's file, and the names of its columns.

    Attributes:
        file: CSV, or parquet if its name ends in `.parquet`.
        path: Column of the images' paths.
        labels: Columns of labels; empty if labels are not used.
        factors: Columns of ground-truth factors.
        split: Column with `train` or `test` in each row; None, or a name that no column has, if there is none.
    """

    file: Path
    path: str = "path"
    labels: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    split: str | None = "split"


@dataclass(frozen=True)
class ImageRows:
    """The rows of a table, sorted by path.

    Attributes:
        files: Paths relative to the dataset's folder, with forward slashes.
        numbers: Number of each row in the file; the header is row 1.
        labels: Cells of the label columns of each row.
        factors: Cells of the factor columns of each row.
        splits: `train` or `test` for each row, or None if the table does not say.
    """

    files: tuple[str, ...]
    numbers: tuple[int, ...]
    labels: tuple[tuple[str, ...], ...]
    factors: tuple[tuple[str, ...], ...]
    splits: tuple[str, ...] | None

    def take(self, index: Sequence[int]) -> "ImageRows":
        """Return the rows at some positions, in that order."""
        return ImageRows(
            tuple(self.files[i] for i in index),
            tuple(self.numbers[i] for i in index),
            tuple(self.labels[i] for i in index),
            tuple(self.factors[i] for i in index),
            None if self.splits is None else tuple(self.splits[i] for i in index),
        )


def read_image_table(name: str, folder: Path, table: ImageTable) -> ImageRows:
    """Read a table and check each row.

    Args:
        name: Name of the dataset, for messages.
        folder: Folder of the dataset.
        table: The file and its columns.

    Raises:
        DataMissingError: The table or one of its images is missing, or a row is wrong; the message has its number.
        ConfigError: The table has no column of a given name.
        RequestError: The table is parquet, and pyarrow is not installed.
    """
    columns = _read_columns(name, table.file)
    paths = _column(name, table.file, columns, "path_column", table.path)
    if not paths:
        raise DataMissingError(f"{name}: {table.file} has no rows; write one for each image.")
    labels = [_column(name, table.file, columns, "label_columns", column) for column in table.labels]
    factors = [_column(name, table.file, columns, "factor_columns", column) for column in table.factors]
    splits = columns.get(table.split) if table.split is not None else None
    files = _relative(folder, paths)
    _check_rows(name, table.file, paths, lambda row: _path_fault(folder, files, row))
    first = {file: row for row, file in reversed(list(enumerate(files)))}
    _check_rows(name, table.file, paths, lambda row: _duplicate_fault(first[files[row]], row))
    if splits is not None:
        _check_rows(name, table.file, splits, lambda row: _split_fault(splits[row]))
    for file in files:
        require_printable(name, folder, file)
    rows = ImageRows(
        tuple(files),
        tuple(range(2, len(files) + 2)),
        tuple(tuple(column[row] for column in labels) for row in range(len(files))),
        tuple(tuple(column[row] for column in factors) for row in range(len(files))),
        None if splits is None else tuple(splits),
    )
    return rows.take(sorted(range(len(files)), key=lambda row: files[row]))


def row_error(name: str, file: Path, number: int, why: str, others: int = 0) -> DataMissingError:
    """Return the error for a row of a table.

    Args:
        name: Name of the dataset.
        file: The table.
        number: Number of the row in the file.
        why: What is wrong with the row, and what would be right.
        others: Number of further rows that are wrong in the same way.
    """
    more = f" (further rows like this: {others})" if others else ""
    return DataMissingError(f"{name}: {file}, row {number}: {why}{more}.")


def _check_rows(name: str, file: Path, cells: Sequence[str], fault: Callable[[int], str | None]) -> None:
    """Refuse a table in which `fault` says what is wrong with a row."""
    faults = [(row, why) for row in range(len(cells)) if (why := fault(row))]
    if faults:
        row, why = faults[0]
        raise row_error(name, file, row + 2, f"{shown(cells[row])} {why}", len(faults) - 1)


def _relative(folder: Path, paths: Sequence[str]) -> list[str]:
    """Return paths relative to the folder, in one spelling; those outside begin with "..", empty ones are "."."""
    top = os.path.abspath(folder)
    return [os.path.relpath(os.path.join(top, path), top).replace(os.sep, "/") for path in paths]


def _path_fault(folder: Path, files: Sequence[str], row: int) -> str | None:
    if files[row] == ".":
        return "is no path; write the path of an image"
    if files[row].split("/")[0] == "..":
        return f"lies outside of {folder}; move the image there, or set image_folder.path to a folder above both"
    if not (folder / files[row]).is_file():
        return f"is no file below {folder}; repair the path, or remove the row"
    return None


def _duplicate_fault(first: int, row: int) -> str | None:
    return None if first == row else f"is also the image of row {first + 2}; leave one row for each image"


def _split_fault(cell: str) -> str | None:
    return None if cell in ("train", "test") else "is no split; write train or test, or remove the row"


def _column(name: str, file: Path, columns: dict[str, list[str]], parameter: str, column: str) -> list[str]:
    if column in columns:
        return columns[column]
    value = "=NAME" if parameter == "path_column" else """='["NAME"]'"""
    raise ConfigError(
        f"{name}: {file} has no column {shown(column)}{did_you_mean(column, columns)} Its columns are: "
        f"{', '.join(columns)}; name yours with --set image_folder.{parameter}{value}."
    )


def _read_columns(name: str, file: Path) -> dict[str, list[str]]:
    """Read all columns as text, by name."""
    try:
        return _read_parquet(name, file) if file.suffix.lower() == ".parquet" else _read_csv(name, file)
    except OSError as error:
        why = f"cannot be read ({error.strerror or error})"
        raise missing_data(name, file, why, fetch=False) from error


def _read_csv(name: str, file: Path) -> dict[str, list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(lines, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataMissingError(f"{name}: {file} is no CSV in UTF-8 ({error}); save it as CSV again.") from error
    if not rows:
        raise DataMissingError(f"{name}: {file} is empty; its first row must have the names of the columns.")
    header = [cell.strip() for cell in rows[0]]
    _require_distinct(name, file, header)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise row_error(name, file, number, f"has {len(row)} cells, but the header has {len(header)}; repair it")
    return {column: [row[place].strip() for row in rows[1:]] for place, column in enumerate(header)}


def _read_parquet(name: str, file: Path) -> dict[str, list[str]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({reason})") from error
    try:
        table = parquet.ParquetFile(file).read()
    except pyarrow.ArrowInvalid as error:
        raise DataMissingError(f"{name}: {file} is no parquet file ({error}); write it again.") from error
    _require_distinct(name, file, table.column_names)
    columns = zip(table.column_names, table.columns, strict=True)
    return {column: [_text(value) for value in values.to_pylist()] for column, values in columns}


def _require_distinct(name: str, file: Path, columns: Sequence[str]) -> None:
    if twins := [column for column in columns if columns.count(column) > 1]:
        raise DataMissingError(f"{name}: {file} has two columns {shown(twins[0])}; rename or remove one.")


def _text(value: object) -> str:
    """Return a cell of parquet as CSV would have it: nothing for null, no point in whole numbers, 1 for true."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):  # several labels
        return ";".join(_text(part) for part in value)
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value).strip()
