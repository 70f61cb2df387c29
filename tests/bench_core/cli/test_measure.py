"""Several requests of `bench run` inside another command: the exit code of all, and which are still run."""

from collections.abc import Sequence

import click
import pytest

from bench_core.cli import main
from bench_core.cli.measure import run_all
from bench_core.errors import RequestError


@pytest.mark.parametrize(
    ("ends", "code", "runs"),
    [
        ([0, 0, 0], 0, 3),
        ([0, 1, 0], 1, 3),  # a cell failed: the others may still be done
        ([0, 75, 0], 75, 2),  # stopped: the same command goes on
        ([1, 130, 0], 130, 2),
        ([RequestError("no such board"), 1, 0], 2, 3),
    ],
)
def test_failures_let_the_others_run_and_a_stop_ends_all(
    monkeypatch: pytest.MonkeyPatch, ends: list[int | RequestError], code: int, runs: int
) -> None:
    called: list[Sequence[str]] = []

    def run(ctx: click.Context, words: Sequence[str]) -> None:
        end = ends[len(called)]
        called.append(words)
        raise end if isinstance(end, RequestError) else click.exceptions.Exit(end)

    monkeypatch.setattr("bench_core.cli.measure._run", run)
    with main.commands["claims"].make_context("claims", ["--run"]) as ctx:
        assert run_all(ctx, [["--methods", name] for name in "abc"], dry_run=False) == code
    assert len(called) == runs
