"""`bench run`: train, embed, evaluate, and print the table of the request."""

import json
from typing import Any

import click

from bench_core.cli.engine_options import WORDS, Engine, engine_options, exit_code, print_failures
from bench_core.cli.options import a_number, load, make_request, request_options
from bench_core.errors import RequestError
from bench_core.training.stopping import Stop


@click.command()
@request_options
@click.option("--device", default="auto", show_default=True, help="auto (CUDA, else MPS, else CPU), cpu, cuda:1, ...")
@click.option("--workers", default=0, show_default=True, type=click.IntRange(0), help="Readers of streamed data.")
@click.option(
    "--checkpoint-every", default=120.0, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
    callback=a_number,
    help="Training that may be lost when the machine dies.",
)  # fmt: skip
@engine_options
@click.option("--download", is_flag=True, help="Fetch data sets that are missing.")
@click.option("--dry-run", is_flag=True, help="Print the plan; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the records' scores as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    device: str,
    workers: int,
    checkpoint_every: float,
    download: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Train, embed, run every task; what is done already is not done again.

    Exit code: 0 all done, 1 a cell failed, 2 the request is wrong, 130 stopped by Ctrl-C, 75 stopped by SIGTERM or
    SIGUSR1 (this process, or with --isolate or --jobs a chain's). A training that was stopped goes on from its last
    checkpoint when the same command is given again; what failed is tried again, after all others.
    """
    with Stop().listening() as stop:  # before torch is imported, which takes seconds
        from bench_core.planning.plan import make_plan
        from bench_core.store import Store

        engine = Engine.take(asked, device, workers, checkpoint_every)
        store = Store(asked.pop("store"))
        download = download and not dry_run and engine.only_chain is None  # for that it has been done
        plan = make_plan(make_request({**asked, "device": device}), load(ctx), download=download)
        plan = engine.narrow(plan, store)
        if dry_run:
            print_plan(plan, store, as_json)
            return
        failures = engine.run(plan, store, ctx.meta[WORDS], quiet, stop)
        if engine.only_chain is None:
            _print_outcome(plan, store, as_json)
            print_failures(plan, store, failures)
    ctx.exit(exit_code(failures))


def _print_outcome(plan: Any, store: Any, as_json: bool) -> None:
    """The table of this request's cells, the page, and where both lie."""
    from bench_core.reports.tables.build import build
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.reports.tables.entries import entries_of
    from bench_core.reports.tables.frames import tidy
    from bench_core.reports.tables.render import render

    entries = plan_entries(plan, store.records(), store.attempts())
    if as_json:
        frame = tidy([entry.record for entry in entries if entry.record is not None])
        click.echo(frame.to_json(orient="records", indent=1, double_precision=15))
        return
    tables = build(entries)
    click.echo(render(tables, "text"))
    for path in _draw(plan, entries, store):
        click.echo(f"picture: {path}")
    page = store.write_page(render(build(entries_of(store.records(), store.attempts())), "md"))  # all that is there
    click.echo(f"\nrecords: {store.path / 'cells'}\npage:    {page}")


def _draw(plan: Any, entries: Any, store: Any) -> list[Any]:
    """The pictures that the board asks for, as far as their numbers are there, in the store."""
    from bench_core.reports.pictures.draw import draw

    drawn = []
    for picture in plan.board.pictures.values():
        try:
            draw(entries, picture, store.path / f"{picture.name}.svg")
            drawn.append(store.path / f"{picture.name}.svg")
        except RequestError as error:
            click.echo(f"no picture {picture.name!r}: {error}", err=True)
    return drawn


def print_plan(plan: Any, store: Any, as_json: bool) -> None:
    """One line a cell with its state, and the counts."""
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.running.pending import is_trained

    entries = plan_entries(plan, store.records(), store.attempts())
    lines = [
        {
            "cell": cell.key,
            **cell.names,
            "seed": cell.seed,
            "state": {"missing": "would run", "failed": "would run again", "stale": "would run again"}.get(
                e.state, e.state
            ),
            "reason": e.reason,
        }
        for cell, e in zip(plan.cells, entries, strict=True)
    ]
    if as_json:
        click.echo(json.dumps(lines, indent=1))
        return
    for line in lines:
        where = "/".join(line[k] for k in ("dataset", "encoder", "method", "task"))
        reason = f"  ({line['reason']})" if line["reason"] else ""
        click.echo(f"{line['cell'][:12]}  {line['state']:<15}  {where}  seed {line['seed']}{reason}")
    states = [line["state"] for line in lines]
    trained = sum(is_trained(chain, store) for chain in plan.chains)
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    click.echo(f"{len(lines)} cells: {counts}; {len(plan.chains)} chains, {trained} of them pretrained")
