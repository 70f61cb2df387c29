"""The content of a site: boards with their cells, claims with their verdicts, and the pages of the manual."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench_core.errors import RequestError
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import Board
from bench_core.plugins import Registry, load_plugins
from bench_core.reports.claims.evidence import BoardTables, Tables, tables_of
from bench_core.reports.claims.files import load_papers
from bench_core.reports.claims.report import JudgedPaper, judged_papers
from bench_core.reports.pages.published_board import PublishedBoard, published_folders, read_published
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.tuning_lines import TableTuning
from bench_core.store import Store

STORE_NAME = "store"  # of the page of a store's own cells, beside those of boards


@dataclass(frozen=True)
class SiteBoard:
    """A board, or all cells of a store, as pages show it.

    Attributes:
        name: Its name in addresses.
        title: Its title.
        description: Paragraphs on what it is, in Markdown; "" where nothing is said.
        command: The command that runs it; "" where nothing is known.
        entries: Its cells with their state.
        board: The content of its board.toml; None for the cells of a store.
        tuning: How its rows were tuned; None says nothing of it.
        published: The published board, for pictures and the sentence on what is missing; None for a store.
        store: The store that holds its chains; None for a published board.
    """

    name: str
    title: str
    description: str
    command: str
    entries: Sequence[Entry]
    board: Board | None = None
    tuning: TableTuning | None = None
    published: PublishedBoard | None = None
    store: Store | None = None

    @cached_property
    def tables(self) -> list[Table]:
        """One table for each pair of dataset and encoder, as `bench table` shows them."""
        return build(self.entries, tuning=self.tuning)

    @cached_property
    def full_tables(self) -> list[Table]:
        """The same tables with every metric of each task, and the mean rank in each family."""
        return build(self.entries, tuning=self.tuning, every=True)

    @cached_property
    def rows(self) -> Tables:
        """The cells of each row of each table."""
        return tables_of(self.entries)


@dataclass(frozen=True)
class SiteContent:
    """All that a site shows.

    Attributes:
        boards: The boards in the order of their names, a store's own cells last.
        papers: Papers with the verdicts on their claims.
        registry: The plugins.
        docs: The folder of the manual with methods/NAME.md and tasks/NAME.md; None where there is none.
    """

    boards: Sequence[SiteBoard]
    papers: Sequence[JudgedPaper]
    registry: Registry
    docs: Path | None


def read_content(
    leaderboards: Path | None,
    store: Path | None,
    names: Sequence[str] = (),
    registry: Registry | None = None,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> SiteContent:
    """Read published boards and a store.

    Args:
        leaderboards: Folder of published boards; None leaves them out.
        store: Folder of a store; None leaves it out.
        names: Show these boards alone; none are all.
        registry: Plugins, for tests.
        told: Gets a word on what is read, before each board.

    Raises:
        RequestError: A name is no published board.
    """
    registry = registry or load_plugins()
    folders = [] if leaderboards is None else published_folders(leaderboards)
    if unknown := set(names) - {folder.name for folder in folders}:
        known = ", ".join(folder.name for folder in folders) or "none"
        raise RequestError(f"{sorted(unknown)[0]!r} is no published board in {leaderboards}; there are: {known}.")
    boards = []
    for folder in folders:
        if not names or folder.name in names:
            told(f"reading board {folder.name}")
            boards.append(_published(folder, registry))
    read = {board.published.folder.name: board.entries for board in boards if board.published}
    if store is not None:
        told(f"reading the store {store}")
        boards.append(_of_store(Store.existing(store), {board.name for board in boards}))
    papers: list[JudgedPaper] = []
    if leaderboards is not None and (leaderboards / "claims").is_dir():
        told("judging claims")
        tables = BoardTables(registry, leaderboards=leaderboards, read=read)
        papers = judged_papers(load_papers([leaderboards / "claims"]), tables, leaderboards)
        papers = _of_boards(papers, names) if names else papers
    return SiteContent(boards, papers, registry, manual())


def _of_boards(papers: Sequence[JudgedPaper], names: Sequence[str]) -> list[JudgedPaper]:
    """Return the claims on some boards; they were judged among all claims of their papers."""
    some = [
        replace(judged, claims=tuple(claim for claim in judged.claims if claim.claim.board in names))
        for judged in papers
    ]
    return [judged for judged in some if judged.claims]


def manual() -> Path | None:
    """Return the folder of the manual: docs/ of a checkout, or of the installed package."""
    package = Path(__file__).parents[2]
    return next((docs for docs in (package.parent / "docs", package / "docs") if (docs / "methods").is_dir()), None)


def address_name(text: str) -> str:
    """Return a name as part of an address: letters, digits, "_", "-" and "." alone."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text).strip(".") or "_"


def _published(folder: Path, registry: Registry) -> SiteBoard:
    published = read_published(folder, registry)
    board = published.board
    typed = board.name if board.name in board_names() else (folder / "board.toml").as_posix()
    return SiteBoard(
        name=address_name(folder.name),
        title=board.title or board.name,
        description=board.description,
        command=f"bench run --board {typed}",
        entries=published.entries,
        board=board,
        tuning=published.tuning,
        published=published,
    )


def _of_store(store: Store, taken: Collection[str]) -> SiteBoard:
    entries = entries_of(store.records(), store.attempts())
    name = STORE_NAME if STORE_NAME not in taken else f"{STORE_NAME}-cells"
    title = f"Cells of the store {store.path.resolve().name}"
    return SiteBoard(name, title, "", "", entries, store=store)
