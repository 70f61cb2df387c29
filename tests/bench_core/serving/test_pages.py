"""Pages that follow their records: when they are built again, and what stays where that fails."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

import pytest

import bench_core.serving.pages as pages_module
from bench_core.errors import RequestError
from bench_core.serving.pages import Pages, stamp

SCRIPT = """
import pathlib, sys
out = pathlib.Path(sys.argv[-1].removeprefix("--out="))
records = pathlib.Path(sys.argv[1])
if (records / "damaged").exists():
    print("Error: a record is damaged", file=sys.stderr)
    sys.exit(1)
out.mkdir()
(out / "index.html").write_text(str(len(list(records.glob("*/*.json")))))
"""


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pages:
    """Pages that a small script makes, which counts the records."""
    script, store, temporary = tmp_path / "build.py", tmp_path / "runs", tmp_path / "pages"
    script.write_text(SCRIPT)
    (store / "cells" / "ab").mkdir(parents=True)
    temporary.mkdir()
    monkeypatch.setattr(pages_module, "restart_command", lambda: [sys.executable, "-S", str(script)])
    monkeypatch.setattr(pages_module, "_LOOK_S", 0.02)
    monkeypatch.setattr(pages_module, "_BUILD_SHARE", 1e3)
    return Pages([str(store / "cells")], temporary, store, tmp_path / "leaderboards")


def wait_until(pages: Pages, text: str, error: str = "") -> None:
    for _ in range(1000):
        index = pages.folder / "index.html"
        if not pages.said["building"] and pages.said["error"] == error and index.read_text() == text:
            return
        Event().wait(0.02)
    raise AssertionError(f"{pages.said}, {pages.folder}")


def test_new_records_make_new_pages_and_a_failure_keeps_the_old_ones(pages: Pages, tmp_path: Path) -> None:
    cells, stop = tmp_path / "runs" / "cells", Event()
    pages.build(stop)
    first = pages.folder
    assert (first / "index.html").read_text() == "0"
    follower = Thread(target=pages.follow, args=(stop,))
    follower.start()
    try:
        (cells / "ab" / "1.json").write_text("{}")
        wait_until(pages, "1")
        second = pages.folder
        assert (first / "index.html").is_file()  # for whoever is just reading it
        (cells / "damaged").touch()
        wait_until(pages, "1", "a record is damaged")
        assert pages.folder == second
        (cells / "damaged").unlink()
        wait_until(pages, "1")
        assert pages.folder != second
    finally:
        stop.set()
        follower.join()
    assert not first.exists()


def test_pages_that_cannot_be_built_at_first_are_an_error(pages: Pages, tmp_path: Path) -> None:
    (tmp_path / "runs" / "cells" / "damaged").touch()
    with pytest.raises(RequestError, match="a record is damaged"):
        pages.build(Event())


def test_a_build_ends_early_where_it_is_asked_to(pages: Pages) -> None:
    stop = Event()
    stop.set()
    pages.build(stop)
    assert not pages.said["built"]


@pytest.mark.parametrize(
    ("made", "changes"),
    [
        (["runs", "cells", "ab", "2.json"], True),
        (["runs", "cells", "cd", "3.json"], True),
        (["runs", "attempts", "k", "t.json"], True),
        (["leaderboards", "digits", "records", "4.json"], True),
        (["leaderboards", "new", "board.toml"], True),
        (["runs", "chains", "k.under-way", "log.jsonl"], False),
        (["runs", "planned.json"], False),
    ],
)
def test_what_changes_with_records_is_seen(tmp_path: Path, made: Sequence[str], changes: bool) -> None:
    for folder in ("runs/cells/ab", "runs/attempts", "leaderboards/digits/records"):
        (tmp_path / folder).mkdir(parents=True)
        os.utime(tmp_path / folder, (1, 1))
    before = stamp(tmp_path / "runs", tmp_path / "leaderboards")
    assert stamp(tmp_path / "runs", tmp_path / "leaderboards") == before
    path = tmp_path.joinpath(*made)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    assert (stamp(tmp_path / "runs", tmp_path / "leaderboards") != before) == changes
