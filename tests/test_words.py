"""Words that users and new readers meet first are sentences: docstrings, lines of `bench list`, help texts."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from bench_core.cli import main
from bench_core.cli.look import LISTED
from bench_core.config import parameters
from bench_core.contracts import Recipe
from bench_core.planning.describe import SECTIONS, listing, print_listing, summary
from bench_core.plugins import load_plugins

ROOT = Path(__file__).parents[1]
OURS = [component for component in load_plugins().components if component.distribution == "bench-core"]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docstring_words", Path(__file__).with_name("docstring_words.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fewer_than_ten_docstrings_begin_as_a_fragment() -> None:
    script = load_script()
    found, count = script.fragments([ROOT / folder for folder in script.FOLDERS])
    assert count > 1500
    assert len(found) < 10, "\n".join(found)


def test_the_script_sees_a_fragment_and_passes_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""Of the whole run."""\n\n\ndef key() -> None:\n    """Return the key of a cell."""\n')
    found, count = load_script().fragments([tmp_path])
    assert (found, count) == ([f"{file}:1: Of the whole run."], 2)


@pytest.mark.parametrize("component", OURS, ids=lambda component: f"{component.word}-{component.name}")
def test_a_component_is_described_in_one_short_line(component: object) -> None:
    line = summary(component.cls)  # type: ignore[attr-defined]
    assert line.endswith(".")
    assert len(line) <= 50, line


def test_no_two_components_are_described_by_the_same_line() -> None:
    lines: dict[str, str] = {}
    for component in OURS:
        twin = lines.setdefault(summary(component.cls).lower(), component.name)
        assert twin == component.name, f"{twin} and {component.name}: {summary(component.cls)}"


def test_the_list_fits_a_terminal_of_100_columns() -> None:
    text = print_listing(listing(load_plugins()))
    assert max(map(len, text.splitlines())) <= 100
    assert [line for line in text.splitlines() if line and line[0] != " "] == [
        "Methods", "Tasks", "Encoders", "Datasets", "Boards",
    ]  # fmt: skip


def test_the_kinds_that_bench_list_offers_are_those_that_it_can_list() -> None:
    assert LISTED == SECTIONS  # typed twice, because the help of `bench list` loads neither plugins nor torch


def help_texts() -> Iterator[tuple[str, str]]:
    """Yield where a help text stands and the text, of commands, options and parameters."""
    for name, command in main.commands.items():
        yield f"bench {name}", command.help or ""
        context = click.Context(command)
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden and option.name != "help":
                record = option.get_help_record(context)  # some options make their help when it is printed
                yield f"bench {name} {option.opts[0]}", record[1] if record else ""
    for component in OURS:
        for parameter in parameters(component.cls.Config):
            yield f"{component.name}.{parameter.name}", parameter.help
    for parameter in parameters(Recipe):
        yield f"recipe.{parameter.name}", parameter.help


def test_no_help_text_is_shorter_than_three_words() -> None:
    short = {where: text for where, text in help_texts() if len(text.split()) < 3}
    assert not short


def test_a_command_is_described_in_at_most_45_characters() -> None:
    lines = {name: command.get_short_help_str(limit=200) for name, command in main.commands.items()}
    assert {name: line for name, line in lines.items() if not 3 <= len(line) <= 45} == {}
    assert len(set(lines.values())) == len(lines)


def test_every_command_stands_under_one_heading_of_the_help() -> None:
    context = click.Context(main, info_name="bench", terminal_width=80)
    text = main.get_help(context)
    for name in main.commands:
        assert sum(line.startswith(f"  {name} ") for line in text.splitlines()) == 1, name
    assert max(map(len, text.splitlines())) <= 80
