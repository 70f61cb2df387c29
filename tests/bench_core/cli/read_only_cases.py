"""Commands on a finished store that nobody may write: what only reads works, and what writes there is one line.

`test_read_only.py` runs these cases in a process of their own, because of the audit hook below.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core import leaderboard, results, run
from bench_core.cli.group import main

BOARD = """
seeds = [0]
[datasets.digits]
train_size = 64
[encoders.convnet]
[methods.random]
[methods.pixels]
[tasks.knn]
k = 3
[tasks.clustering]
[pictures.both]
x = "knn:top1"
y = "clustering:accuracy"
"""
_WRITES = {
    "os.mkdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "os.utime",
}
_read_only: list[Path] = []  # folders that are read-only now


def _refuse_to_write(event: str, arguments: Sequence[object]) -> None:
    """Raise what a read-only file system raises. It holds for root, too, whom no chmod stops."""
    if not _read_only or not (event in _WRITES or event == "open"):
        return
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
    relative_to = arguments[-1] if event != "open" else -1  # a folder's descriptor, or -1
    above = Path(f"/proc/self/fd/{relative_to}").resolve() if isinstance(relative_to, int) and relative_to > 0 else ""
    for path in arguments[:2]:
        if isinstance(path, str | bytes | os.PathLike):
            name = Path(above, os.fsdecode(path)).absolute()
            if any(folder in name.parents or folder == name for folder in _read_only):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


sys.addaudithook(_refuse_to_write)  # cannot be taken back, and no thread can be traced safely beside it


@contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    """Make folders read-only for this process; any file or folder that changes is an error."""
    access = os.access

    def may_access(path: str | Path, mode: int) -> bool:
        return access(path, mode) and not (mode & os.W_OK and Path(path).absolute() in folders)

    before = {path: path.stat().st_mtime_ns for folder in folders for path in [folder, *folder.rglob("*")]}
    _read_only.extend(folders)
    try:
        with pytest.MonkeyPatch.context() as patch:  # which is no event, and says of root that it may write
            patch.setattr(os, "access", may_access)
            yield
    finally:
        _read_only.clear()
    assert before == {path: path.stat().st_mtime_ns for folder in folders for path in [folder, *folder.rglob("*")]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a board, a store that holds all of its cells, and the board's published page."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("bench_core.running.provenance._commit", lambda: ("abc1234", False))
        (folder / "tiny.toml").write_text(BOARD)
        for words in (["run", "--board", "tiny.toml", "--device", "cpu", "--quiet"], ["publish", "tiny.toml"]):
            result = CliRunner().invoke(main, words)
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def bench(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command beside a read-only store and read-only boards."""
    monkeypatch.chdir(finished)

    def call(*words: str, code: int = 0) -> Result:
        with read_only(finished / "runs", finished / "leaderboards"):
            result = CliRunner().invoke(main, words)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


@pytest.mark.parametrize("engine", [[], ["--isolate"], ["--jobs", "2"]])
def test_finished_run_prints_its_table_and_says_that_page_and_pictures_stay(
    bench: Callable[..., Result], engine: list[str]
) -> None:
    result = bench("run", "--board", "tiny.toml", "--device", "cpu", "--quiet", *engine)
    assert "knn top1" in result.stdout
    assert "records: runs/cells" in result.stdout
    assert result.stderr == "runs is read-only: its page and pictures stay as they are\n"


@pytest.mark.parametrize("cause", [errno.ENOSPC, errno.EIO])
def test_page_that_a_full_or_broken_disk_loses_is_an_error(
    finished: Path, monkeypatch: pytest.MonkeyPatch, cause: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(cause, os.strerror(cause), "runs/leaderboard.md")

    monkeypatch.chdir(finished)
    monkeypatch.setattr("bench_core.store.store.Store.write_page", fail)
    result = CliRunner().invoke(main, ["run", "--board", "tiny.toml", "--device", "cpu", "--quiet"])
    assert result.exit_code == 1
    assert "runs/leaderboard.md" in result.stderr
    assert "read-only" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        "run --board tiny.toml --dry-run", "run --board tiny.toml --json --quiet",
        "run --board tiny.toml --retry-failed", "table", "table --board tiny.toml --format csv", "table --check",
        "publish --pages", "plot --board tiny.toml --out pictures", "compare",
        "compare random pixels", "compare --store leaderboards/tiny",
        "why random/knn --board tiny.toml", "export --csv a.csv --sqlite a.sqlite", "merge runs --store copy",
        "merge leaderboards/tiny --store copy", "publish tiny.toml --leaderboards others",
    ],
)  # fmt: skip
def test_command_that_only_reads_the_store_works(bench: Callable[..., Result], words: str) -> None:
    assert bench(*words.split()).exit_code == 0  # the store's folder raises on every attempt to write


def test_python_reads_a_finished_read_only_store(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    with read_only(finished / "runs"):
        frame = run(board="tiny.toml", device="cpu", progress=False)
        assert set(frame["method"]) == set(leaderboard(board="tiny.toml")["method"]) - {"chance"}
        assert len(results()) == len(frame)


def test_verify_of_a_record_of_a_read_only_store_works(bench: Callable[..., Result], finished: Path) -> None:
    record = next((finished / "runs" / "cells").rglob("*.json"))
    assert "came back exactly" in bench("verify", record.stem[:12], "--device", "cpu", "--quiet").stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run --board tiny.toml --seeds 1 --device cpu --quiet", 2), ("plot --board tiny.toml", 1), ("merge copy2", 2),
        ("run --board tiny.toml --rerun knn --device cpu --quiet", 2), ("export --csv runs/a.csv", 2),
    ],
)  # fmt: skip
def test_command_that_must_write_there_is_refused_with_one_line(
    bench: Callable[..., Result], finished: Path, words: str, code: int
) -> None:
    if "copy2" in words and not (finished / "copy2").exists():
        other = ["run", "--methods", "random", "--tasks", "knn", "--store", "copy2", "--quiet", "--device", "cpu"]
        assert CliRunner().invoke(main, other).exit_code == 0
    result = bench(*words.split(), code=code)
    assert len(result.stderr.splitlines()) == 1
    assert "runs" in result.stderr
