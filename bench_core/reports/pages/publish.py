"""Copies a board's records out of a store, and writes the pages that are generated from published records.

leaderboards/<board>/board.toml       the board's file
leaderboards/<board>/records/*.json   the records behind the page, copied from a store
leaderboards/<board>/failed/*.json    cells that failed, and why
leaderboards/<board>/logs/*.jsonl     the log of each chain, thinned
leaderboards/<board>/README.md        the page, between markers
leaderboards/<board>/<picture>.svg    the pictures that the board names
docs/methods/<method>.md              a method's parameters and numbers, between markers
docs/tasks/<task>.md                  a task's parameters and numbers, between markers
leaderboards/claims/README.md         the verdicts on the claims of leaderboards/claims/*.toml, between markers
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core.errors import RequestError, StoreError
from bench_core.files import paths_in, write_bytes
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import files_of_board
from bench_core.planning.plan import board_plan
from bench_core.plugins import Registry, load_plugins
from bench_core.regular_files import read_regular
from bench_core.reports.claims.page import claims_section
from bench_core.reports.pages.components import component_pages
from bench_core.reports.pages.markers import Sections, begin_marker, stale_pages, write_sections
from bench_core.reports.pages.published_board import (
    PublishedBoard,
    find_pictures,
    published_folders,
    read_published,
)
from bench_core.reports.pages.published_logs import FOLDER, logs_to_publish, write_logs
from bench_core.reports.pages.published_records import (
    MergedRecords,
    merge_attempts,
    merge_records,
    write_attempts,
    write_records,
)
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry
from bench_core.store import Store
from bench_core.store.record import Provenance, Record, cell_label
from bench_core.store.store import read_attempt, read_records

_LONGEST_DIFFERENCE = 1000  # characters of a page's difference in a message


@dataclass(frozen=True)
class Published:
    """The outcome of publishing a board.

    Attributes:
        copied: Number of records copied out of the store.
        missing: Number of cells that have no record yet; the board's page says so.
        records: All records of the board, by what became of them.
        pages: The pages and pictures of the board, and the pages of methods, tasks and claims.
    """

    copied: int
    missing: int
    records: MergedRecords
    pages: list[Path]


def publish_board(
    name: str,
    store: Store,
    leaderboards: Path,
    readme: Path,
    registry: Registry | None = None,
    *,
    partial: bool = False,
) -> Published:
    """Copy a board's records out of a store and write the pages that show them.

    Paths of this machine in a record's command are left out, and so are images of all but a row's first seed. What was
    published before stays, see `bench_core.reports.pages.published_records`.

    Every number must lead to its code. So a record must come from an unchanged commit of a checkout, or from a wheel,
    whose version names its code. Its provenance tells them apart: a wheel has neither `commit` nor `dirty`; a checkout
    has `dirty`, and also `commit`, unless git could not name one. The last kind, and changed code, are refused.

    Args:
        name: A shipped board, or the path of a board.toml.
        store: The store in which its cells were run.
        leaderboards: Folder of the boards; the records go to `<leaderboards>/<board>/records`.
        readme: A page; if it has markers for this board, it gets the table, too. Beside it may be pages of methods
            and tasks, docs/methods/*.md and docs/tasks/*.md, which show numbers of all boards.
        registry: Plugins, for tests.
        partial: Publish a board of which cells are missing, and say on its page how many.

    Raises:
        RequestError: The store has none of the board's cells, or records of code without a commit or with changes; or
            a cell is missing, neither done, skipped, failed nor stale, here or among what was published before; or a
            picture of the board cannot be drawn. Then nothing is written.
        StoreError: The board's file is to be copied and is a link, or no regular file; or the file of a chain, from
            which its log is read, is damaged.
    """
    registry = registry or load_plugins()
    plan = board_plan(name, registry)
    board = plan.board
    if board.validation:
        raise RequestError(
            f"board {board.name!r} scores on a part of train (validation = {board.validation:g}); trials are not "
            "published. Leave validation out of the board, and run it again."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", board.name):  # it becomes a folder, and markers in pages
        raise RequestError(
            f"board {board.name!r} cannot be published under this name; give its file or folder another."
        )
    new = [record for entry in plan_entries(plan, store.records()) if (record := entry.finished_record)]
    if not new:
        raise RequestError(f"{store.path} has no cell of board {board.name!r}; run `bench run --board {name}` first.")
    _check_provenance(new)
    folder = leaderboards / board.name
    records = merge_records(plan, read_records(folder / "records"), new)
    published_attempts = [read_attempt(path) for path in paths_in(folder / "failed", ".json")]
    attempts = merge_attempts(plan, published_attempts, store.attempts(), records)
    entries = plan_entries(plan, records.kept, attempts.values())
    missing = [entry for entry in entries if entry.state == "missing"]
    if missing and not partial:
        raise RequestError(_missing_cells(missing, len(entries), name))
    find_pictures(board, folder, entries)  # raises before anything is written
    logs = logs_to_publish(store, new)
    if not (folder / "board.toml").exists():  # a shipped or a private board, published elsewhere
        read = Path.read_bytes if name in board_names() else read_regular  # an installer may have made links
        copied = {file: read(path) for file, path in files_of_board(name).items()}
        for file, content in copied.items():
            write_bytes(folder / file, content)
    write_logs(folder / FOLDER, logs, records)  # first, so that no record is newer than the log beside it
    write_records(folder / "records", records)
    write_attempts(folder / "failed", attempts)
    boards = _read_all(leaderboards, registry)
    published = next(other for other in boards if other.folder == folder)
    _draw_out_of_date([published])
    pages = _board_sections(published, readme) | component_pages(readme.parent / "docs", boards, registry)
    pages |= claims_section(leaderboards, registry, check=False)  # `bench table --check` tells of wrong claims
    write_sections(pages)
    return Published(len(new), len(missing), records, [*pages, *(picture.path for picture in published.pictures)])


def write_pages(leaderboards: Path, readme: Path, registry: Registry | None = None) -> list[Path]:
    """Write all pages and pictures that are out of date again, from published records alone.

    Args:
        leaderboards: Folder of the boards.
        readme: The page beside which docs/methods and docs/tasks lie, as for `publish_board`.
        registry: Plugins, for tests.

    Returns:
        The pages and pictures that changed.

    Raises:
        RequestError: There is no published board, or a picture of one cannot be drawn.
    """
    boards, pages = _all_sections(leaderboards, readme, registry or load_plugins())
    return sorted([*_draw_out_of_date(boards), *write_sections(pages)])


def check_pages(leaderboards: Path, readme: Path, registry: Registry | None = None) -> list[Path]:
    """Check that the pages of all published boards, methods and tasks agree with code and records.

    Returns:
        The pages and pictures that were checked.

    Raises:
        RequestError: There is no published board.
        StoreError: A page differs from its records; shows how.
    """
    boards, pages = _all_sections(leaderboards, readme, registry or load_plugins())
    pictures = [picture for board in boards for picture in board.pictures]
    for picture in pictures:
        if not picture.is_up_to_date:
            raise StoreError(f"{picture.path} does not show what its records say; run `bench publish --pages`.")
    stale = stale_pages(pages)
    if stale:
        first, difference = next(iter(stale.items()))
        if len(difference) > _LONGEST_DIFFERENCE:
            difference = f"{difference[:_LONGEST_DIFFERENCE]}..."
        raise StoreError(
            f"{', '.join(map(str, stale))} differ from their records; run `bench publish --pages`. "
            f"The first difference, in {first}: {difference}"
        )
    return sorted([*pages, *(picture.path for picture in pictures)])


def _read_all(leaderboards: Path, registry: Registry) -> list[PublishedBoard]:
    return [read_published(folder, registry) for folder in published_folders(leaderboards)]


def _all_sections(leaderboards: Path, readme: Path, registry: Registry) -> tuple[list[PublishedBoard], Sections]:
    """Return all published boards, and what stands between the markers of all pages."""
    boards = _read_all(leaderboards, registry)
    if not boards:
        raise RequestError(f"{leaderboards} holds no published board; `bench publish BOARD` makes one.")
    pages: Sections = {}
    for board in boards:
        for path, sections in _board_sections(board, readme).items():
            pages.setdefault(path, {}).update(sections)
    docs = readme.parent / "docs"
    return boards, pages | component_pages(docs, boards, registry) | claims_section(leaderboards, registry)


def _board_sections(board: PublishedBoard, readme: Path) -> Sections:
    """Return the content of a board's page, and of its table in the README if that has markers for it."""
    name = board.board.name
    pages = {board.folder / "README.md": {name: board.page()}}
    if readme.is_file() and begin_marker(name) in readme.read_text(encoding="utf-8"):
        pages[readme] = {name: board.table()}
    return pages


def _draw_out_of_date(boards: Iterable[PublishedBoard]) -> list[Path]:
    """Draw the pictures that are missing or out of date, and return their files."""
    out_of_date = [picture for board in boards for picture in board.pictures if not picture.is_up_to_date]
    for picture in out_of_date:
        picture.draw()
    return [picture.path for picture in out_of_date]


def _missing_cells(missing: Sequence[Entry], of: int, name: str) -> str:
    """Return the message that cells of a board are missing."""
    first = cell_label(missing[0].names)
    return (
        f"{len(missing)} of {of} cells of this board have no record, the first is {first} seed {missing[0].seed}; run "
        f"`bench run --board {name}`, or publish what there is with --partial: the page then says how much is missing."
    )


def _check_provenance(records: Iterable[Record]) -> None:
    """Refuse records whose code cannot be found again; `publish_board` gives the rule."""
    without_commit = [record.key[:12] for record in records if _lacks_commit(record.provenance)]
    dirty = [record.key[:12] for record in records if record.provenance.dirty]
    if without_commit:
        raise RequestError(
            f"records made by a checkout without a commit: {len(without_commit)} ({_first(without_commit)}); "
            "commit the code, see that `git rev-parse HEAD` works in it, then run them again into a new store."
        )
    if dirty:
        raise RequestError(
            f"records made by changed, uncommitted code: {len(dirty)} ({_first(dirty)}); "
            "commit, then run them again into a new store."
        )


def _lacks_commit(provenance: Provenance) -> bool:
    """Return whether the task or its training ran from a checkout whose commit is unknown."""
    sources = [provenance, provenance.pretrain] if provenance.pretrain else [provenance]
    return any(source.commit is None and source.dirty is not None for source in sources)


def _first(keys: Sequence[str]) -> str:
    return ", ".join([*keys[:3], *(["..."] if len(keys) > 3 else [])])
