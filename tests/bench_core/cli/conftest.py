"""The fixture `bench`: the command line in an empty folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli import main


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return a function that runs a command in an empty folder and checks its exit code: `bench("list", code=0)`."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call
