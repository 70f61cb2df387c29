"""`bench merge` and `bench verify`: records of other machines, and records put to the test."""

from pathlib import Path

import click

from bench_core.cli_tables import STORE


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
    from bench_core.merging import bring, compare_stores
    from bench_core.store import Store

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
