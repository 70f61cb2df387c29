"""`bench merge` and `bench verify`: copy records of other machines, and run a record again."""

from pathlib import Path

import click

from bench_core.cli.options import STORE, Command
from bench_core.output import say


@click.command(cls=Command)
@click.argument("other", type=click.Path(path_type=Path))
@STORE
@click.option("--dry-run", is_flag=True, help="Print what would be copied; write nothing.")
@click.pass_context
def merge(ctx: click.Context, other: Path, store: Path, dry_run: bool) -> None:
    """Copy another store's records into the store.

    OTHER is a store, or the records of a published board; artifacts of its chains are copied, too.

    What the store has stays. A record with the same key and different scores is left out and reported as a conflict.
    Exit code: 0, or 1 if there were conflicts.
    """
    from bench_core.store import Store
    from bench_core.store.merge import apply, check, compare_stores

    ours = Store(store)
    merge = compare_stores(other, ours)
    if dry_run:
        check(merge)
    else:
        apply(merge, ours)
    come = "would come" if dry_run else "came"
    say(
        f"{len(merge.records)} records, {len(merge.attempts)} attempts and {len(merge.chains)} chains {come} into "
        f"{store}; {merge.known} records were there already; {len(merge.conflicts)} conflicts"
    )
    for folder in merge.other_weights:
        say(f"{folder} has other weights than {ours.chain_folder(folder.name)}, which stay", err=True)
    for conflict in merge.conflicts:
        say(f"conflict: {conflict.cell}; it stays as it is in {conflict.ours}, not as in {conflict.theirs}")
        for metric, our_value, their_value in conflict.values:
            say(f"  {metric}: {our_value!r} stays, {their_value!r} was left out")
    if merge.conflicts:
        ctx.exit(1)


@click.command(cls=Command)
@click.argument("cell")
@STORE
@click.option(
    "--tolerance", default=1e-6, show_default=True, type=click.FloatRange(0),
    help="Largest relative difference of a score that counts as equal.",
)  # fmt: skip
@click.option(
    "--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE",
    help="Set a parameter that is in no key, such as image_folder.path: where the data is on this machine. The others "
    "are those of the record.",
)  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="Device, as for `bench run`.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the datasets. Default: BENCH_DATA.")
@click.option("--download", is_flag=True, help="Download the dataset if it is missing.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def verify(
    ctx: click.Context,
    cell: str,
    store: Path,
    tolerance: float,
    settings: tuple[str, ...],
    device: str,
    data_root: Path | None,
    download: bool,
    quiet: bool,
) -> None:
    """Run a record again and compare its scores.

    CELL is the beginning of a key; STORE may also be the records of a published board. The method is trained again,
    in a folder that is deleted afterwards. Code that is not that of the record, at the same revision, is named. Exit
    code: 0 if the scores are equal, 1 if they differ, 2 if revisions or data are not those of the record.
    """
    from bench_core.data import default_data_root
    from bench_core.devices import check_device
    from bench_core.planning.changed_code import changed_parts
    from bench_core.planning.settings import parse_settings
    from bench_core.plugins import load_plugins
    from bench_core.running.progress import choose_progress
    from bench_core.running.verify import choose_record, plan_again
    from bench_core.running.verify import verify as run_again

    check_device(device)
    record = choose_record(cell, store)
    plan = plan_again(
        record,
        load_plugins(block=ctx.obj or []),
        data_root or default_data_root(),
        download=download,
        settings=parse_settings(settings),
    )
    for component in changed_parts(plan.chains[0], plan.cells[0], record.provenance):
        revision = component.cls.revision
        say(f"{component.name}'s code is not that of the record; its revision is {revision} in both", err=True)
    result = run_again(plan, record, device, choose_progress(quiet))
    width = max(len(score.metric) for score in result.scores)
    for score in result.scores:
        is_new = score.metric not in result.old.scores
        off = "a score that the record lacks" if is_new else f"{score.difference:.2g} relative"
        say(f"{score.metric:<{width}}  {score.old!r} -> {score.new!r}  ({off})")
    for name in ("device", "threads", "torch", "commit", "dirty"):
        then, now = getattr(result.old.provenance, name), getattr(result.new.provenance, name)
        if then != now:
            say(f"{name} was {then}, is {now}", err=True)
    if result.largest > tolerance:
        say(f"did not come back: off by up to {result.largest:.2g} of a score, {tolerance:g} is allowed")
        ctx.exit(1)
    say("came back exactly" if result.largest == 0 else f"came back within {result.largest:.2g} of a score")
