"""The page for a laptop, a workstation and a cluster: its commands parse, and those that this machine can run do so."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.cli.group import main
from bench_core.store import Store

Bench = Callable[..., Result]
PAGES = [Path(__file__).parents[3] / "docs" / f"{name}.md" for name in ("machines", "slurm", "schedulers", "ranks")]
SMALL = ["--tasks", "knn", "--epochs", "1"]


def commands(page: Path) -> list[list[str]]:
    """The words of each command of `bench` that a page prints, without what the shell would do with them."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(re.split(r"[|>]", line)[0], comments=True) for line in lines if line.startswith("bench ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_parse(page: Path) -> None:
    lines = commands(page)
    assert lines
    for words in lines:
        with main.commands[words[1]].make_context(words[1], words[2:]):
            pass


def test_the_line_of_a_laptop_runs_and_finds_what_it_did(bench: Bench) -> None:
    words = next(words for words in commands(PAGES[0]) if words[1] == "run")
    run = ["run", *words[2:4], "--seeds", "0", *SMALL]
    bench(*run)
    assert len(Store("runs").records()) == 2
    assert "2 of 2 cells are done already" in bench(*run).stderr


def test_the_line_for_other_schedulers_prints_a_command_for_each_chain(bench: Bench) -> None:
    (words,) = [words for words in commands(PAGES[0]) if "--commands" in words]
    options = ["--board", "digits", *words[words.index("--dry-run") :]]
    printed = bench("run", *options).stdout.splitlines()
    assert all(line.startswith("bench run --board digits") and "--only-chain" in line for line in printed)
    assert len(printed) == len({line.split("--only-chain")[1] for line in printed}) > 20
