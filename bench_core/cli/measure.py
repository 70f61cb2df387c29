"""Runs commands of `bench run` inside another command, with the options that were typed for it."""

import shlex
from collections.abc import Sequence

import click
from click.core import ParameterSource

from bench_core.cli.engine_options import WORDS
from bench_core.cli.run import run
from bench_core.errors import RequestError, one_line
from bench_core.output import on_stderr, say

_OWN = {"store", "dry_run", "as_json"}  # options of both commands that do not go on from one to the other


def run_all(ctx: click.Context, requests: Sequence[Sequence[str]], *, dry_run: bool) -> int:
    """Run several requests one after another, each as `bench run` does, and return the exit code of all.

    A wrong request, such as one of data that are missing, is told on stderr and does not keep the others from running.
    A request that was stopped ends all, as the same command goes on from there. Tables of what was run go to stderr.

    Args:
        ctx: Of the command that is called. The options that it shares with `bench run` are added to each request as
            they were typed, but for the store.
        requests: What follows `bench run`.
        dry_run: Print what would run, on stdout.
    """
    codes, typed = [0], typed_options(ctx)
    for request in requests:
        words = [*request, *typed, *(["--dry-run"] if dry_run else [])]
        ctx.meta[WORDS] = (
            *(f"-pno:{name}" for name in ctx.obj or ()),
            "run",
            *words,
        )  # a process for one chain is started with these
        try:
            if dry_run:
                say(shlex.join(["bench", "run", *request]))
                _run(ctx, words)
            else:
                with on_stderr():
                    _run(ctx, words)
        except click.exceptions.Exit as end:
            codes.append(end.exit_code)
            if end.exit_code not in (0, 1):
                return end.exit_code
        except RequestError as error:
            say(f"not run: {shlex.join(['bench', 'run', *request])}: {one_line(str(error))}", err=True)
            codes.append(2)
    return max(codes)


def _run(ctx: click.Context, words: Sequence[str]) -> None:
    with run.make_context("run", list(words), parent=ctx) as context:
        run.invoke(context)


def typed_options(ctx: click.Context, *more: str) -> list[str]:
    """Return the options that the command shares with `bench run`, as they were typed for it; and `more`, by name."""
    words = []
    shared = {option.name for option in run.params} - _OWN | set(more)
    for option in ctx.command.params:
        if option.name not in shared or ctx.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[option.name]
        if isinstance(option, click.Option) and option.is_flag:
            words.append(option.opts[0])
        else:
            values = value if isinstance(value, tuple | list) else [value]
            words += [f"{option.opts[0]}={each}" for each in values]
    return words
