"""Pictures of stale records: which cells are drawn, what the page says, and that no mean is of two revisions."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.draw import fingerprint
from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.pictures.model import NothingToDrawError, PictureData
from bench_core.reports.pictures.stale import choose_cells
from bench_core.reports.pictures.tradeoff import Tradeoff
from bench_core.reports.tables.entries import Entry

ROWS = ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]
LAYERS = Picture(name="layers", kind="layers")
TRADEOFF = Picture(name="tradeoff", x="spread:spread", y="size:top1")
KINDS_OF_TWO_SORTS = pytest.mark.parametrize("picture", [LAYERS, TRADEOFF], ids=lambda picture: picture.kind)


def made_stale(entries: Sequence[Entry], which: Callable[[Entry], bool]) -> list[Entry]:
    """Return entries of which some are of revision 1, where 2 is today's."""
    return [replace(e, state="stale", reason="task.revision was 1, is 2") if which(e) else e for e in entries]


def series_of(entries: Sequence[Entry], row: str) -> tuple[int, ...]:
    """Return the seeds of a row in the picture of layers."""
    data = KINDS["layers"].read(entries, LAYERS, None)
    assert isinstance(data, PictureData)
    return next((series.seeds for series in data.series if series.method == row), ())


@KINDS_OF_TWO_SORTS
def test_where_nothing_is_stale_all_cells_are_drawn_and_nothing_is_said(entries: list[Entry], picture: Picture) -> None:
    assert choose_cells(entries, picture) == (entries, "")


@KINDS_OF_TWO_SORTS
def test_where_all_is_stale_the_last_drawing_stays_and_the_note_names_the_task(
    entries: list[Entry], picture: Picture
) -> None:
    stale = made_stale(entries, lambda entry: entry.names["task"] == "size")
    with pytest.raises(NothingToDrawError):
        fingerprint(stale, picture)
    cells, note = choose_cells(stale, picture)
    assert note == "Drawn from stale records of size (task.revision was 1, is 2)."
    assert fingerprint(cells, picture) == fingerprint(entries, picture)


@KINDS_OF_TWO_SORTS
def test_rows_of_today_are_drawn_alone_and_the_note_names_the_stale_ones(
    entries: list[Entry], picture: Picture
) -> None:
    stale = made_stale(entries, lambda entry: entry.names["method"] in ROWS[:2] and entry.names["task"] == "size")
    cells, note = choose_cells(stale, picture)
    assert note == f"Without {ROWS[0]}, {ROWS[1]}: their records are stale."
    kind = KINDS[picture.kind]
    assert {row for row, _ in kind.shown(kind.read(cells, picture, None))} == {ROWS[2]}


def test_no_mean_is_taken_over_records_of_two_revisions(entries: list[Entry]) -> None:
    some_seeds = made_stale(entries, lambda e: e.seed == 1 or e.names["method"] == ROWS[0])
    assert series_of(choose_cells(some_seeds, LAYERS)[0], ROWS[1]) == (0,)
    assert series_of(choose_cells(some_seeds, LAYERS)[0], ROWS[0]) == ()
    # A trade-off of a score that is stale everywhere: of the other score, today's seeds alone count.
    half = made_stale(entries, lambda e: e.names["task"] == "size" or e.seed == 1)
    cells, note = choose_cells(half, TRADEOFF)
    assert {x.n for x, _ in Tradeoff().read(cells, TRADEOFF).points.values()} == {1}
    assert {y.n for _, y in Tradeoff().read(cells, TRADEOFF).points.values()} == {2}
    assert note == "Drawn from stale records of size (task.revision was 1, is 2)."


def test_options_that_fit_no_record_are_refused_also_where_all_is_stale(entries: list[Entry]) -> None:
    stale = made_stale(entries, lambda _: True)
    with pytest.raises(UnknownNameError, match="no row named 'shrunk'"):
        choose_cells(stale, replace(LAYERS, methods=("shrunk",)))
    with pytest.raises(UnknownNameError, match="no metric named 'size:top5'"):
        choose_cells(stale, replace(TRADEOFF, y="size:top5"))
    with pytest.raises(NothingToDrawError, match="no record of task 'probe' holds a curve"):
        choose_cells(stale, replace(LAYERS, task="probe"))


@KINDS_OF_TWO_SORTS
def test_where_nothing_can_be_drawn_and_nothing_is_stale_that_is_an_error(
    entries: list[Entry], picture: Picture
) -> None:
    missing = [replace(entry, state="missing", record=None) for entry in entries]
    with pytest.raises(NothingToDrawError):
        choose_cells(missing, picture)
