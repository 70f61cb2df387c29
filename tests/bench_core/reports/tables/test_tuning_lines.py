"""The lines under a table say how its rows were tuned, and which rows had another chance than the others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bench_core.planning.boards import Board, NamedComponent, with_tuned
from bench_core.planning.tuned_text import budget_text, chosen_text, tuned_sentences
from bench_core.planning.tuning import Trial, Tuned, TunedRow, Tuning
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.tuning_lines import TableTuning
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
ROW = TunedRow(
    values={"flip": 0.3},
    metrics=("knn:top1",),
    trials=12,
    best=3,
    digest="sha256:0",
    space={},
    tried=[Trial({}, {"knn:top1": 0.5})] * 12,
    epochs=40,
    datasets={"mnist": {"train_size": 5000}},
)
USUAL = "12 trials of at most 40 epochs, 1 seed, mnist with train_size = 5000, scored on 20 % of train"
TRIALS = " Trials: at most 40 epochs, 1 seed, mnist with train_size = 5000."


def tuned(tuning: Tuning | None = None, **rows: TunedRow) -> Tuned:
    return Tuned(command="bench tune --board toys", tuning=tuning or Tuning(), rows=rows)


def board_of(found: Tuned | None, *rows: str) -> Board:
    board = Board(name="toys", methods={name: NamedComponent(name, name) for name in rows})
    return with_tuned(board, found) if found else board


@pytest.fixture
def table_of(make_record: Make) -> Callable[..., Table]:
    """Build the table of rows; those named in `idle` are not trained."""

    def table(tuning: TableTuning, rows: Sequence[str], idle: Sequence[str] = ()) -> Table:
        records = [make_record(row, "knn", 0, 0.5) for row in (*rows, *idle)]
        for record in records[len(rows) :]:
            record["doc"]["embed"]["pretrain"]["recipe"]["epochs"] = 0
        (built,) = build(entries_of(map(record_from_json, records)), tuning=tuning)
        return built

    return table


def tuning_lines(table: Table) -> list[str]:
    return [
        line
        for line in table.footer
        if line.startswith(("Tuned", "Not t", "Budgets differ", "Metrics differ", "Trials that"))
    ]


def test_a_board_whose_rows_had_the_same_chance_says_how_they_were_tuned(table_of: Callable[..., Table]) -> None:
    board = board_of(tuned(nac=ROW, vae=ROW), "nac", "vae", "pixels")
    table = table_of(TableTuning(board), ["nac", "vae"], ["pixels"])
    assert tuning_lines(table) == [
        "Tuned: each row is the best of 12 trials on a held-out 20 % of train, by knn top1; labels of the held-out "
        f"part chose.{TRIALS}",
        "Not trained, so nothing is tuned: pixels.",
    ]
    assert sorted(row.label for row in table.rows if row.kind != "chance") == ["nac", "pixels", "vae"]


def test_rows_with_another_budget_are_marked_and_listed(table_of: Callable[..., Table]) -> None:
    few = replace(ROW, trials=3, best=0, tried=ROW.tried[:3])
    long = replace(ROW, epochs=80)
    board = board_of(tuned(nac=ROW, vae=ROW, sela=few, dim=long), "nac", "vae", "sela", "dim", "mine")
    table = table_of(TableTuning(board), ["nac", "vae", "sela", "dim", "mine"])
    assert {row.label for row in table.rows} >= {"nac", "vae", "sela (3 trials)", "dim", "mine (untuned)"}
    assert tuning_lines(table)[1] == (
        f"Budgets differ: dim: {USUAL.replace('40', '80')}; mine: not tuned; sela: {USUAL.replace('12', '3', 1)}; "
        f"all others: {USUAL}."
    )


def test_a_row_that_metrics_of_no_family_chose_is_listed(table_of: Callable[..., Table]) -> None:
    tuning = Tuning(metrics={"features": ("knn:top1",), "generators": ("distribution:frechet",)})
    both = replace(ROW, metrics=("distribution:frechet", "knn:top1"))
    other = replace(ROW, metrics=("linear:top1",))
    board = board_of(tuned(tuning, nac=ROW, vae=both, dim=other), "nac", "vae", "dim")
    lines = tuning_lines(table_of(TableTuning(board), ["nac", "vae", "dim"]))
    assert lines[0].startswith(
        "Tuned: each row is the best of 12 trials on a held-out 20 % of train, by knn top1 (features) and distribution "
        "frechet (generators), rows of several by the mean rank; labels of the held-out part chose."
    )
    assert lines[1:] == ["Metrics differ from the board's: dim by linear top1."]


def test_rows_that_changed_since_and_failed_trials_are_named(table_of: Callable[..., Table]) -> None:
    board = board_of(tuned(nac=replace(ROW, trials=10), vae=ROW), "nac", "vae")
    lines = tuning_lines(table_of(TableTuning(board, changed=["vae", "gone"]), ["nac", "vae"]))
    assert lines[1:] == [
        "Tuned before the row or its search space changed: vae.",
        "Trials that failed, and count as tried: 2 of nac.",
    ]


def test_generators_alone_are_not_chosen_by_labels() -> None:
    tuning = Tuning(metrics={"generators": ("distribution:frechet",)})
    (first, _) = tuned_sentences(tuned(tuning, gan=replace(ROW, metrics=("distribution:frechet",))))
    assert first.endswith("by distribution frechet; the held-out part chose.")


def test_a_board_without_tuning_says_so_only_where_it_could_be_tuned(table_of: Callable[..., Table]) -> None:
    board = board_of(None, "nac")
    assert tuning_lines(table_of(TableTuning(board), ["nac"])) == []
    assert tuning_lines(table_of(TableTuning(replace(board, tuning=Tuning(trials=5))), ["nac"])) == [
        "Not tuned: every row has the board's values."
    ]


def test_what_was_chosen_is_said_with_its_budget() -> None:
    assert chosen_text(ROW) == "flip = 0.3; best of 12 trials by knn top1"
    several = replace(ROW, values={}, metrics=("knn:top1", "linear:top1"), tried=ROW.tried[:1])
    assert chosen_text(several) == (
        "the row as the board has it; best of 1 trial by the mean rank in knn top1 and linear top1"
    )
    assert budget_text(replace(ROW, epochs=None, seeds=(0, 1), datasets={})) == (
        "12 trials of the board's epochs, 2 seeds, scored on 20 % of train"
    )
