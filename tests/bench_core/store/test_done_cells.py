"""Done and failed cells are found by names alone; what is asked one by one and by listing a folder agrees."""

import json
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest

from bench_core.store import Store
from bench_core.store.done_cells import done_keys, failed_cells, last_attempts, trained_keys

KEYS = [sha256(str(number).encode()).hexdigest() for number in range(2000)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which every third cell has a record, which nobody reads here."""
    store = Store(tmp_path)
    for key in KEYS[::3]:
        path = store.record_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("damaged")
        (path.parent / f".{key}.json.01234567.tmp").write_text("half")
    return store


def add_attempt(store: Store, key: str, name: str, kind: str) -> None:
    names = {"dataset": "d", "encoder": "e", "method": "m", "task": "t"}
    path = store.path / "attempts" / key / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"key": key, "kind": kind, "error": "no luck", "names": names, "seed": 0}))


@pytest.mark.parametrize("number", [0, 1, 5, 2000])
def test_keys_with_a_record_are_found_however_many_are_asked(number: int, store: Store) -> None:
    asked = KEYS[:number]
    assert done_keys(store, asked) == {key for key in asked if store.record_file(key).is_file()}


@pytest.mark.parametrize("number", [0, 3, 100])
def test_trained_chains_are_found_however_many_are_asked(number: int, store: Store) -> None:
    for key in KEYS[:100:2]:
        folder = store.chain_folder(key)
        folder.mkdir(parents=True)
        (folder / "chain.json").touch()
        folder.with_name(f"{KEYS[1]}.under-way").mkdir(exist_ok=True)
    assert trained_keys(store, KEYS[:number]) == set(KEYS[:number:2])


def test_no_store_has_no_record_and_no_attempt(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert done_keys(store, KEYS) == set()
    assert trained_keys(store, KEYS) == set()
    assert last_attempts(store, KEYS) == []


def test_many_cells_cost_an_operation_for_each_folder_and_not_for_each_cell(store: Store) -> None:
    with (
        mock.patch("pathlib.Path.is_file") as one,
        mock.patch("bench_core.files.os.listdir", return_value=[]) as listed,
    ):
        done_keys(store, KEYS)
    assert listed.call_count + one.call_count / 4 <= 256


def test_of_several_attempts_the_last_counts_and_only_asked_cells_are_read(store: Store) -> None:
    failed, preempted, other = KEYS[:3]
    add_attempt(store, failed, "20260101T000000000000-a", "preempted")
    add_attempt(store, failed, "20260102T000000000000-b", "nan")
    add_attempt(store, preempted, "20260101T000000000000-a", "nan")
    add_attempt(store, preempted, "20260102T000000000000-b", "preempted")
    (store.path / "attempts" / other).mkdir()
    (store.path / "attempts" / other / "20260101T000000000000-a.json").write_text("damaged")
    assert failed_cells(store, [failed, preempted]).keys() == {failed}
    assert [attempt["kind"] for attempt in last_attempts(store, [preempted])] == ["preempted"]
