"""Text of a stranger's store reaches the terminal without what steers it, and JSON holds it unchanged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from bench_core.files import read_sealed, sealed, write_over
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.running.failures import attempt
from bench_core.store import Store

ODD = "\x1b[31m\x9b2J\x7f\u202e\r\nab  done  forged"
RUN = ["run", "--methods", "random,pixels", "--tasks", "knn", "--device", "cpu", "--quiet"]


def poison(value: Any, path: str = "") -> Any:
    """Return a JSON value in which every free text of a record ends in escapes."""
    if isinstance(value, dict):
        return {name: poison(part, f"{path}.{name}") for name, part in value.items()}
    free = ("caveat", "protocol", "notes", "device", "torch", "bench", "command")
    if isinstance(value, list):
        return [poison(part, path) for part in value] + ([ODD] if path.endswith(".notes") else [])
    return value + ODD if isinstance(value, str) and path.endswith(free) else value


@pytest.fixture
def strangers(bench: Callable[..., Result]) -> Callable[..., Result]:
    """The command line beside a store of one record and one failed attempt whose texts hold escapes."""
    bench(*[word.replace("random,", "") for word in RUN])
    for record in Path("runs/cells").rglob("*.json"):
        write_over(record, sealed(poison(read_sealed(record))))
    [cell] = make_plan(Request(methods=["random"], tasks=["knn"], data_root=Path("data")), load_plugins()).cells
    Store(Path("runs")).add_attempt({**attempt(cell, "error", "", [ODD], 0.0, {}), "error": ODD})
    return bench


def test_no_command_prints_what_steers_a_terminal(strangers: Callable[..., Result]) -> None:
    for words in (
        [*RUN, "--dry-run"], [*RUN, "--dry-run", "--json"], ["why", "pixels/knn", *RUN[1:-1]], ["table"], ["compare"],
        *(["table", "--format", form] for form in ("md", "csv", "json", "latex")),
    ):  # fmt: skip
        words = [word for word in words if words[0] != "why" or word not in ("--device", "cpu")]
        result = strangers(*words)
        steering = {c for c in result.output if not c.isprintable()} - {"\n", "\N{NO-BREAK SPACE}"}
        assert not steering, (words, steering)
        if "json" in words[-1]:
            json.loads(result.stdout)


def test_a_reason_of_several_lines_cannot_forge_a_cell(strangers: Callable[..., Result]) -> None:
    lines = strangers(*RUN, "--dry-run").stdout.splitlines()
    assert len(lines) == 5, lines  # two cells, their count, the time, and what it rests on
    assert "would run again" in lines[0]
    assert lines[0].endswith("(error: [31m 2J ab done forged)")
