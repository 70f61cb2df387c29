"""Fixtures: the command line in an empty folder, and work in a copy of this process."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli import main


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command in an empty folder and checks its exit code: `bench("list", code=0)`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")  # whatever the terminal of the tests

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


@pytest.fixture
def in_child() -> Callable[[Callable[[], None]], None]:
    """Return a function that calls another in a child of this process, for what changes the whole process."""

    def call(work: Callable[[], None]) -> None:
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                os.write(writer, traceback.format_exc().encode())
            finally:
                os._exit(1)
        os.close(writer)
        with open(reader, "rb") as errors:
            told = errors.read().decode()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, told

    return call
