"""A folder with a good store, and a command line in this process that must answer in one plain line."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "leaderboards/digits/records/d351bfa2621c0cb511f262dfd7407b59025c3aa71e04866aa1ed3209daceddde.json"


def listing(folder: Path) -> dict[str, str]:
    """Path -> digest of the file, or where a link leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a store of one real record in `runs`."""
    cell = tmp_path / "runs" / "cells" / RECORD.stem[:2] / RECORD.name
    cell.parent.mkdir(parents=True)
    shutil.copyfile(RECORD, cell)
    (tmp_path / "runs" / "bench-store.json").write_text('{"format": 1}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(world: Path) -> Callable[..., str]:
    """`refused(*words, code=2)`: the one line of a command that ends so and leaves the store as it was."""

    def call(*words: str, code: int = 2) -> str:
        before = listing(world / "runs")
        result = CliRunner().invoke(main, words)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        others = [line for line in result.stderr.splitlines() if line not in errors]
        assert len(errors) == 1, result.output
        assert not others or others[0].startswith("Usage: "), result.output  # click's hint stands before its line
        assert len(errors[0]) < 1500, errors[0]
        assert errors[0].isprintable()
        assert listing(world / "runs") == before
        return errors[0]

    return call
