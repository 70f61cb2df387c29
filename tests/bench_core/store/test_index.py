"""The index of a store's records: it saves time and never changes what is read."""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import StoreError
from bench_core.files import cache_root, read_json, sealed
from bench_core.keys import key_of
from bench_core.store import index
from bench_core.store.record import Document, Record
from bench_core.store.store import Store, read_record
from benchmarks.store_size import make_store

RECORDS = 60
PUBLISHED = Path(__file__).parents[3] / "leaderboards"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some records."""
    folder = tmp_path_factory.mktemp("made") / "store"
    make_store(folder, RECORDS)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of it, whose files count as old although they are new, and whose records are enough for an index."""
    monkeypatch.setattr(index, "_SETTLED_NS", -(10**18))
    monkeypatch.setattr(index, "FEWEST_NEW", 8)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of records that were read since."""
    files: list[Path] = []

    def read(path: Path) -> Record:
        files.append(path)
        return read_record(path)

    monkeypatch.setattr("bench_core.store.store.read_record", read)
    return files


def from_files(store: Store) -> list[Record]:
    return [read_record(file) for file in sorted((store.path / "cells").rglob("*.json"), key=lambda file: file.name)]


def texts(records: list[Record]) -> list[tuple[str, str]]:
    """All that records hold, so that 1 is not 1.0; the order of a document's parts means nothing."""
    return [
        (json.dumps(record.document.content, sort_keys=True), repr(replace(record, document=Document({}))))
        for record in records
    ]


def test_records_from_an_index_are_those_of_the_files_in_every_field(store: Store, reads: list[Path]) -> None:
    assert store.records() == from_files(store)
    reads.clear()
    again = store.records()
    assert not reads
    assert again == from_files(store)  # `stored` among the fields: the whole content of each file
    assert texts(again) == texts(from_files(store))
    assert any(record.items for record in again)
    assert any(record.curves for record in again)


