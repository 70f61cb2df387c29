"""Scores as files for other tools: numbers come back bit for bit, and text is no formula."""

import csv
import io
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench_core.errors import RequestError
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.export import write_csv, write_parquet, write_sqlite
from bench_core.reports.tables.frames import COLUMNS, frame_of, score_lines, tidy
from bench_core.reports.tables.render import render
from bench_core.store.record import Record, record_from_json

Make = Callable[..., dict[str, Any]]

VALUES = (-0.1, 0.1 + 0.2, -1 / 3, 7.123456789123456, 0.0)
FORMULA = "=HYPERLINK(1)"
READ: dict[str, Callable[[str], Any]] = {"float64": float, "Int64": int, "boolean": lambda text: text == "True"}


@pytest.fixture
def records(make_record: Make, make_score: Make) -> list[Record]:
    """Records of values that need all their digits, and of a stranger whose words are formulas."""
    bound = {"unit": "nats", "chance": None}
    ours = [
        make_record(f"m{number}", "mi", seed, [make_score("bound", value * (1 + seed), **bound)])
        for number, value in enumerate(VALUES)
        for seed in range(3)
    ]
    words = {"method": "@SUM(A1)", "encoder": "convnet", "dataset": "digits", "task": "mi"}
    theirs = [make_record("vae", "mi", 0, [make_score("bound", -2.5, caveat=FORMULA, **bound)], names=words)]
    return [record_from_json(record) for record in (*ours, *theirs)]


def test_numbers_of_an_exported_csv_file_come_back_bit_for_bit(records: list[Record], tmp_path: Path) -> None:
    place = list(COLUMNS).index("value")
    scores = [list(line) for line in score_lines(records)]
    for line, value in zip(scores, (-1e-300, 5e-324, 123456789.123456789), strict=False):
        line[place] = value
    assert write_csv(scores, tmp_path / "a.csv") == len(scores)
    frame = frame_of(scores)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(frame)
    for name in frame:
        values = [READ.get(str(frame[name].dtype), str)(line[name]) if line[name] else None for line in lines]
        ours = [None if pd.isna(value) or value == "" else value for value in frame[name]]
        safe: dict[Any, Any] = {"@SUM(A1)": "'@SUM(A1)", FORMULA: f"'{FORMULA}"}
        assert values == [safe.get(value, value) for value in ours], name


def test_raw_cells_of_an_exported_csv_file_are_those_that_pandas_would_write(
    records: list[Record], tmp_path: Path
) -> None:
    frame = tidy(records)
    write_csv(score_lines(records), tmp_path / "a.csv", raw_cells=True)
    assert (tmp_path / "a.csv").read_bytes().decode() == frame.to_csv(index=False, lineterminator="\n")


def test_a_file_without_records_is_a_header(tmp_path: Path) -> None:
    write_csv([], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == ",".join(tidy([]).columns) + "\n"


@pytest.mark.parametrize("raw", [False, True])
def test_scores_of_a_table_come_back_from_its_csv_as_they_are_shown(records: list[Record], raw: bool) -> None:
    [table] = build(entries_of(records))
    lines = list(csv.DictReader(io.StringIO(render([table], "csv", raw_cells=raw))))
    cells = [(row, cell) for row in table.rows for cell in row.cells]
    assert len(lines) == len(cells)
    negative = 0
    for line, (row, cell) in zip(lines, cells, strict=True):
        assert line["shown"] == cell.text
        assert line["mean"] == ("" if cell.mean is None else repr(float(f"{cell.mean:.12g}")))
        assert line["method"] == (row.name if raw or not row.name.startswith("@") else f"'{row.name}")
        assert line["caveat"] == (cell.caveat if raw or not cell.caveat else f"'{cell.caveat}")
        negative += cell.text.startswith("-")
    assert negative >= 3
    assert any("±" in cell.text and cell.text.startswith("-") for _, cell in cells)
    assert any("†" in cell.text and cell.text.startswith("-") for _, cell in cells)


def test_scores_come_back_from_sqlite_and_parquet(records: list[Record], tmp_path: Path) -> None:
    frame = tidy(records)
    assert write_sqlite(score_lines(records), tmp_path / "a.sqlite") == len(frame)
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection:
        back = connection.execute("select method, value from scores").fetchall()
    assert back == list(frame[["method", "value"]].itertuples(index=False, name=None))
    pytest.importorskip("pyarrow")
    assert write_parquet(score_lines(records), tmp_path / "a.parquet") == len(frame)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet")[["value"]], frame[["value"]])


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RequestError, match=r"parquet needs pyarrow: pip install 'bench-core\[parquet\]'"):
        write_parquet([], tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_csv, write_parquet, write_sqlite])
def test_a_path_that_is_a_folder_is_refused_and_nothing_is_left(write: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(RequestError, match=r"there cannot be written \(Is a directory\); choose another file"):
        write([], tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
