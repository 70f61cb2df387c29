"""The command line: parses, calls the core, prints. Nothing heavy is imported before a command needs it."""

import errno
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli_compare import compare
from bench_core.cli_engine import WORDS, Engine, engine_options, exit_code, print_failures
from bench_core.cli_records import merge, verify
from bench_core.cli_request import a_number, make_request, request_options
from bench_core.cli_tables import export, plot, publish, table
from bench_core.errors import BenchError, RequestError, one_line
from bench_core.stopping import Stop, Stopped

# Before torch is imported: OpenMP's threads that wait for work give up their core soon, not after millions of turns.
# On a busy machine small networks otherwise stall; docs/decisions.md says what was measured.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

_STOPPED = "stopped; what was finished is kept, and the same command goes on from there"
_DISK = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip

if TYPE_CHECKING:
    from bench_core.plugins import Registry


class Bench(click.Group):
    """Shows a BenchError or a disk's as one plain line, exit code 2 for a wrong request, 1 else.

    Any other exception is a defect and keeps its traceback.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what was typed: a process of its own for a chain gets the same."""
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BenchError as error:
            shown = WrongRequest if isinstance(error, RequestError) else click.ClickException
            raise shown(one_line(str(error))) from error
        except OSError as error:
            if error.errno not in _DISK:
                raise
            where = error.filename or "the disk"
            raise click.ClickException(one_line(f"{where}: {error.strerror}. What was finished is kept.")) from error
        except KeyboardInterrupt:
            click.echo(_STOPPED, err=True)
            ctx.exit(130)
        except Stopped as stopped:
            click.echo(f"{stopped}: {_STOPPED}", err=True)
            ctx.exit(stopped.code)


class WrongRequest(click.ClickException):
    """What was asked for cannot be done as asked."""

    exit_code = 2


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bench-core", prog_name="bench")
@click.option("-p", "plugins", multiple=True, metavar="no:NAME", help="Leave out a plugin or a package of plugins.")
@click.pass_context
def main(ctx: click.Context, plugins: tuple[str, ...]) -> None:
    """Train self-supervised methods once, embed once, run every task, write leaderboards."""
    for plugin in plugins:
        if not plugin.startswith("no:"):
            raise click.BadParameter(f"{plugin!r}: only no:NAME is known", param_hint="-p")
    ctx.obj = [plugin.removeprefix("no:") for plugin in plugins]


def load(ctx: click.Context) -> "Registry":
    """The plugins, without those left out by -p."""
    from bench_core.plugins import load_plugins

    return load_plugins(block=ctx.obj or [])


@main.command()
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
        from bench_core.plan import make_plan
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
    from bench_core.state import plan_entries
    from bench_core.tables.entries import entries_of
    from bench_core.tables.frame import tidy
    from bench_core.tables.render import render
    from bench_core.tables.table import build

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
    from bench_core.pictures import draw

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
    from bench_core.state import plan_entries
    from bench_core.todo import is_trained

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


@main.command()
@click.argument("cell")
@request_options
@click.pass_context
def why(ctx: click.Context, /, cell: str, **asked: Any) -> None:
    """What the key of a CELL is made of, and what differs from the nearest cell that is done.

    CELL is the beginning of a key as `bench run --dry-run` prints it, or METHOD/TASK or METHOD/TASK/SEED of the same
    request as `bench run`'s.
    """
    from bench_core.explain import explain
    from bench_core.plan import make_plan
    from bench_core.store import Store

    store = Store(asked.pop("store"))
    if asked["methods"] is None and asked["board"] is None:
        asked["methods"] = ["all"]
    for line in explain(cell, make_plan(make_request(asked), load(ctx)), store.records()):
        click.echo(line)


@main.command(name="list")
@click.option("--broken", is_flag=True, help="Plugins that did not load, and why.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def list_(ctx: click.Context, broken: bool, as_json: bool) -> None:
    """Everything that can be named: encoders, methods, data sets, tasks, boards."""
    from bench_core.explain import listing

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


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """What NAME is, its paper, and every parameter with type, default and where the default comes from."""
    from bench_core.explain import describe_component, print_component

    described = describe_component(name, load(ctx))
    if as_json:
        click.echo(json.dumps(described, indent=1))
        return
    click.echo("\n\n".join(print_component(part) for part in described))


@main.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME_OR_PACKAGE...")
@click.pass_context
def check(ctx: click.Context, names: Sequence[str]) -> None:
    """Try all that a plugin promises, on tiny data on the CPU; exit code 1 if a check fails."""
    from bench_core.conformance import check_component, select

    registry = load(ctx)
    failed = 0
    for component in [c for name in names for c in select(name, registry)]:
        for outcome in check_component(component, registry):
            failed += outcome.error is not None
            mark = "FAIL" if outcome.error else "ok  " if outcome.tried else "skip"
            click.echo(
                f"{mark}  {component.kind} {component.id}: {outcome.check}"
                + (f": {outcome.error}" if outcome.error else "")
            )
    if failed:
        ctx.exit(1)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script; for example: bench completion bash >> ~/.bashrc."""
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    assert cls is not None  # click ships all three
    click.echo(cls(main, {}, "bench", "_BENCH_COMPLETE").source())


for command in (table, plot, publish, export, merge, compare, verify):
    main.add_command(command)
