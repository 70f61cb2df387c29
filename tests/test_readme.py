"""What README.md shows is true: its plugin conforms and learns, its commands parse."""

import re
import shlex
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import click
import pytest

from bench_core.cli.group import main
from bench_core.conformance import check_component
from bench_core.plugins import Component, load_plugins

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def tilt() -> Component:
    (source,) = (block for block in blocks("python") if "class Tilt" in block)
    module = ModuleType("bench_tilt")
    import sys

    sys.modules["bench_tilt"] = module
    exec(compile(source, "bench_tilt.py", "exec"), module.__dict__)
    ((name, cls),) = module.bench_objectives().items()
    return Component("objective", name, "bench-tilt", "0.1.0", cls)


def test_the_plugin_conforms(tilt: Component) -> None:
    outcomes = list(check_component(tilt, load_plugins()))
    assert [outcome for outcome in outcomes if outcome.error] == []
    assert len(outcomes) == 8


def test_the_plugin_fits_on_a_page(tilt: Component) -> None:
    assert max(len(block.splitlines()) for block in blocks("python")) <= 60


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if "bench" in part and "pip" not in part]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line.partition(">>")[0])
    name = words[1]
    assert name in main.commands
    with main.commands[name].make_context(name, words[2:], resilient_parsing=False):
        pass


def test_every_command_is_there() -> None:
    assert {shlex.split(line)[1] for line in commands()} >= {
        "list",
        "show",
        "run",
        "why",
        "table",
        "export",
        "completion",
    }
    assert isinstance(main, click.Group)


def test_the_version_of_the_readmes_plugin_is_served() -> None:
    assert tuple(map(int, version("bench-core").split(".")[:2])) >= (0, 1)
