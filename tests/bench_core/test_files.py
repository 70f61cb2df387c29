"""Files appear whole or not at all: the order of writing, file systems without hard links, power cuts."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import StoreError
from bench_core.files import (
    DEEPEST_JSON,
    files_below,
    move,
    new_file,
    new_folder,
    parse_json,
    paths_in,
    read_sealed,
    sealed,
    write_once,
    write_over,
    write_text,
)

Write = Callable[[Path], object]


def write_a_folder(path: Path) -> None:
    with new_folder(path, "last.json") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "first.txt").write_text("1")
        write_over(folder / "last.json", {"a": 1})


def failing(number: int) -> Callable[..., None]:
    def fail(*paths: object, **_: object) -> None:
        raise OSError(number, os.strerror(number), *map(str, paths[:1]))

    return fail


# ------------------------------------------------------------------------------------------------- the order of writing
@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What is synced and renamed from now on, in order."""
    events: list[tuple[str, Path]] = []

    def noted(name: str, path_of: Callable[..., Path]) -> Callable[..., object]:
        function = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> object:
            result = function(*args, **kwargs)
            events.append((name, path_of(*args)))
            return result

        return call

    monkeypatch.setattr(os, "fsync", noted("fsync", lambda file: Path(os.readlink(f"/proc/self/fd/{file}"))))
    for name in ("replace", "link", "rename"):
        monkeypatch.setattr(os, name, noted(name, lambda source, target: Path(target)))
    return events


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_once(path, {"a": 1}),
        lambda path: write_over(path, {"a": 1}),
        lambda path: write_text(path, "a"),
        write_a_folder,
    ],
)
def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(
    write: Write, tmp_path: Path, events: list[tuple[str, Path]]
) -> None:
    path = tmp_path / "new" / "name"
    write(path)
    names = [number for number, (event, target) in enumerate(events) if event != "fsync" and target == path]
    assert len(names) == 1
    before = [target for event, target in events[: names[0]] if event == "fsync"]
    after = [target for event, target in events[names[0] :] if event == "fsync"]
    assert tmp_path in before  # the new folder's own name
    assert any(target.name.startswith(".name.") for target in before)
    assert after == [path.parent]


def test_every_file_of_a_new_folder_is_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, events: list[tuple[str, Path]]
) -> None:
    write_a_folder(tmp_path / "name")
    named = events.index(("rename", tmp_path / "name"))
    synced = {target.name for event, target in events[:named] if event == "fsync"}
    assert {"first.txt", "inner", "last.json"} < synced


def test_file_that_another_program_writes_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, events: list[tuple[str, Path]]
) -> None:
    with new_file(tmp_path / "a.svg") as temporary:
        temporary.write_text("<svg/>")
    assert events == [("fsync", temporary), ("replace", tmp_path / "a.svg"), ("fsync", tmp_path)]


def test_move_syncs_both_folders(tmp_path: Path, events: list[tuple[str, Path]]) -> None:
    (tmp_path / "a").write_text("1")
    move(tmp_path / "a", tmp_path / "new" / "b")
    assert {target for event, target in events if event == "fsync"} == {tmp_path, tmp_path / "new"}


def test_file_system_that_cannot_sync_folders_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    assert write_once(tmp_path / "a.json", {"a": 1})


@pytest.mark.parametrize("write", [lambda path: write_once(path, {"a": 1}), lambda path: write_over(path, {"a": 1})])
def test_file_whose_content_does_not_reach_the_disk_gets_no_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- folders
def test_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "embeddings"
    write_a_folder(folder)
    rename, renamed = os.rename, []

    def fail_the_second_time(source: Path, target: Path) -> None:
        renamed.append(target)
        if len(renamed) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_the_second_time)
    with pytest.raises(OSError, match="Input/output error"), new_folder(folder, "last.json", over=True) as temporary:
        (temporary / "last.json").write_text("{}")
    assert (folder / "inner" / "first.txt").read_text() == "1"
    assert list(tmp_path.iterdir()) == [folder]


