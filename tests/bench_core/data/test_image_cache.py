"""The cache of image folders: sealed entries, and stamps of files."""

import json
import logging
import os
import time
from pathlib import Path

import pytest

from bench_core.data import image_cache
from bench_core.data.image_cache import cache_folder, is_settled, read_entry, stamp, write_cache, write_entry


def test_entry_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_entry(tmp_path / "new" / "a.json", {"b": [1, None], "a": "é"})
    assert read_entry(tmp_path / "new" / "a.json") == {"a": "é", "b": [1, None]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"[1, 2]", b"3", b"\xff", b'{"value": {"a": 1}}', b'{"value": {"a": 1}, "seal": "x"}',
        b'{"value": 3, "seal": "x"}', b"[" * 10_000,
    ],
)  # fmt: skip
def test_damaged_entry_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert read_entry(tmp_path / "a.json") == {}
    assert read_entry(tmp_path / "none.json") == {}


def test_one_changed_value_breaks_the_seal(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_entry(path, {"brightest": [4095]})
    path.write_text(path.read_text().replace("4095", "4094"))
    assert read_entry(path) == {}


def test_entry_that_is_no_object_counts_as_absent(tmp_path: Path) -> None:
    write_entry(tmp_path / "a.json", [1])  # type: ignore[arg-type]  # on purpose, so that its seal is right
    assert json.loads((tmp_path / "a.json").read_text())["value"] == [1]
    assert read_entry(tmp_path / "a.json") == {}


def test_failed_writing_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "bench"):
        write_cache(tmp_path / "file" / "a.npy", lambda file: file.write(b""))
    assert "a.npy cannot be written" in caplog.text


def test_cache_lies_in_the_folder_or_below_the_cache_folder_if_it_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder(tmp_path) == tmp_path / ".bench-cache"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_folder(tmp_path).parent == tmp_path / "cache" / "bench" / "folders"
    assert cache_folder(tmp_path) != cache_folder(tmp_path / "other")
    assert cache_folder(tmp_path) == cache_folder(tmp_path / "other" / "..")


def test_stamp_changes_with_size_time_and_inode_and_when_two_files_of_equal_date_are_swapped(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for path in (first, second):
        path.write_bytes(b"1234")
        os.utime(path, ns=(10**18, 10**18))
    before = stamp(first.stat()), stamp(second.stat())
    assert before[0] != before[1]
    first.rename(tmp_path / "c")
    second.rename(first)
    (tmp_path / "c").rename(second)
    assert first.stat().st_mtime_ns == second.stat().st_mtime_ns
    assert stamp(first.stat()) != before[0]
    assert stamp(second.stat()) != before[1]


def test_stamp_changes_when_a_file_is_written_in_place_and_its_date_set_back(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    os.utime(path, ns=(10**18, 10**18))
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system ticks
        path.write_bytes(b"4321")
        os.utime(path, ns=(10**18, 10**18))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (4, 10**18, before.st_ino)
    assert stamp(path.stat()) != stamp(before)


def test_file_is_settled_seconds_after_its_last_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.utime(tmp_path / "a", ns=(10**18, 10**18))  # only the date is old
    stat, now = (tmp_path / "a").stat(), time.time_ns()
    assert not is_settled([stat], now)
    assert is_settled([stat], stat.st_ctime_ns + image_cache.SETTLED_NS + 1)
    assert not is_settled([stat], stat.st_ctime_ns + image_cache.SETTLED_NS)
    assert not is_settled([stat], stat.st_ctime_ns - 1)  # a clock that goes wrong
    assert is_settled([], now)
