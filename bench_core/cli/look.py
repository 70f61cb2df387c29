"""`bench why`, `bench list`, `bench show`: what there is, and why a cell has its key."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bench_core.cli.options import Command, load, make_request, request_options, terminal_width
from bench_core.output import say

LISTED = ("methods", "tasks", "encoders", "datasets", "boards")


@click.command(cls=Command)
@click.argument("cell")
@request_options
@click.pass_context
def why(ctx: click.Context, /, cell: str, **asked: Any) -> None:
    """Explain the key and the state of a result.

    Prints what the key of CELL is made of, and what differs from the nearest record in the store. CELL is the beginning
    of a key as `bench run --dry-run` prints it, or METHOD/TASK, or METHOD/TASK/SEED. The options name a request, as
    those of `bench run` do.
    """
    from bench_core.planning.plan import make_plan
    from bench_core.planning.why import explain
    from bench_core.store import Store

    store = Store(asked.pop("store"))
    if asked["methods"] is None and asked["board"] is None:
        asked["methods"] = ["all"]
    for line in explain(cell, make_plan(make_request(asked), load(ctx)), store):
        say(line)


@click.command(name="list", cls=Command)
@click.argument("kind", required=False, type=click.Choice(LISTED), metavar="[KIND]")
@click.option("--broken", is_flag=True, help="List the plugins that did not load, and why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with packages and versions.")
@click.pass_context
def list_(ctx: click.Context, kind: str | None, broken: bool, as_json: bool) -> None:
    """List all methods, tasks, datasets, boards.

    KIND is one of methods, tasks, encoders, datasets, boards; without it all are listed.
    """
    from bench_core.planning.describe import listing, print_listing

    registry = load(ctx)
    if broken:
        plugins = [{"plugin": b.entry, "distribution": b.distribution, "reason": b.reason} for b in registry.broken]
        say(json.dumps(plugins, indent=1) if as_json else _columns(plugins), nl=bool(plugins) or as_json)
        return
    lines = listing(registry, kind)
    say(json.dumps(lines, indent=1) if as_json else print_listing(lines, terminal_width()))
    if registry.broken:
        say(f"{len(registry.broken)} plugins did not load; see `bench list --broken`.", err=True)


def _columns(rows: Sequence[Mapping[str, str]]) -> str:
    """Format rows with the same keys as columns of equal width."""
    widths = {key: max(len(row[key]) for row in rows) for key in (rows[0] if rows else {})}
    lines = ["  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip() for row in rows]
    return "\n".join(lines)


@click.command(cls=Command)
@click.argument("name")
@click.option("--board", metavar="FILE_OR_NAME", help="Show what this board changes of NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, board: str | None, as_json: bool) -> None:
    """Describe a component and its parameters.

    Prints what NAME is, its paper, and each parameter with type, range, default and its source. NAME is a method,
    task, encoder, dataset or board of `bench list`, or METHOD:VARIANT. With --board, NAME may be a row or column of
    the board, too; the parameters that the board changes are printed.
    """
    from bench_core.planning.board_changes import board_changes, print_board_changes
    from bench_core.planning.describe import describe_component, print_component

    if board is not None:
        described = board_changes(name, board, load(ctx))
        say(json.dumps(described, indent=1) if as_json else print_board_changes(described, terminal_width()))
        return
    described = describe_component(name, load(ctx))
    if as_json:
        say(json.dumps(described, indent=1))
        return
    say("\n\n".join(print_component(part, terminal_width()) for part in described))
