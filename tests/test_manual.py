"""The pages for people who bring a method, encoder, dataset or task: what they print works as printed."""

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench_core.cli.group import main
from bench_core.conformance import check_component
from bench_core.plugins import Component, load_plugins

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("write-a*.md"))


def commands(page: Path) -> list[list[str]]:
    """The words of each command of `bench` that a page prints."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("bench ")]


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
def test_the_commands_of_a_page_parse(page: Path) -> None:
    lines = commands(page)
    assert ["bench", "new", page.stem.split("-")[-1]] in [line[:3] for line in lines]
    for words in lines:
        with main.commands[words[1]].make_context(words[1], words[2:], resilient_parsing=False):
            pass


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
