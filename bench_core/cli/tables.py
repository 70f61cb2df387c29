"""`bench table`, `bench plot`, `bench publish`, `bench export`: from records to what people read."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from bench_core.cli.options import BOARDS, README, STORE, Command, names, reads_a_store, terminal_width
from bench_core.output import say

RAW_CELLS = click.option(
    "--raw-cells", is_flag=True,
    help="Write text into CSV as it is. By default text that a spreadsheet would calculate, as it begins with =, +, - "
    "or @, gets a ' in front; numbers never do.",
)  # fmt: skip


@click.command(cls=Command)
@STORE
@BOARDS
@README
@click.option("--board", metavar="FILE_OR_NAME", help="Show only the cells of this board. Default: all of the store.")
@click.option(
    "--format", "output_format", type=click.Choice(["text", "md", "csv", "latex", "json"]), default="text",
    show_default=True, help="Format of the output.",
)  # fmt: skip
@click.option(
    "--columns", multiple=True, callback=names, metavar="A,B",
    help="Show only these columns, in this order: TASK is its first metric, TASK:METRIC one, 'TASK:*' all; mean, rank, "
    "or a cost. Default: the first metric of each task.",
)  # fmt: skip
@click.option(
    "--methods", multiple=True, callback=names, metavar="A,B", help="Show only these rows, ranked among themselves."
)
@click.option(
    "--decimals", type=click.IntRange(0, 12), help="Digits after the point of scores. Default: as many as they need."
)
@click.option("--wide", is_flag=True, help="Show seconds, speed, memory and parameters, too; other formats always do.")
@click.option("--notes", is_flag=True, help="Say in full how each task measures; other formats always do.")
@click.option("--sort", help="Sort rows by a task, 'mean', 'rank' or 'method'. Default: rank.")
@click.option("--published", is_flag=True, help="Also print the numbers that papers report of these methods.")
@click.option("--check", is_flag=True, help="Check that published pages agree with their records; exit code 1 if not.")
@RAW_CELLS
@reads_a_store
def table(
    store: Path,
    leaderboards: Path,
    readme: Path,
    board: str | None,
    output_format: str,
    columns: list[str] | None,
    methods: list[str] | None,
    decimals: int | None,
    wide: bool,
    notes: bool,
    sort: str | None,
    published: bool,
    check: bool,
    raw_cells: bool,
) -> None:
    """Print a leaderboard from a store's records."""
    if check:
        from bench_core.reports.pages.publish import check_pages

        pages = check_pages(leaderboards, readme)
        say(f"{len(pages)} pages agree with their records: {', '.join(map(str, pages))}")
        return
    from bench_core.errors import RequestError
    from bench_core.reports.pages.reported_numbers import (
        beside,
        check_format,
        load_reported,
        render_reported,
        shipped_numbers,
    )
    from bench_core.reports.tables.build import build
    from bench_core.reports.tables.cell_states import table_entries, what_to_run
    from bench_core.reports.tables.render import render
    from bench_core.reports.tables.screen import Screen, on_screen
    from bench_core.reports.tables.tuning_lines import table_tuning
    from bench_core.store import Store

    if raw_cells and output_format != "csv":
        raise RequestError("--raw-cells is for --format csv.")
    if published:
        check_format(output_format)
    entries = table_entries(Store.existing(store), board)
    nothing_yet = what_to_run(entries, store, board)
    if nothing_yet and (columns or methods or sort):  # of which nothing could be found
        raise RequestError(nothing_yet)
    tables = build(
        entries, columns=columns, methods=methods, sort=sort, decimals=decimals, hold_encoder=board is not None,
        tuning=table_tuning(board) if board else None,
    )  # fmt: skip
    if output_format == "text":
        cost = wide or columns is not None
        say(on_screen(tables, Screen(terminal_width(), protocols=notes, cost=cost)))
    else:
        say(render(tables, output_format, raw_cells=raw_cells))
    if published:
        say(render_reported(beside(entries, load_reported(shipped_numbers())), output_format), nl=False)
    if nothing_yet:
        say(nothing_yet, err=True)


class KindOption(click.Option):
    """The option `--kind`, whose help lists the table of kinds; it is imported when the help is printed."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help."""
        from bench_core.reports.pictures.kinds import KINDS

        self.help = f"Draw only this kind: {', '.join(KINDS)}. Default: all that the records hold."
        return super().get_help_record(ctx)


