import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError, StoreError
from bench_core.files import new_folder, write_once, write_over, write_text
from bench_core.keys import key_of
from bench_core.store import Store
from bench_core.store.record import record_from_json
from bench_core.store.store import FORMAT, MARKER, PREEMPTED, find_records, latest_attempts


def record(value: float = 1.0) -> dict[str, Any]:
    parts = {part: {"id": f"toys/{part}", "revision": 1} for part in ("dataset", "encoder", "method")}
    doc = {"task": {"id": "toys/x", "revision": 1}, "embed": {"pretrain": {**parts, "seed": 0}}}
    names = dict.fromkeys(("dataset", "encoder", "method", "task"), "x")
    score = {"metric": "top1", "unit": "fraction", "value": value, "higher_is_better": True}
    return {"format": 1, "key": key_of(doc), "doc": doc, "names": names, "scores": [score]}


def test_record_is_read_back_from_the_file_of_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    assert store.add_record(record())
    key = record()["key"]
    assert store.record(key) == record_from_json(record())
    assert store.records() == [record_from_json(record())]
    assert (tmp_path / "runs" / "cells" / key[:2] / f"{key}.json").is_file()


@pytest.mark.parametrize(("most", "found"), [(0, 0), (2, 2), (9, 3)])
def test_some_records_are_read_up_to_a_number(most: int, found: int, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    assert store.some_records(most) == []
    for seed in range(3):
        other = record()
        other["doc"]["embed"]["pretrain"]["seed"] = seed
        store.add_record({**other, "key": key_of(other["doc"])})
    assert store.some_records(most) == store.records()[:found]


def test_the_first_record_of_a_key_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.add_record(record(1.0))
    assert not store.add_record(record(2.0))
    assert store.records()[0].scores["top1"].value == 1.0


def test_writing_leaves_no_temporary_files(tmp_path: Path) -> None:
    Store(tmp_path).add_record(record())
    write_text(tmp_path / "page.md", "x")
    assert not list(tmp_path.rglob("*.tmp"))


def test_file_is_written_once_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert write_once(tmp_path / "a.json", {"a": 1})
    assert not write_once(tmp_path / "a.json", {"a": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_torn_or_edited_record_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_record(record())
    (path,) = tmp_path.glob("cells/*/*.json")
    write_over(path, {**record(), "doc": {"task": "y"}})
    with pytest.raises(StoreError, match=r"is not what its key says"):
        store.records()
    path.write_text(path.read_text()[:20])
    with pytest.raises(StoreError, match=rf"{path.name} cannot be read"):
        store.records()


@pytest.mark.parametrize(
    ("written", "edited"), [('"value": 1.0', '"value": 7.0'), ('"seed": 0', '"seed": 1'), ("sha256", "sha257")]
)
def test_record_with_a_changed_byte_is_refused(written: str, edited: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_record(record())
    (path,) = tmp_path.glob("cells/*/*.json")
    assert written in path.read_text()
    path.write_text(path.read_text().replace(written, edited))
    with pytest.raises(StoreError, match=rf"{path.name} is not as it was written.*move it away and run again"):
        store.record(record()["key"])


def test_record_without_a_seal_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = tmp_path / "cells" / "ab" / f"{record()['key']}.json"
    write_once(path, record())
    assert [stored_record.stored for stored_record in store.records()] == [record()]


def test_folder_with_a_half_made_marker_can_become_a_store(tmp_path: Path) -> None:
    (tmp_path / ".bench-store.json.0123abcd.tmp").write_text("{")
    (tmp_path / ".lock").touch()  # on a file system without hard links
    Store(tmp_path).add_record(record())
    assert [stored_record.stored for stored_record in Store(tmp_path).records()] == [record()]


def test_folder_with_other_files_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RequestError, match=r"exists and is no store.*choose another with --store"):
        Store(tmp_path)


@pytest.mark.parametrize("content", [None, "", '{"fprmat": 1}', "\x00"])
def test_error_of_a_damaged_marker_says_what_to_write_into_it(content: str | None, tmp_path: Path) -> None:
    Store(tmp_path).add_record(record())
    marker = tmp_path / "bench-store.json"
    marker.unlink() if content is None else marker.write_text(content)
    with pytest.raises(StoreError, match=r'json is missing or damaged.*write \{"format": 1\} into .*bench-store\.json'):
        Store(tmp_path)


def test_a_store_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench-store.json").write_text('{"format": 2}')
    with pytest.raises(StoreError, match="has format 2, this bench reads 1; upgrade"):
        Store(tmp_path)


def test_opening_a_store_writes_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "runs").records() == []
    assert not (tmp_path / "runs").exists()


def test_store_to_read_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"there is no store at .*runs; `bench run --store .*runs` makes one"):
        Store.existing(tmp_path / "runs")
    Store(tmp_path / "runs").add_record(record())
    assert len(Store.existing(tmp_path / "runs").records()) == 1


def test_records_are_found_in_a_store_in_a_board_and_in_a_folder_of_records(tmp_path: Path) -> None:
    key = record()["key"]
    Store(tmp_path / "runs").add_record(record())
    files = [
        tmp_path / "runs" / "cells" / key[:2] / f"{key}.json",
        tmp_path / "board" / "records" / f"{key}.json",
        tmp_path / "folder" / f"{key}.json",
    ]
    for file in files[1:]:
        write_once(file, record())
    for name, file in zip(("runs", "board", "folder"), files, strict=True):
        assert {path: found.key for path, found in find_records(tmp_path / name).items()} == {file: key}
    with pytest.raises(RequestError, match="there is no store at"):
        find_records(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="holds no records: it is no store"):
        find_records(tmp_path / "empty")


def test_page_of_a_store_lies_in_it(tmp_path: Path) -> None:
    assert Store(tmp_path / "runs").write_page("# Page\n") == tmp_path / "runs" / "leaderboard.md"
    assert (tmp_path / "runs" / "leaderboard.md").read_text() == "# Page\n"
    assert (tmp_path / "runs" / MARKER).is_file()


def test_last_attempt_on_a_cell_is_the_latest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.last_attempt("ab") is None
    files = [store.add_attempt({"key": "ab", "error": error}) for error in ("first", "second")]
    assert store.last_attempt("ab") == max(files)
    assert (tmp_path / MARKER).is_file()


def test_only_the_last_attempt_of_a_cell_counts_and_a_preempted_one_has_not_failed() -> None:
    attempts = [
        {"key": key, "kind": kind}
        for key, kind in (("a", "nan"), ("a", "oom"), ("b", "nan"), ("b", PREEMPTED), ("c", None), ("d", "error"))
    ]
    assert latest_attempts(attempts) == {"a": attempts[1], "d": attempts[5]}


def test_every_attempt_is_kept_in_order(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for error in ("first", "second"):
        store.add_attempt({"key": "ab", "error": error})
    assert [attempt["error"] for attempt in store.attempts()] == ["first", "second"]


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(text: str, fail: bool = False) -> None:
        with new_folder(tmp_path / "chains" / "ab", "a.txt") as folder_to_fill:
            (folder_to_fill / "a.txt").write_text(text)
            assert not (tmp_path / "chains" / "ab").exists() or text == "second"
            if fail:
                raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fill("none", fail=True)
    assert list((tmp_path / "chains").iterdir()) == []
    fill("first")
    fill("second")  # the first one published wins
    assert [p.name for p in (tmp_path / "chains").iterdir()] == ["ab"]
    assert (tmp_path / "chains" / "ab" / "a.txt").read_text() == "first"


def test_a_complete_folder_is_replaced_where_this_is_asked_for(tmp_path: Path) -> None:
    def fill(text: str, fail: bool = False) -> None:
        with new_folder(tmp_path / "ab", "a.txt", over=True) as folder_to_fill:
            (folder_to_fill / "a.txt").write_text(text)
            if fail:
                raise RuntimeError("stopped")

    fill("first")  # nothing is there yet
    with pytest.raises(RuntimeError, match="stopped"):
        fill("none", fail=True)
    assert (tmp_path / "ab" / "a.txt").read_text() == "first"
    fill("second")
    assert (tmp_path / "ab" / "a.txt").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["ab"]


def test_folder_without_its_last_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "half").write_text("x")
    with new_folder(tmp_path / "ab", "a.txt") as folder_to_fill:
        (folder_to_fill / "a.txt").write_text("whole")
    assert [p.name for p in (tmp_path / "ab").iterdir()] == ["a.txt"]


def test_error_names_a_store_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        RequestError, match=r"cannot be written \(Not a directory\); choose another folder with --store"
    ):
        Store(tmp_path / "file" / "runs").create()


def test_store_created_by_another_process_meanwhile_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Path.iterdir

    def made_meanwhile(folder: Path) -> Iterator[Path]:
        (folder / MARKER).write_text(json.dumps({"format": FORMAT}))
        return looks(folder)

    monkeypatch.setattr(Path, "iterdir", made_meanwhile)
    assert Store(tmp_path).records() == []
