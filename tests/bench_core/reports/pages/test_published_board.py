"""The pictures of a board that holds several datasets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.planning.boards import Board, Picture
from bench_core.planning.chains import Plan
from bench_core.reports.pages.published_board import PublishedBoard, find_pictures
from bench_core.reports.pictures.model import NothingToDrawError
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
BOARD = Board(pictures={"cost": Picture(name="cost", kind="tradeoff", x="knn:top1", y="linear:top1")})


@pytest.fixture
def entries_with(make_record: Make) -> Callable[..., list[Entry]]:
    """Function that makes a cell of each task on each named dataset: entries_with(digits="knn linear")."""

    def make(**tasks: str) -> list[Entry]:
        records = [
            make_record("nac", task, 0, 0.5, names={"dataset": dataset}, config={"data": dataset})
            for dataset, names in tasks.items()
            for task in names.split()
        ]
        return entries_of(map(record_from_json, records))

    return make


def test_a_picture_of_one_dataset_has_the_name_of_the_picture(
    entries_with: Callable[..., list[Entry]], tmp_path: Path
) -> None:
    (picture,) = find_pictures(BOARD, tmp_path, entries_with(digits="knn linear"))
    assert picture.path == tmp_path / "cost.svg"
    assert picture.picture == BOARD.pictures["cost"]
    assert picture.note == ""


def test_each_dataset_that_has_the_numbers_has_a_picture_and_the_last_one_names_the_others(
    entries_with: Callable[..., list[Entry]], tmp_path: Path
) -> None:
    entries = entries_with(cora="knn linear", digits="knn linear", mutag="knn linear")
    without = [
        replace(entry, state="missing", record=None) if entry.names["dataset"] == "mutag" else entry
        for entry in entries
    ]
    pictures = find_pictures(BOARD, tmp_path, without)
    assert [picture.path.name for picture in pictures] == ["cost_cora_convnet.svg", "cost_digits_convnet.svg"]
    assert [picture.note for picture in pictures] == ["", "cost: nothing to draw of mutag, convnet."]
    assert not pictures[0].is_up_to_date
    pictures[0].draw()
    assert pictures[0].is_up_to_date
    assert pictures[0].on_page() == "![cost: cora, convnet](cost_cora_convnet.svg)"


def test_datasets_on_which_all_is_skipped_are_not_named(
    entries_with: Callable[..., list[Entry]], tmp_path: Path
) -> None:
    entries = [
        replace(entry, state="skipped", record=None) if entry.names["dataset"] == "mutag" else entry
        for entry in entries_with(cora="knn linear", digits="knn linear", mutag="knn linear")
    ]
    assert [picture.note for picture in find_pictures(BOARD, tmp_path, entries)] == ["", ""]


def test_a_picture_that_no_dataset_has_is_refused(entries_with: Callable[..., list[Entry]], tmp_path: Path) -> None:
    missing = [
        replace(entry, state="missing", record=None) if entry.names["task"] == "linear" else entry
        for entry in entries_with(cora="knn linear", digits="knn linear")
    ]
    with pytest.raises(NothingToDrawError, match="no record of task 'linear'"):
        find_pictures(BOARD, tmp_path, missing)


def test_readme_shows_the_columns_of_front_and_the_page_shows_all(
    entries_with: Callable[..., list[Entry]], tmp_path: Path
) -> None:
    entries = entries_with(digits="knn linear")
    published = PublishedBoard(Plan(Board(name="a", front=("linear",)), ()), tmp_path, entries)
    in_readme, on_page = published.table(), published.page()
    assert "linear top1" in in_readme
    assert "knn" not in in_readme
    assert all(column in on_page for column in ("linear top1", "knn top1"))
    assert PublishedBoard(Plan(Board(), ()), tmp_path, entries).table() in on_page  # without front they are the same