@click.command(cls=Command)
@STORE
@click.option(
    "--board", metavar="FILE_OR_NAME", help="Draw only the cells of this board, and the pictures that it names."
)
@click.option("--kind", metavar="KIND", cls=KindOption)
@click.option(
    "--methods", multiple=True, callback=names, metavar="A,B", help="Draw only these rows, as the table names them."
)
@click.option("--x", metavar="TASK:METRIC", default="", help="Score on the x axis of a trade-off.")
@click.option("--y", metavar="TASK:METRIC", default="", help="Score on the y axis of a trade-off.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the pictures. Default: STORE/pictures.")
@reads_a_store
def plot(
    store: Path, board: str | None, kind: str | None, methods: list[str] | None, x: str, y: str, out: Path | None
) -> None:
    """Draw pictures from the records of a store.

    Draws projections, curves, histograms and samples that records hold; no method is run. Needs matplotlib: pip install
    'bench-core[pictures]'. `--kind similarity` reads embeddings under STORE/chains, `--kind filters` weights,
    `--kind training` logs. `--kind tuning` reads the tuned.toml of a board, and no store.
    """
    from bench_core.errors import RequestError
    from bench_core.planning.boards import Board, load_board, load_with_trials
    from bench_core.reports.pictures.kinds import get_kind
    from bench_core.reports.pictures.model import PlotRequest
    from bench_core.reports.pictures.plot import plot_all
    from bench_core.reports.tables.cell_states import table_entries, what_to_run
    from bench_core.store import Store

    request = PlotRequest(kind=kind or "", methods=tuple(methods or ()), x=x, y=y)
    if kind and get_kind(kind).of_board:
        if board is None:
            raise RequestError(
                f"--kind {kind} shows a board; say which, such as `bench plot --kind {kind} --board mnist`."
            )
        records, entries, pictures = Store(store), [], load_with_trials(board)
    else:
        pictures = load_board(board) if board else Board()
        records = Store.existing(store)
        entries = table_entries(records, board)
        if nothing_yet := what_to_run(entries, store, board):
            raise RequestError(nothing_yet)
    result = plot_all(entries, records, pictures, request, out or store / "pictures")
    for path in result.drawn:
        say(f"picture: {path}")
    for reason in result.left_out:
        say(f"left out: {reason}", err=True)


@click.command(cls=Command)
@click.argument("board", metavar="[BOARD]", required=False)
@STORE
@BOARDS
@README
@click.option(
    "--partial", is_flag=True,
    help="Publish a board of which cells have not been run; its page says how many. By default that is refused.",
)  # fmt: skip
@click.option("--pages", is_flag=True, help="Copy nothing: write all pages again from the published records.")
def publish(board: str | None, store: Path, leaderboards: Path, readme: Path, partial: bool, pages: bool) -> None:
    """Copy a board's records and write its page.

    BOARD is a name of `bench list boards` or the path of a board.toml. Its records are copied from the store to
    LEADERBOARDS/BOARD/records; its page and pictures are written from them. Records that were published before stay
    until newer ones of the same cells take their places.

    `bench publish --pages` needs no board and no store. It writes the pages and pictures of all boards, methods and
    tasks that are out of date, for example after a help text or a revision changed.
    """
    from bench_core.errors import RequestError
    from bench_core.reports.pages.publish import publish_board, write_pages
    from bench_core.store import Store

    if pages:
        if board is not None:
            raise RequestError(f"--pages writes the pages of all boards; type it without {board!r}.")
        changed = write_pages(leaderboards, readme)
        say(f"{len(changed)} pages changed{': ' if changed else ''}{', '.join(map(str, changed))}")
        return
    if board is None:
        raise RequestError("say which board to publish; `bench publish --pages` writes all pages again.")
    published = publish_board(board, Store.existing(store), leaderboards, readme, partial=partial)
    say(f"{published.copied} records in {leaderboards}; pages: {', '.join(map(str, published.pages))}")
    if published.missing:
        say(f"partial: {published.missing} cells of the board have no record yet; its page says so")
    for line in published.records.report():
        say(line)


@click.command(cls=Command)
@STORE
@click.option("--csv", type=click.Path(path_type=Path), help="Write a CSV file here.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write a Parquet file here; needs pyarrow.")
@click.option("--sqlite", type=click.Path(path_type=Path), help="Write an SQLite file here, with a table `scores`.")
@RAW_CELLS
@reads_a_store
def export(store: Path, csv: Path | None, parquet: Path | None, sqlite: Path | None, raw_cells: bool) -> None:
    """Write all scores of a store to a file.

    The file has one line for each score, for use in other tools.
    """
    from bench_core.errors import RequestError
    from bench_core.reports.tables.cell_states import what_to_run
    from bench_core.reports.tables.export import write_csv, write_parquet, write_sqlite
    from bench_core.reports.tables.frames import score_lines
    from bench_core.store import Store

    if raw_cells and csv is None:
        raise RequestError("--raw-cells is for --csv FILE.")
    writers: list[tuple[Path | None, Callable[..., int]]] = [
        (csv, partial(write_csv, raw_cells=raw_cells)),
        (parquet, write_parquet),
        (sqlite, write_sqlite),
    ]
    if not any(path for path, _ in writers):
        raise RequestError("say where to: --csv FILE, --parquet FILE or --sqlite FILE.")
    records = Store.existing(store).records()
    for path, write in writers:
        if path is not None:
            say(f"{write(score_lines(records), path)} scores: {path}")
    if not records:
        say(what_to_run((), store, None), err=True)
