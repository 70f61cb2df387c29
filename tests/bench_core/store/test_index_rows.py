"""Rows of an index: they hold what a record's fields need, and share what many records have in common."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import StoreError
from bench_core.files import read_json, unsealed
from bench_core.store.index_rows import SharedParts, StoredFile, record_of_row, row_of
from bench_core.store.record import record_from_json
from benchmarks.store_size import made_records, make_store


def test_a_record_comes_back_from_its_row_in_every_field(tmp_path: Path) -> None:
    make_store(tmp_path / "store", 10)
    for path in sorted((tmp_path / "store" / "cells").rglob("*.json")):
        record = record_from_json(unsealed(read_json(path), path))
        parts = SharedParts()
        row = json.loads(json.dumps(row_of(record, parts)))
        assert record_of_row(row, SharedParts(parts.added), str(path)) == record


def test_seeds_of_a_row_share_all_parts_and_tasks_of_a_chain_share_its_training() -> None:
    records = [record_from_json(record) for record in made_records(10)]
    parts = SharedParts()
    rows = [row_of(record, parts) for record in records]
    tasks = len({record.names["task"] for record in records})
    by_seed = [rows[k][0] for k in range(len(rows)) if records[k].names["task"] == "knn"]
    assert len(by_seed) == 2
    assert by_seed[0] == by_seed[1]
    assert len({row[0][1] for row in rows}) == 1  # one training but for the seed
    assert len({row[0][0] for row in rows}) == tasks


def test_a_row_is_a_small_part_of_its_file() -> None:
    parts = SharedParts()
    records = list(made_records(50))
    rows = [json.dumps(row_of(record_from_json(record), parts)) for record in records]
    assert sum(map(len, rows)) < 0.15 * sum(len(json.dumps(record)) for record in records)


def test_parts_keep_their_numbers_and_new_ones_get_others() -> None:
    parts = SharedParts([(3, '{"a": 1}'), (7, '"b"')])
    assert parts.number({"a": 1}) == 3
    assert parts.number("new") == 8
    assert parts.number("new") == 8
    assert parts.added == [(8, '"new"')]
    assert parts.content(7) == "b"
    assert parts.content(3) is parts.content(3)
    assert parts.memo(3) is parts.memo(3)
    with pytest.raises(KeyError):
        parts.content(4)


def test_1_and_true_are_different_parts() -> None:
    parts = SharedParts()
    assert len({parts.number({"a": value}) for value in (1, 1.0, True, "1", None)}) == 5


@pytest.mark.parametrize("row", [[], [[0], 0], [[0, 0, 0, 0, 0, 9], 0, [], [], {}, [None, None]], {"a": 1}, None])
def test_what_is_no_row_raises_an_error_that_the_index_expects(row: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        record_of_row(row, SharedParts([(0, "{}")]), "cells/ab/ab.json")


def stored_file(folder: Path) -> StoredFile:
    (folder / "ab.json").write_text(
        json.dumps({"key": "ab", "doc": {}, "curves": {}, "items": {"top1": 1}, "sha256": "0"})
    )
    return StoredFile(str(folder / "ab.json"), "ab", {"key": None, "doc": None, "curves": {}, "items": None})


def test_the_content_of_a_file_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    stored = stored_file(tmp_path)
    assert dict(stored) == {"key": "ab", "doc": {}, "curves": {}, "items": {"top1": 1}}  # without its seal
    assert list(stored) == ["key", "doc", "curves", "items"]
    assert len(stored) == 4
    (tmp_path / "ab.json").unlink()
    assert stored["doc"] == {}  # it was read
    assert stored_file(tmp_path)["items"] == {"top1": 1}


def test_what_is_empty_or_not_there_is_known_without_the_file(tmp_path: Path) -> None:
    stored = stored_file(tmp_path)
    (tmp_path / "ab.json").unlink()
    assert stored["curves"] == {}
    assert stored.get("folds", 1) == 1
    assert "items" in stored
    assert "folds" not in stored
    with pytest.raises(StoreError, match="cannot be read"):
        stored["items"]


def test_a_file_in_which_another_record_stands_now_is_refused(tmp_path: Path) -> None:
    stored = stored_file(tmp_path)
    (tmp_path / "ab.json").write_text(json.dumps({"key": "cd", "items": {}}))
    with pytest.raises(StoreError, match="is not what its key says"):
        stored["items"]
