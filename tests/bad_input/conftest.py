"""A working folder with a good store, and a command that must end in one plain line."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main

# A real record, kept here: published ones are replaced when a revision rises.
RECORD = Path(__file__).parent / "d351bfa2621c0cb511f262dfd7407b59025c3aa71e04866aa1ed3209daceddde.json"


def listing(folder: Path) -> dict[str, str]:
    """Return the digest of each file, or the target of each link, by path."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            contents[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            contents[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return contents


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with a store of one real record in `runs`."""
    cell = tmp_path / "runs" / "cells" / RECORD.stem[:2] / RECORD.name
    cell.parent.mkdir(parents=True)
    shutil.copyfile(RECORD, cell)
    (tmp_path / "runs" / "bench-store.json").write_text('{"format": 1}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(world: Path) -> Callable[..., str]:
    """Function that runs a command which must be refused: `refused("run", "--methods", "", code=2)`.

    It checks the exit code and that the store is unchanged, and returns the one line of the error.
    """

    def call(*arguments: str, code: int = 2) -> str:
        before = listing(world / "runs")
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        other_lines = [line for line in result.stderr.splitlines() if line not in errors]
        assert len(errors) == 1, result.output
        assert not other_lines or other_lines[0].startswith("Usage: "), result.output  # click prints usage first
        assert len(errors[0]) < 1500, errors[0]
        assert errors[0].isprintable()
        assert listing(world / "runs") == before
        return errors[0]

    return call
