"""A published board: its cells as its folder holds them, its page, and its pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bench_core.files import paths_in
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import Board, Picture
from bench_core.planning.chains import Plan
from bench_core.planning.plan import board_plan
from bench_core.plugins import Registry
from bench_core.reports.pages.markers import page
from bench_core.reports.pages.reported_numbers import beside, load_reported, render_reported, shipped_numbers
from bench_core.reports.pictures.draw import draw, fingerprint, fingerprint_in
from bench_core.reports.pictures.kinds import check_pictures
from bench_core.reports.pictures.model import NothingToDrawError, SeveralTablesError
from bench_core.reports.pictures.plot import file_name
from bench_core.reports.pictures.stale import choose_cells
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry, by_table
from bench_core.reports.tables.markdown import page_tables
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.tuning_lines import TableTuning, table_tuning
from bench_core.store.store import read_attempt, read_records


@dataclass(frozen=True)
class BoardPicture:
    """A picture of a published board, with its cells.

    Attributes:
        picture: Its kind and options.
        path: Its file.
        cells: The cells that it is drawn from; None where no record holds its numbers and the file stays as it is.
        note: What readers must know: "Drawn from stale records of knn (...)."; "" for most.
        board: The board.
    """

    picture: Picture
    path: Path
    cells: Sequence[Entry] | None
    note: str
    board: Board

    @property
    def is_up_to_date(self) -> bool:
        """True if the file shows the numbers of the cells."""
        return self.cells is None or fingerprint_in(self.path) == fingerprint(self.cells, self.picture, self.board)

    def draw(self) -> None:
        """Write the file."""
        if self.cells is not None:
            draw(self.cells, self.picture, self.path, board=self.board)

    def on_page(self) -> str:
        """Return the Markdown that shows it."""
        shown = f"![{escape.markdown(self.picture.title or self.picture.name)}]({self.path.name})"
        return f"{shown}\n\n{escape.markdown(self.note)}" if self.note else shown


@dataclass(frozen=True)
class PublishedBoard:
    """A board's cells with their published records.

    Attributes:
        plan: All cells of the board.
        folder: The folder with its board.toml, records and pictures.
        entries: The cells with their state among the published records.
        tuning: How the rows were tuned; None says nothing of it.
    """

    plan: Plan
    folder: Path
    entries: Sequence[Entry]
    tuning: TableTuning | None = None

    @property
    def board(self) -> Board:
        """The content of the board.toml."""
        return self.plan.board

    @cached_property
    def tables(self) -> list[Table]:
        """One table for each pair of dataset and encoder."""
        return build(self.entries, tuning=self.tuning)

    @cached_property
    def pictures(self) -> list[BoardPicture]:
        """The pictures that the board names."""
        return find_pictures(self.board, self.folder, self.entries)

    def page(self) -> str:
        """Return the whole page between its markers."""
        command = f"bench run --board {self._typed_name()}"
        head = page(self.board.title, self.board.description, command, self._with_what_is_missing(self.tables))
        reported = render_reported(beside(self.entries, load_reported(shipped_numbers())), "md")
        blocks = (head, *(picture.on_page() for picture in self.pictures), reported)
        return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"

    def table(self) -> str:
        """Return the board's columns of `front`, or all, for the project's README, after how much is missing."""
        front = self.board.front
        tables = (
            build(self.entries, columns=[*front, "mean", "rank", "tasks"], tuning=self.tuning) if front else self.tables
        )
        return self._with_what_is_missing(tables)

    def _with_what_is_missing(self, tables: Sequence[Table]) -> str:
        return "\n\n".join(filter(None, (self.missing, page_tables(tables))))

    @property
    def missing(self) -> str:
        """The sentence on cells with neither a record nor a reason, "Partial: 2 of 180 ..."; "" if there are none."""
        missing = [entry.state for entry in self.entries].count("missing")
        there = len(self.entries) - missing
        return (
            f"Partial: {there} of {len(self.entries)} cells; the other {missing} have no record yet." if missing else ""
        )

    def _typed_name(self) -> str:
        """Return what to type after --board: the name of a shipped board, else the path of its file."""
        return self.board.name if self.board.name in board_names() else (self.folder / "board.toml").as_posix()


def find_pictures(board: Board, folder: Path, entries: Sequence[Entry]) -> list[BoardPicture]:
    """Return the pictures that a board names, with the cells that each is drawn from.

    A picture of which several datasets or encoders hold the numbers has a file for each:
    `plane_digits_convnet.svg`, `plane_cora_gcn.svg`.

    Args:
        board: The board.
        folder: The folder of its pictures.
        entries: The board's cells with their published records.

    Raises:
        RequestError: The options of a picture do not fit, or neither a record nor an earlier drawing shows it.
    """
    check_pictures(board)
    pictures = []
    for picture in board.pictures.values():
        try:
            pictures.append(_find_picture(picture, folder / f"{picture.name}.svg", entries, board))
        except SeveralTablesError:
            pictures += _one_for_each_table(picture, folder, entries, board)
    return pictures


def _find_picture(picture: Picture, path: Path, entries: Sequence[Entry], board: Board) -> BoardPicture:
    try:
        return BoardPicture(picture, path, *choose_cells(entries, picture, board), board)
    except NothingToDrawError as error:
        if not path.is_file():
            raise
        return BoardPicture(picture, path, None, f"This is an earlier drawing: {error}", board)


def _one_for_each_table(picture: Picture, folder: Path, entries: Sequence[Entry], board: Board) -> list[BoardPicture]:
    """Return the picture of each dataset and encoder that have what it shows; the last one says which have not."""
    found, without, errors = list[BoardPicture](), list[str](), list[NothingToDrawError]()
    for (dataset, encoder), cells in by_table(entries).items():
        titled = replace(picture, title=f"{picture.title or picture.name}: {dataset}, {encoder}")
        path = folder / f"{file_name(f'{picture.name}_{dataset}_{encoder}')}.svg"
        try:
            found.append(_find_picture(titled, path, cells, board))
        except NothingToDrawError as error:
            if any(cell.state != "skipped" for cell in cells):
                without.append(f"{dataset}, {encoder}")
            errors.append(error)
    if not found:
        raise errors[0]
    if without:
        note = f"{picture.title or picture.name}: nothing to draw of {'; '.join(without)}."
        found[-1] = replace(found[-1], note=f"{found[-1].note} {note}".strip())
    return found


def read_published(folder: Path, registry: Registry) -> PublishedBoard:
    """Read a board's folder: its board.toml, records and failed attempts."""
    plan = board_plan(str(folder), registry)
    failed = [read_attempt(path) for path in paths_in(folder / "failed", ".json")]
    entries = plan_entries(plan, read_records(folder / "records"), failed)
    return PublishedBoard(plan, folder, entries, table_tuning(plan.board, registry))


def published_folders(leaderboards: Path) -> list[Path]:
    """Return the folders of the boards that have records."""
    return [folder for folder in paths_in(leaderboards) if (folder / "records").exists()]
