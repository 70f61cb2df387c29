"""Chains over the folds of one data set are one row of a table, the mean of all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.frames import tidy
from bench_core.store.record import record_from_json

Make = Callable[..., Any]


def of_fold(make_record: Make, fold: int, value: float, seed: int = 0, method: str = "supervised") -> dict[str, Any]:
    record = make_record(method, "linear", seed, value, uses_labels=True)
    record["names"]["fold"] = str(fold)
    dataset = record["doc"]["embed"]["pretrain"]["dataset"]
    dataset["config"] = {**dataset.get("config", {}), "fold": fold}
    record["key"] = f"{seed}{fold}{method}".ljust(64, "0")
    return record  # type: ignore[no-any-return]  # a plain JSON object


def test_a_mean_over_some_of_the_folds_is_no_number(make_record: Make) -> None:
    records = [of_fold(make_record, fold, 0.5) for fold in range(2)]
    for record in records:
        record["names"]["fold"] += " of 3"
    [joined] = in_one_entry(entries(records))
    assert (joined.state, joined.reason, joined.record) == ("missing", "2 of 3 folds are done", None)


def entries(records: list[dict[str, Any]]) -> list[Entry]:
    return entries_of(map(record_from_json, records))


def test_scores_are_means_over_the_folds_of_a_seed(make_record: Make) -> None:
    records = [of_fold(make_record, fold, value) for fold, value in enumerate((0.5, 0.75, 1.0))]
    [joined] = in_one_entry(entries(records))
    assert joined.record is not None
    [score] = joined.record.scores.values()
    assert score.value == pytest.approx(0.75)
    assert joined.state == "done"
    assert "fold" not in joined.names
    assert "mean of 3 folds" in joined.record.notes[-1]
    assert joined.record.items == {}


def test_seeds_and_rows_stay_apart_and_other_entries_as_they_are(make_record: Make) -> None:
    records = [of_fold(make_record, fold, 0.5, seed) for seed in (0, 1) for fold in (0, 1)]
    records.append(of_fold(make_record, 0, 0.9, method="other"))
    records.append(make_record("nac", "linear", 0, 0.4))
    joined = in_one_entry(entries(records))
    assert [(entry.names["method"], entry.seed) for entry in joined] == [
        ("nac", 0),
        ("other", 0),
        ("supervised", 0),
        ("supervised", 1),
    ]
    assert in_one_entry(joined) == joined


def test_seconds_are_those_of_all_folds(make_record: Make) -> None:
    records = [of_fold(make_record, fold, 0.5) for fold in range(2)]
    records[0]["cost"]["pretrain_s"], records[1]["cost"]["pretrain_s"] = 2.0, 3.0
    records[0]["cost"]["peak_memory_gib"], records[1]["cost"]["peak_memory_gib"] = 1.0, 2.0
    [joined] = in_one_entry(entries(records))
    assert joined.record is not None
    assert joined.record.cost.pretrain_s == 5.0
    assert joined.record.cost.peak_memory_gib == 1.5


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        ("missing", "", "2 of 3 folds are done"),
        ("failed", "oom", "2 of 3 folds are done; oom"),
        ("skipped", "needs nodes", "needs nodes"),
    ],
)
def test_a_fold_that_is_not_done_leaves_the_row_without_a_number(
    make_record: Make, state: Any, reason: str, shown: str
) -> None:
    folds = entries([of_fold(make_record, fold, 0.5) for fold in range(3)])
    folds[1] = replace(folds[1], state=state, reason=reason, record=None)
    [joined] = in_one_entry(folds)
    assert (joined.state, joined.reason, joined.record) == (state, shown, None)


def test_a_table_shows_one_row_in_the_table_of_the_whole_set(make_record: Make) -> None:
    records = [of_fold(make_record, fold, value, seed) for seed in range(3) for fold, value in enumerate((0.5, 0.7))]
    whole = make_record("nac", "linear", 0, 0.4)
    dataset = whole["doc"]["embed"]["pretrain"]["dataset"]
    dataset["config"] = {**dataset.get("config", {}), "fold": None}
    [table] = build(entries([*records, whole]))
    assert [row.label for row in table.rows if row.kind != "chance"] == ["supervised (labels)", "nac"]
    assert table.rows[0].cells[0].text.startswith("60.0")


def test_raw_scores_say_which_fold_they_are_of(make_record: Make) -> None:
    folds = [of_fold(make_record, fold, 0.5) for fold in range(2)]
    frame = tidy(map(record_from_json, [*folds, make_record("nac", "linear", 0, 0.4)]))
    assert frame.loc[frame["method"] == "supervised", "fold"].tolist() == ["0", "1"]
    assert frame.loc[frame["method"] == "nac", "fold"].tolist() == [""]
