"""The manual's pages: what they print works as printed."""

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.conformance import check_component
from bench_core.plugins import Component, load_plugins

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("write-a*.md"))


def commands(page: Path) -> list[list[str]]:
    """The words of each command of `bench` that a page prints."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [
        shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.startswith("bench ")
    ]


def test_the_method_of_the_manual_conforms() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "write-a-method.md").read_text(), re.DOTALL)
    module = ModuleType("bench_mirror")
    sys.modules["bench_mirror"] = module
    exec(compile(source, "bench_mirror.py", "exec"), module.__dict__)
    ((name, cls),) = module.bench_objectives().items()
    outcomes = list(check_component(Component("objective", name, "bench-mirror", "0.1.0", cls), load_plugins()))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.error] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_of_a_kind_shows_how_to_begin_one(page: Path) -> None:
    assert ["bench", "new", page.stem.split("-")[-1]] in [line[:3] for line in commands(page)]


@pytest.mark.parametrize("page", [*PAGES, DOCS / "five-minutes.md", DOCS / "site.md"], ids=lambda page: page.stem)
def test_the_commands_of_a_page_parse(page: Path) -> None:
    assert commands(page)
    for words in commands(page):
        with main.commands[words[1]].make_context(words[1], words[2:], resilient_parsing=False):
            pass


def test_five_minutes_lead_to_a_table_and_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(DOCS / "five-minutes.md"):
        if words[1] == "run":  # the same with fewer images and epochs
            words = ["1" if word == "40" else word for word in words] + ["--set", "digits.train_size=100"]
        done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
        assert done.exit_code == 0, (words, done.output)
        if words[1] == "run":
            assert "Mean rank: over 2 families" in done.output
    assert (tmp_path / "site/index.html").is_file()


def test_the_code_of_the_page_of_the_api_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(source, "api.md", "exec"), names)
    assert len(names["scores"]) == 2  # type: ignore[arg-type]
    assert not names["encoder"].training  # type: ignore[attr-defined]


def test_the_page_of_the_api_names_what_is_there() -> None:
    import bench_core

    page = (DOCS / "api.md").read_text()
    names = re.findall(r"`bench_core\.(\w+)`", page) + re.findall(r"<!-- api: bench_core\.(\w+) -->", page)
    assert len(names) > 30
    assert set(names) <= set(bench_core.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_of_the_core_that_a_page_names_is_there(page: Path) -> None:
    from importlib import import_module

    for path in re.findall(r"`(bench_core(?:\.\w+)+)(?=[`(])", page.read_text()):
        module, _, name = path.rpartition(".")
        try:
            import_module(path)
        except ImportError:
            assert hasattr(import_module(module), name), path


def test_the_page_of_boards_names_every_key() -> None:
    import dataclasses

    from bench_core.planning.boards import _KEYS, OWN_ENCODERS, STARTS, Picture

    page = (DOCS / "boards.md").read_text()
    pictures = {field.name for field in dataclasses.fields(Picture)} - {"name"}
    tables = {"recipe", "datasets", "encoders", "methods", "tasks", "pictures", "tuning"}
    for key in (_KEYS - tables) | {"base", "only", "use"} | {*STARTS, *OWN_ENCODERS} | pictures:
        assert f"`{key}`" in page, key
    for key in tables:
        assert f"`[{key}" in page, key


def test_the_board_of_the_page_is_one() -> None:
    import tomllib

    from bench_core.planning.boards import read_board

    (source,) = re.findall(r"```toml\n(.*?)```", (DOCS / "boards.md").read_text(), re.DOTALL)
    board = read_board(tomllib.loads(source), "my", "docs/boards.md")
    assert list(board.methods) == ["random", "simclr", "simclr_cold"]


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.stem)
def test_the_names_that_a_page_gives_new_components_are_free(page: Path) -> None:
    registry = load_plugins()
    for words in commands(page):
        if words[1] == "new":
            assert words[3] not in {component.name for component in registry.components}