def test_folder_that_cannot_be_named_is_not_deleted_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "chain"
    folder.mkdir()
    (folder / "kept").touch()
    monkeypatch.setattr(os, "rename", failing(errno.ESTALE))
    with pytest.raises(OSError, match="Stale"), new_folder(folder, "last.json"):
        pass
    assert (folder / "kept").exists()


def test_folder_without_its_last_file_is_replaced_and_a_complete_one_only_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    folder.mkdir()
    (folder / "half").touch()
    write_a_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["inner", "last.json"]
    for over, content in ((False, '{\n "a": 1\n}\n'), (True, "new")):
        with new_folder(folder, "last.json", over=over) as temporary:
            (temporary / "last.json").write_text("new")
        assert (folder / "last.json").read_text() == content
    assert list(tmp_path.iterdir()) == [folder]


def test_folder_in_the_place_of_a_file_is_found_and_text_ends_with_one_newline(tmp_path: Path) -> None:
    (tmp_path / "a.json" / "b.json").mkdir(parents=True)
    assert [path.name for path in files_below(tmp_path, ".json")] == ["a.json", "b.json"]
    assert files_below(tmp_path) == []
    for text in ("x", "x\n"):
        write_text(tmp_path / "text", text)
        assert (tmp_path / "text").read_bytes() == b"x\n"