@pytest.mark.parametrize(
    "board", ["sprites_factors", "mnist_vae", "cora", "mutag", "colour_digits", "digits_distillation"]
)
def test_published_records_of_every_kind_pass_an_index_unchanged(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_SETTLED_NS", -(10**18))
    monkeypatch.setattr(index, "FEWEST_NEW", 1)
    store = Store(tmp_path / "store")
    store.create()
    for path in sorted((PUBLISHED / board / "records").glob("*.json"))[:60]:
        target = store.record_file(path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    store.records()
    assert (store.path / index.FILE).is_file()
    assert texts(store.records()) == texts(from_files(store))
    assert store.records() == from_files(store)


def test_a_small_store_has_no_index(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "store")
    Store(tmp_path / "store").records()
    assert not (tmp_path / "store" / index.FILE).exists()
    assert not (cache_root() / "stores").exists()


def test_documents_share_what_is_the_same_for_all_seeds(store: Store) -> None:
    store.records()
    records = [record for record in store.records() if record.names["method"] == "method_0"]
    knn = [record for record in records if record.names["task"] == "knn"]
    assert len(knn) > 1
    assert len({record.seed for record in knn}) == len(knn)
    [memos, *others] = [record.document.memos for record in knn]
    assert memos
    assert all(other and other[0] is memos[0] and other[1] is memos[1] for other in others)
    [of_linear] = {id(r.document.memos[1]) for r in records if r.names["task"] == "linear" and r.document.memos}
    assert of_linear == id(memos[1])  # of the same training
    assert all(record.document.pretrain["method"] is knn[0].document.pretrain["method"] for record in knn)


def test_files_that_have_just_changed_are_read_again_the_next_time(
    store: Store, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_SETTLED_NS", 10**12)
    for _ in range(2):
        reads.clear()
        assert len(store.records()) == RECORDS
        assert len(reads) == RECORDS
    assert not (store.path / index.FILE).exists()


def test_a_few_new_records_are_read_beside_the_index_and_many_make_a_new_one(
    store: Store, reads: list[Path], tmp_path: Path
) -> None:
    files = sorted((store.path / "cells").rglob("*.json"))
    aside = [(file, tmp_path / file.name) for file in files[:20]]
    for file, place in aside:
        file.rename(place)
    assert len(store.records()) == RECORDS - 20
    written = (store.path / index.FILE).read_bytes()
    for file, place in aside[:3]:
        place.rename(file)
    reads.clear()
    assert store.records() == from_files(store)
    assert len(reads) == 3
    assert (store.path / index.FILE).read_bytes() == written
    for file, place in aside[3:]:
        place.rename(file)
    reads.clear()
    assert store.records() == from_files(store)
    assert len(reads) == 20  # the three were not in the index yet
    assert (store.path / index.FILE).read_bytes() != written
    reads.clear()
    assert store.records() == from_files(store)
    assert not reads


def test_a_record_that_was_deleted_is_not_read_from_the_index(store: Store) -> None:
    [first, *_] = store.records()
    store.record_file(first.key).unlink()
    assert store.records() == from_files(store)
    assert len(store.records()) == RECORDS - 1


def test_a_record_changed_in_place_is_read_again_although_size_and_time_are_as_before(store: Store) -> None:
    records = store.records()
    file = store.record_file(records[0].key)
    before = file.stat()
    content = read_json(file)
    content["sha256"] = "0" * 64
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    with pytest.raises(StoreError, match="is not as it was written"):
        store.records()


def test_a_record_whose_file_went_away_after_the_index_was_read_says_so(store: Store) -> None:
    store.records()
    record = next(record for record in store.records() if record.items)
    store.record_file(record.key).unlink()
    other = next(record for record in store.records() if record.items)
    assert other.items
    fresh = next(record for record in store.records() if record.key == other.key)
    store.record_file(other.key).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        _ = fresh.items


def test_an_index_that_came_along_with_a_copy_of_a_store_is_not_believed(
    store: Store, reads: list[Path], tmp_path: Path
) -> None:
    store.records()
    shutil.copytree(store.path, tmp_path / "copy")  # with the times of all files
    reads.clear()
    copy = Store(tmp_path / "copy")
    assert copy.records() == from_files(copy)
    assert len(reads) == RECORDS


def spoil_bits(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 3, 200])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def spoil_end(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def spoil_block(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [spoil_bits, spoil_end, spoil_block])
def test_a_damaged_index_changes_nothing_that_is_read(
    spoil: Callable[[Path, random.Random], None], store: Store
) -> None:
    wanted = texts(store.records())
    whole = (store.path / index.FILE).read_bytes()
    for seed in range(15):
        (store.path / index.FILE).write_bytes(whole)
        spoil(store.path / index.FILE, random.Random(seed))
        for _ in range(2):  # read beside the damaged one, and from the one that was made in its place
            assert texts(store.records()) == wanted, seed


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"no database", b"\x00" * 5000])
def test_a_file_that_is_no_index_is_replaced(content: bytes, store: Store, reads: list[Path]) -> None:
    (store.path / index.FILE).write_bytes(content)
    assert len(store.records()) == RECORDS
    reads.clear()
    assert len(store.records()) == RECORDS
    assert not reads


def test_a_view_in_the_place_of_a_table_is_not_asked(store: Store, reads: list[Path]) -> None:
    store.records()
    with closing(sqlite3.connect(store.path / index.FILE)) as connection, connection:
        connection.execute("drop table parts")
        endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i, i, i from n"
        connection.execute(f"create view parts (number, text, checksum) as {endless}")
    reads.clear()
    assert len(store.records()) == RECORDS
    assert len(reads) == RECORDS


def test_an_index_of_another_version_is_written_anew(
    store: Store, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.records()
    monkeypatch.setattr(index, "VERSION", index.VERSION + 1)
    for expected in (RECORDS, 0):
        reads.clear()
        assert len(store.records()) == RECORDS
        assert len(reads) == expected


def test_the_index_of_a_store_that_cannot_be_written_lies_in_the_cache_folder(store: Store, reads: list[Path]) -> None:
    (store.path / index.FILE).mkdir()  # nothing can take its place
    store.records()
    assert [path.suffix for path in (cache_root() / "stores").iterdir()] == [".sqlite"]
    reads.clear()
    assert store.records() == from_files(store)
    assert not reads


def test_without_any_place_for_an_index_the_records_are_read(
    store: Store, reads: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (store.path / index.FILE).mkdir()
    for _ in range(2):
        reads.clear()
        assert store.records() == from_files(store)
        assert len(reads) == RECORDS
    assert [path.name for path in store.path.iterdir() if path.name.endswith(".tmp")] == []


def test_rows_are_not_added_to_an_index_that_another_process_wrote_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = sorted((store.path / "cells").rglob("*.json"))
    for file in files[::2]:
        file.rename(tmp_path / file.name)
    store.records()
    for file in files[::2]:
        (tmp_path / file.name).rename(file)
    write = index._write

    def after_another(store_path: Path, known: index._Known, rows: list[tuple[str, str, str]]) -> None:
        monkeypatch.setattr(index, "_write", write)
        (store_path / index.FILE).unlink()
        Store(store_path).records()  # writes an index from the beginning, in which parts have other numbers
        write(store_path, known, rows)

    monkeypatch.setattr(index, "_write", after_another)
    assert store.records() == from_files(store)
    assert store.records() == from_files(store)


def test_processes_that_index_one_store_at_once_leave_one_whole_index(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from bench_core.store import Store, index\n"
        "index._SETTLED_NS, index.FEWEST_NEW = -(10**18), 8\n"
        "for _ in range(5):\n"
        "    index._known = lambda *_: index._Known()\n"  # each of them makes it from the beginning
        "    print(len(Store(sys.argv[1]).records()))\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(store.path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate()[0].split() for process in processes]
    assert outputs == [[str(RECORDS)] * 5] * 3
    assert store.records() == from_files(store)
    assert [path.name for path in store.path.iterdir() if path.name.endswith(".tmp")] == []


def new_record(like: Record) -> dict[str, Any]:
    """A record of the same row and task at seed 99."""
    content: dict[str, Any] = json.loads(json.dumps(dict(like.stored)))
    content["doc"]["embed"]["pretrain"]["seed"] = 99
    content["key"] = key_of(content["doc"])
    return content


def test_a_new_record_appears_at_once(store: Store) -> None:
    [first, *_] = store.records()
    content = new_record(first)
    assert store.add_record(content)
    found = [record for record in store.records() if record.seed == 99]
    assert [dict(record.stored) for record in found] == [content]
    assert sealed(content)["sha256"] == read_json(store.record_file(content["key"]))["sha256"]


def test_a_record_added_while_an_index_is_written_is_read_the_next_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    [first, *_] = from_files(store)
    write = index._write

    def with_one_more(store_path: Path, known: index._Known, rows: list[tuple[str, str, str]]) -> None:
        store.add_record(new_record(first))
        write(store_path, known, rows)

    monkeypatch.setattr(index, "_write", with_one_more)
    assert len(store.records()) == RECORDS
    assert len(store.records()) == RECORDS + 1
    assert store.records() == from_files(store)
