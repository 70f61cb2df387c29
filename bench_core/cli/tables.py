"""`bench table`, `bench plot`, `bench publish`, `bench export`: from records to what people read."""

from pathlib import Path

import click

from bench_core.cli.options import BOARDS, STORE, names


@click.command()
@STORE
@BOARDS
@click.option("--board", metavar="FILE_OR_NAME", help="Only this board's cells. Default: all that is in the store.")
@click.option(
    "--format", "form", type=click.Choice(["text", "md", "csv", "latex", "json"]), default="text", show_default=True
)
@click.option("--metric", help="METRIC or TASK:METRIC, instead of each task's first.")
@click.option("--task", help="Only this task, with all its metrics.")
@click.option("--sort", help="A task, 'mean', 'rank' or 'method'. Default: rank.")
@click.option("--published", is_flag=True, help="Beside ours: what papers report of these methods, with sources.")
@click.option("--check", is_flag=True, help="Fail when a published page differs from its records.")
def table(
    store: Path,
    leaderboards: Path,
    board: str | None,
    form: str,
    metric: str | None,
    task: str | None,
    sort: str | None,
    published: bool,
    check: bool,
) -> None:
    """Print a leaderboard from the records of a store."""
    if check:
        from bench_core.reports.pages.publish import check_pages

        pages = check_pages(leaderboards, Path("README.md"))
        click.echo(f"{len(pages)} pages agree with their records: {', '.join(map(str, pages))}")
        return
    from bench_core.errors import RequestError
    from bench_core.reports.tables.build import build
    from bench_core.reports.tables.cell_states import table_entries
    from bench_core.reports.tables.render import render
    from bench_core.store import Store

    if metric and task:
        raise RequestError(f"--task shows all metrics; to see one say --metric {task}:{metric.rpartition(':')[2]}.")
    entries = table_entries(Store(store), board)
    click.echo(render(build(entries, metric=metric, sort=sort, task=task), form))
    if published:
        from bench_core.reports.pages.reported_numbers import beside, load_published, render_published, shipped_numbers

        click.echo(render_published(beside(entries, load_published(shipped_numbers())), form), nl=False)


@click.command()
@STORE
@click.option("--board", metavar="FILE_OR_NAME", help="Only this board's cells, and the pictures that it asks for.")
@click.option("--kind", metavar="KIND", help="tradeoff, projection, pr, histogram, layers, lines, samples, similarity.")
@click.option("--methods", callback=names, metavar="A,B", help="Only these rows, as the table names them.")
@click.option("--x", metavar="TASK:METRIC", default="", help="Of a trade-off.")
@click.option("--y", metavar="TASK:METRIC", default="", help="Of a trade-off.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to. Default: STORE/pictures.")
def plot(
    store: Path, board: str | None, kind: str | None, methods: list[str] | None, x: str, y: str, out: Path | None
) -> None:
    """Draw what the records of a store hold: projections, curves, histograms, samples; no method is run.

    Needs matplotlib: pip install 'bench-core[pictures]'. The kind similarity reads the embeddings under STORE/chains.
    """
    from bench_core.planning.boards import Board, load_board
    from bench_core.reports.pictures.plot import Wanted, plot_all
    from bench_core.reports.tables.cell_states import table_entries
    from bench_core.store import Store

    wanted = Wanted(kind=kind or "", methods=tuple(methods or ()), x=x, y=y)
    opened = Store(store)
    asked = load_board(board) if board else Board()
    outcome = plot_all(table_entries(opened, board), opened, asked, wanted, out or store / "pictures")
    for path in outcome.drawn:
        click.echo(f"picture: {path}")
    for reason in outcome.left_out:
        click.echo(f"left out: {reason}", err=True)


@click.command()
@click.argument("board", metavar="BOARD")
@STORE
@BOARDS
def publish(board: str, store: Path, leaderboards: Path) -> None:
    """Copy a board's records from the store to LEADERBOARDS/BOARD/records and write its page from them."""
    from bench_core.reports.pages.publish import publish_board
    from bench_core.store import Store

    copied, pages = publish_board(board, Store(store), leaderboards, Path("README.md"))
    click.echo(f"{copied} records in {leaderboards}; pages: {', '.join(map(str, pages))}")


@click.command()
@STORE
@click.option("--csv", type=click.Path(path_type=Path), help="File to write.")
@click.option("--parquet", type=click.Path(path_type=Path), help="File to write; needs pyarrow.")
@click.option("--sqlite", type=click.Path(path_type=Path), help="File to write, with a table `scores`.")
def export(store: Path, csv: Path | None, parquet: Path | None, sqlite: Path | None) -> None:
    """Write all scores of a store, one line a score, for other tools."""
    from bench_core.errors import RequestError
    from bench_core.reports.tables.export import to_csv, to_parquet, to_sqlite
    from bench_core.api import results  # isort: skip

    writers = [(csv, to_csv), (parquet, to_parquet), (sqlite, to_sqlite)]
    if not any(path for path, _ in writers):
        raise RequestError("say where to: --csv FILE, --parquet FILE or --sqlite FILE.")
    frame = results(store)
    for path, write in writers:
        if path is not None:
            write(frame, path)
            click.echo(f"{len(frame)} scores: {path}")
