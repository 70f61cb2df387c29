"""`bench merge` and `bench verify`: records of other machines, and records put to the test."""

from pathlib import Path

import click

from bench_core.cli.options import STORE


@click.command()
@click.argument("other", type=click.Path(path_type=Path))
@STORE
@click.option("--dry-run", is_flag=True, help="Say what would come in; write nothing.")
@click.pass_context
def merge(ctx: click.Context, other: Path, store: Path, dry_run: bool) -> None:
    """Bring the records and artifacts of OTHER into the store: another store, or a published board's records.

    What is there already stays. A record with the same key and other scores is left out and reported. Exit code: 0,
    1 where there were such conflicts.
    """
    from bench_core.store import Store
    from bench_core.store.merge import bring, compare_stores

    ours = Store(store)
    found = compare_stores(other, ours)
    if not dry_run:
        bring(found, ours)
    come = "would come" if dry_run else "came"
    click.echo(
        f"{len(found.records)} records, {len(found.attempts)} attempts and {len(found.chains)} chains {come} into "
        f"{store}; {found.here} records were there already; {len(found.conflicts)} conflicts"
    )
    for folder in found.weights:
        click.echo(f"{folder} has other weights than {ours.chain(folder.name)}, which stay", err=True)
    for conflict in found.conflicts:
        click.echo(f"conflict: {conflict.cell}; it stays as it is in {conflict.ours}, not as in {conflict.theirs}")
        for metric, mine, other_value in conflict.values:
            click.echo(f"  {metric}: {mine!r} stays, {other_value!r} was left out")
    if found.conflicts:
        ctx.exit(1)


@click.command()
@click.argument("cell")
@STORE
@click.option("--tolerance", default=1e-6, show_default=True, type=click.FloatRange(0), help="Relative, of a score.")
@click.option("--device", default="auto", show_default=True, help="As of `bench run`.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets lie. Default: BENCH_DATA.")
@click.option("--download", is_flag=True, help="Fetch the data set if it is missing.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def verify(
    ctx: click.Context,
    cell: str,
    store: Path,
    tolerance: float,
    device: str,
    data_root: Path | None,
    download: bool,
    quiet: bool,
) -> None:
    """Run a record again from what it says of itself, and say whether its numbers come back.

    CELL is the beginning of a key; STORE may be a published board's records, too. All is trained anew, in a folder
    that goes afterwards. Exit code: 0 the numbers came back, 1 they did not, 2 code or data are not the record's.
    """
    from bench_core.data import default_data_root
    from bench_core.devices import check_device
    from bench_core.plugins import load_plugins
    from bench_core.running.progress import choose_progress
    from bench_core.running.verify import choose_record, plan_again
    from bench_core.running.verify import verify as run_again

    check_device(device)
    record = choose_record(cell, store)
    plan = plan_again(record, load_plugins(block=ctx.obj or []), data_root or default_data_root(), download=download)
    found = run_again(plan, record, device, choose_progress(quiet))
    width = max(len(score.metric) for score in found.scores)
    for score in found.scores:
        click.echo(f"{score.metric:<{width}}  {score.old!r} -> {score.new!r}  ({score.difference:.2g} relative)")
    for name in ("device", "threads", "torch", "commit", "dirty"):
        then, now = (made["provenance"].get(name) for made in (found.old, found.new))
        if then != now:
            click.echo(f"{name} was {then}, is {now}", err=True)
    if found.largest > tolerance:
        click.echo(f"did not come back: off by up to {found.largest:.2g} of a score, {tolerance:g} is allowed")
        ctx.exit(1)
    click.echo("came back exactly" if found.largest == 0 else f"came back within {found.largest:.2g} of a score")
