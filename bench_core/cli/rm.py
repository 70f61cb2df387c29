"""`bench rm`: delete chains, embeddings and failed attempts of a store, after a question."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bench_core.cli.options import STORE, Command
from bench_core.output import say


@click.command(cls=Command)
@click.argument("chains", nargs=-1, metavar="[CHAIN]...")
@STORE
@click.option("--failed", is_flag=True, help="Delete attempts that did not finish: of the chains, or of all cells.")
@click.option("--embeddings", is_flag=True, help="Delete only embeddings: of the chains, or of all. Weights stay.")
@click.option("--records", is_flag=True, help="Delete the records of the chains, too. By default no record is deleted.")
@click.option("--dry-run", is_flag=True, help="Print what would be deleted and its size. Nothing is deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rm(
    ctx: click.Context,
    chains: Sequence[str],
    store: Path,
    failed: bool,
    embeddings: bool,
    records: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete chains, embeddings, failed attempts.

    CHAIN is a name like digits/convnet/nac/seed-0, the beginning of a key, or a folder; its weights, log and embeddings
    are deleted. Records stay unless --records is given, so tables do not change. A chain that is being trained is
    refused. Exit code: 0, or 1 if the answer was no.
    """
    from bench_core.errors import RequestError
    from bench_core.running.removal import removals, remove, size_text
    from bench_core.store import Store
    from bench_core.store.name_links import link_names

    opened = Store.existing(store)
    found = removals(opened, chains, failed=failed, embeddings=embeddings, records=records)
    if not found:
        say("there is nothing to delete")
        return
    total = size_text(sum(removal.size for removal in found))
    for removal in found:
        say(f"{size_text(removal.size):>10}  {removal.what}")
    if dry_run:
        say(f"{total:>10}  would be deleted")
        return
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise RequestError("this is no terminal, so nobody can be asked; add --yes, or look first with --dry-run.")
        say(f"Delete {total}? [y/N] ", err=True, nl=False)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            say("nothing was deleted")
            ctx.exit(1)
    for removal in found:
        remove(removal)
    link_names(opened)
    say(f"{total:>10}  deleted")