@pytest.mark.parametrize("linked", [False, True])
def test_device_or_pipe_is_never_replaced_by_a_file(linked: bool, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    path = pipe
    if linked:
        (path := tmp_path / "link").symlink_to(pipe)
    with pytest.raises(OSError, match="device or a pipe"):
        write_text(path, "text")
    assert pipe.is_fifo()
    assert path.is_symlink() == linked
    assert len(list(tmp_path.iterdir())) == 1 + linked


def test_folder_that_cannot_be_listed_is_an_error_and_a_missing_one_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b.json", "a.json", "c.txt", "in/d.json"):
        write_text(tmp_path / name, "{}")
    assert [path.name for path in paths_in(tmp_path, ".json")] == ["a.json", "b.json"]
    assert [path.name for path in files_below(tmp_path, ".json")] == ["a.json", "b.json", "d.json"]
    assert paths_in(tmp_path / "none") == files_below(tmp_path / "none") == paths_in(tmp_path / "c.txt") == []
    monkeypatch.setattr(os, "scandir", failing(errno.EACCES))
    monkeypatch.setattr(os, "listdir", failing(errno.EACCES))
    for read in (paths_in, files_below):
        with pytest.raises(PermissionError):
            read(tmp_path)


# ------------------------------------------------------------------------------------- file systems without hard links
def write_at_the_same_time(path: Path, number: int, error: int, start: Any, won: Any) -> None:
    """Write a file once, where links fail and renaming takes long."""
    replace = os.replace

    def replace_slowly(source: Path, target: Path) -> None:
        time.sleep(0.05)
        replace(source, target)

    patched = pytest.MonkeyPatch()
    patched.setattr(os, "link", failing(error))
    patched.setattr(os, "replace", replace_slowly)
    start.wait()
    won[number] = write_once(path, {"writer": number})


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_first_of_two_writers_wins_without_hard_links(error: int, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, won = context.Barrier(2), context.RawArray("b", [False, False])
    path = tmp_path / "record.json"
    writers = [context.Process(target=write_at_the_same_time, args=(path, k, error, start, won)) for k in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won[:]) == [False, True]
    assert json.loads(path.read_text()) == {"writer": won[:].index(True)}


def test_writer_that_was_killed_keeps_nobody_from_writing_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    if (child := os.fork()) == 0:
        monkeypatch.setattr(os, "replace", lambda *_: os._exit(9))
        write_once(tmp_path / "record.json", {"a": 1})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert write_once(tmp_path / "record.json", {"a": 2})
    assert not write_once(tmp_path / "record.json", {"a": 3})


def test_file_system_with_neither_links_nor_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(StoreError, match=r"neither hard links nor locks .* put the store on another disk"):
        write_once(tmp_path / "record.json", {"a": 1})
    assert not (tmp_path / "record.json").exists()


def test_link_that_fails_by_a_fault_of_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        write_once(tmp_path / "record.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------- real mounts
@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount a file as a disk; skips the test where that is not allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def make_disk(image: Path, program: str) -> None:
    if shutil.which(program) is None or shutil.which("mount") is None:
        pytest.skip(f"{program} or mount is not installed")
    image.write_bytes(b"\0" * 2**20 * 4)
    subprocess.run([program, str(image)], check=True, capture_output=True)


def what_a_power_cut_leaves(image: Path, tmp_path: Path) -> str:
    """Return what is on a disk that loses its power now: a record, a chain of two files, nothing, or what is half."""
    shutil.copyfile(image, tmp_path / "after-the-cut.img")
    with mounted(tmp_path / "after-the-cut.img", tmp_path / "after") as disk:
        found = []
        record = disk / "cells" / "record.json"
        if record.exists():
            found.append("record" if json.loads(record.read_text() or "{}") == {"a": 1} else "half a record")
        if (disk / "chain").exists():
            files = [disk / "chain" / "inner" / "first.txt", disk / "chain" / "last.json"]
            whole = all(file.exists() and file.stat().st_size for file in files)
            found.append("chain" if whole else "half a chain")
        return ", ".join(found)


def test_power_cut_at_any_moment_leaves_all_of_a_file_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_disk(tmp_path / "disk.img", "mkfs.ext4")
    moments: list[str] = []

    def then_cut(name: str) -> Callable[..., object]:
        function = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> object:
            result = function(*args, **kwargs)
            moments.append(what_a_power_cut_leaves(tmp_path / "disk.img", tmp_path))
            return result

        return call

    with mounted(tmp_path / "disk.img", tmp_path / "disk") as disk, monkeypatch.context() as patched:
        for name in ("fsync", "link", "rename", "replace"):
            patched.setattr(os, name, then_cut(name))
        write_once(disk / "cells" / "record.json", {"a": 1})
        assert moments[-1] == "record"
        write_a_folder(disk / "chain")
        assert moments[-1] == "record, chain"
    assert [moment for k, moment in enumerate(moments) if moment not in moments[:k]] == ["", "record", "record, chain"]


@pytest.mark.parametrize("program", ["mkfs.vfat", "mkfs.exfat"])
def test_file_is_written_once_on_a_disk_without_hard_links(program: str, tmp_path: Path) -> None:
    make_disk(tmp_path / "disk.img", program)
    with mounted(tmp_path / "disk.img", tmp_path / "disk") as disk:
        assert write_once(disk / "a.json", {"a": 1})
        assert not write_once(disk / "a.json", {"a": 2})
        assert json.loads((disk / "a.json").read_text()) == {"a": 1}


def test_seal_shows_any_change_and_files_without_one_are_older(tmp_path: Path) -> None:
    value = {"a": 1, "b": [2]}
    write_over(tmp_path / "a.json", sealed(value))
    assert read_sealed(tmp_path / "a.json") == value
    write_over(tmp_path / "b.json", value)
    assert read_sealed(tmp_path / "b.json") == value
    for changed in ({**sealed(value), "a": 2}, {**value, "sha257": sealed(value)["sha256"]}, {"sha256": "x", **value}):
        write_over(tmp_path / "c.json", changed)
        with pytest.raises(StoreError, match=r"c\.json is not as it was written: edited or damaged"):
            read_sealed(tmp_path / "c.json")


@pytest.mark.parametrize("escape", [r"\ud800", r"\uD800", r"\ude00x"])
def test_half_a_character_in_json_is_refused_and_two_halves_are_one(escape: str) -> None:
    with pytest.raises(StoreError, match=r"x cannot be read .*surrogates not allowed"):
        parse_json(f'{{"a": "{escape}"}}'.encode(), Path("x"))
    assert parse_json(rb'{"a": "\ud83d\ude00"}', Path("x")) == {"a": "\N{GRINNING FACE}"}


def test_json_may_lie_so_deep_and_no_deeper() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    assert parse_json(nested(DEEPEST_JSON), Path("x"))
    with pytest.raises(StoreError, match=r"x cannot be read .*too deep in each other"):
        parse_json(nested(DEEPEST_JSON + 1), Path("x"))
    assert parse_json(json.dumps({"a": [[1]] * 1000}).encode(), Path("x"))
