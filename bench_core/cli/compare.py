"""`bench compare`: compares two rows, or ranks all of them, by their seeds and test items."""

from pathlib import Path

import click

from bench_core.cli.options import STORE, Command, reads_a_store
from bench_core.output import say


@click.command(cls=Command)
@click.argument("rows", nargs=-1, metavar="[A B]")
@STORE
@click.option("--board", metavar="FILE_OR_NAME", help="Only this board's cells. Default: all cells of the store.")
@click.option(
    "--every-metric", is_flag=True, help="Compare two rows on all metrics of each task. Default: on its first metric."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "md", "json"]),
    default="text",
    show_default=True,
    help="Format of the output.",
)
@reads_a_store
def compare(rows: tuple[str, ...], store: Path, board: str | None, every_metric: bool, output_format: str) -> None:
    """Compare two rows, or the ranks of all rows.

    Rows A and B are paired by seed on every task that both have. Without names, the mean ranks of all rows are
    compared.

    Where both rows keep the result of each test item, they are also paired by item. The comparison over seeds asks
    whether other trainings would give the same, the comparison over items whether another test set would.

    STORE may also be the records of a published board. The verdict is "cannot be told apart" where the seeds do not
    show a difference; p-values are corrected after Holm for all comparisons that are shown.
    """
    from bench_core.errors import RequestError
    from bench_core.reports.comparison.rows import compare, rank_rows
    from bench_core.reports.comparison.text import show_comparison, show_rankings
    from bench_core.reports.tables.cell_states import plan_entries, what_to_run
    from bench_core.reports.tables.entries import entries_of
    from bench_core.store.store import find_records

    if len(rows) not in (0, 2):
        raise RequestError(f"name two rows, as in `bench compare nac vae`, or none for all; got {len(rows)}.")
    if every_metric and not rows:
        raise RequestError("--every-metric is for two rows; mean ranks are of each task's first metric.")
    records = find_records(store).values()
    if board:
        from bench_core.planning.plan import board_plan

        entries = plan_entries(board_plan(board), records)
    else:
        entries = entries_of(records)
    nothing_yet = what_to_run(entries, store, board)
    if nothing_yet and rows:
        raise RequestError(nothing_yet)
    if rows:
        say(show_comparison(compare(entries, *rows, all_metrics=every_metric), output_format), nl=False)
    else:
        say(show_rankings(rank_rows(entries), output_format), nl=False)
    if nothing_yet:
        say(nothing_yet, err=True)
