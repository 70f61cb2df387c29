"""`bench why`, `bench list`, `bench show`: what there is, and why a cell has its key."""

import json
from typing import Any

import click

from bench_core.cli.options import load, make_request, request_options


@click.command()
@click.argument("cell")
@request_options
@click.pass_context
def why(ctx: click.Context, /, cell: str, **asked: Any) -> None:
    """What the key of a CELL is made of, and what differs from the nearest cell that is done.

    CELL is the beginning of a key as `bench run --dry-run` prints it, or METHOD/TASK or METHOD/TASK/SEED of the same
    request as `bench run`'s.
    """
    from bench_core.planning.plan import make_plan
    from bench_core.planning.why import explain
    from bench_core.store import Store

    store = Store(asked.pop("store"))
    if asked["methods"] is None and asked["board"] is None:
        asked["methods"] = ["all"]
    for line in explain(cell, make_plan(make_request(asked), load(ctx)), store.records()):
        click.echo(line)


@click.command(name="list")
@click.option("--broken", is_flag=True, help="Plugins that did not load, and why.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def list_(ctx: click.Context, broken: bool, as_json: bool) -> None:
    """Everything that can be named: encoders, methods, data sets, tasks, boards."""
    from bench_core.planning.describe import listing

    registry = load(ctx)
    if broken:
        lines = [{"plugin": b.entry, "distribution": b.distribution, "reason": b.reason} for b in registry.broken]
    else:
        lines = listing(registry)
    if as_json:
        click.echo(json.dumps(lines, indent=1))
        return
    widths = [max((len(str(line[k])) for line in lines), default=0) for k in (lines[0] if lines else ())]
    for line in lines:
        click.echo("  ".join(str(v).ljust(w) for v, w in zip(line.values(), widths, strict=True)).rstrip())
    if registry.broken and not broken:
        click.echo(f"{len(registry.broken)} plugins did not load; see `bench list --broken`.", err=True)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """What NAME is, its paper, and every parameter with type, default and where the default comes from."""
    from bench_core.planning.describe import describe_component, print_component

    described = describe_component(name, load(ctx))
    if as_json:
        click.echo(json.dumps(described, indent=1))
        return
    click.echo("\n\n".join(print_component(part) for part in described))
