"""`bench new` writes a package, and refuses names that cannot work."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.cli.new import KINDS, write_package


def new(*words: str) -> Result:
    return CliRunner().invoke(main, ["new", *words])


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_announces_its_module(kind: str, tmp_path: Path) -> None:
    written = write_package(kind, "two_words", tmp_path / "package")
    assert all(path.is_file() for path in written)
    project = tomllib.loads((tmp_path / "package" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "bench-two-words"
    assert project["entry-points"]["bench"] == {"two_words": "bench_two_words"}
    source = (tmp_path / "package" / "bench_two_words.py").read_text()
    assert "class TwoWords(" in source
    assert "$" not in source


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("method", "nac"), "'nac' is the name of a method already"),
        (("task", "My-Task"), "must be small letters"),
        (("encoder", "mine", "--dir", "."), ". exists"),
        (("network", "mine"), "'network' is not one of"),
    ],
)
def test_what_cannot_work_is_refused(words: tuple[str, ...], message: str) -> None:
    answer = new(*words)
    assert answer.exit_code == 2
    assert message in answer.output


def test_the_folder_and_the_next_commands_are_printed(tmp_path: Path) -> None:
    answer = new("dataset", "mine", "--dir", str(tmp_path / "here"))
    assert answer.exit_code == 0
    assert (tmp_path / "here" / "bench_mine.py").is_file()
    assert "bench check mine" in answer.output
