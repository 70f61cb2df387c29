"""`bench compare`: what seeds and test items allow to say of two rows, or of all."""

from pathlib import Path

import click

from bench_core.cli.options import STORE


@click.command()
@click.argument("rows", nargs=-1, metavar="[A B]")
@STORE
@click.option("--board", metavar="FILE_OR_NAME", help="Only this board's cells. Default: all that is in the store.")
@click.option("--every-metric", is_flag=True, help="Of two rows: all metrics of each task, not its first alone.")
@click.option("--format", "form", type=click.Choice(["text", "md", "json"]), default="text", show_default=True)
def compare(rows: tuple[str, ...], store: Path, board: str | None, every_metric: bool, form: str) -> None:
    """Two rows A and B, paired by seed on every task that both have; without names, mean ranks of all rows.

    Where both rows keep the result of each test item, they are paired by item, too: over seeds asks whether other
    trainings would give this, over items whether another test set would.

    STORE may be a published board's records, too. What seeds cannot tell apart is said to be so: p-values are after
    Holm for all comparisons that are shown.
    """
    from bench_core.errors import RequestError
    from bench_core.planning.plan import board_plan
    from bench_core.reports.comparison.rows import compare, rank_rows
    from bench_core.reports.comparison.text import show_comparison, show_rankings
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.reports.tables.entries import entries_of
    from bench_core.store.store import find_records

    if len(rows) not in (0, 2):
        raise RequestError(f"name two rows, as in `bench compare nac vae`, or none for all; got {len(rows)}.")
    if every_metric and not rows:
        raise RequestError("--every-metric is for two rows; mean ranks are of each task's first metric.")
    records = find_records(store).values()
    entries = plan_entries(board_plan(board), records) if board else entries_of(records)
    if rows:
        click.echo(show_comparison(compare(entries, *rows, every=every_metric), form), nl=False)
    else:
        click.echo(show_rankings(rank_rows(entries), form), nl=False)
