import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench_core.errors import UnknownNameError
from bench_core.evaluation.intervals import bootstrap_mean, t_halfwidth, wilson
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry, State, entries_of
from bench_core.reports.tables.frames import wide
from bench_core.reports.tables.model import Row, Table, TableCell
from bench_core.store.record import Document, record_from_json

Make = Callable[..., dict[str, Any]]


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


def row(table: Table, name: str) -> Row:
    [matching] = [row for row in table.rows if row.name == name]
    return matching


def cell(table: Table, name: str, column: str) -> TableCell:
    [position] = [i for i, c in enumerate(table.columns) if c.name == column]
    return row(table, name).cells[position]


def order(table: Table) -> list[str]:
    return [row.name for row in table.rows if row.kind != "chance"]


def bold(table: Table, column: str) -> set[str]:
    return {row.name for row in table.rows if cell(table, row.name, column).bold}


def not_done(state: State, method: str, task: str, seed: int, reason: str = "") -> Entry:
    names = {"dataset": "digits", "encoder": "convnet", "method": method, "task": task}
    return Entry(names, seed, state, reason)


@pytest.fixture
def one_table(make_record: Make) -> Callable[..., Table]:
    """Return a function that builds a table from {method: {task: values, one for each seed}} and further entries."""

    def make(values: Mapping[str, Mapping[str, list[float]]], *others: Entry, **options: Any) -> Table:
        records = [
            make_record(method, task, seed, value)
            for method, tasks in values.items()
            for task, by_seed in tasks.items()
            for seed, value in enumerate(by_seed)
        ]
        [table] = build([*entries_from(records), *others], **options)
        return table

    return make


def test_a_cell_is_mean_and_t_half_width_over_seeds_in_per_cent(one_table: Callable[..., Table]) -> None:
    values = [0.81, 0.815, 0.808]
    table = one_table({"nac": {"linear": values}})
    shown = cell(table, "nac", "linear")
    assert (shown.mean, shown.halfwidth, shown.n) == (fmean(values), t_halfwidth(values), 3)
    assert shown.text == "81.1 ± 0.9"
    assert table.columns[0].title == "linear top1 % ↑ (n = 3)"


def test_a_row_that_lacks_seeds_of_its_column_shows_how_many_it_has(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {"a": {"t": [0.5, 0.6, 0.7]}, "b": {"t": [0.1, 0.2, 0.3]}, "c": {"t": [0.4, 0.5]}, "d": {"t": [0.9]}}
    )
    assert table.columns[0].seeds == 3
    assert "seeds" not in cell(table, "a", "t").text
    assert cell(table, "c", "t").text == "45.0 (2 of 3 seeds)"
    assert cell(table, "d", "t").text == "90.0 (1 of 3 seeds)"
    assert [cell(table, m, "t").ranked for m in "abcd"] == [True, True, False, False]
    assert "A cell of 1 seed or 2 seeds has no interval over seeds." in table.footer
    assert "A row that lacks a seed of a column (2 of 5 seeds) is neither ranked nor bold there." in table.footer


@pytest.mark.parametrize("planned", [True, False])
def test_row_that_failed_at_the_hard_seeds_is_neither_first_nor_bold(make_record: Make, planned: bool) -> None:
    survivor, whole = [0.885, 0.884], [0.900, 0.899, 0.510, 0.520, 0.511]  # it loses at every seed that both have
    records = [make_record("survivor", "t", seed, value) for seed, value in enumerate(survivor)]
    records += [make_record("whole", "t", seed, value) for seed, value in enumerate(whole)]
    others = [not_done("failed", "survivor", "t", seed, "error: diverged") for seed in (2, 3, 4)]
    [table] = build([replace(entry, planned=planned) for entry in [*entries_from(records), *others]], sort="t")
    assert cell(table, "survivor", "t").text == "88.5 (2 of 5 seeds)"
    assert cell(table, "whole", "t").text.startswith("66.8 ± ")
    assert bold(table, "t") == {"whole"}
    assert order(table) == ["whole", "survivor"]
    assert [cell(table, "survivor", column).text for column in ("mean", "mean rank")] == ["", ""]
    assert cell(table, "whole", "mean rank").text == "1.00"
    assert table.notes == ("seeds 2, 3, 4 failed: error: diverged",)


def test_column_of_a_plan_needs_every_seed_of_the_plan(make_record: Make) -> None:
    records = [make_record(m, "t", s, 0.5 + s / 100) for m in ("a", "b") for s in (0, 1, 2)]
    missing = [not_done("missing", m, "t", 3) for m in ("a", "b")]
    [table] = build([replace(entry, planned=True) for entry in [*entries_from(records), *missing]])
    assert table.columns[0].title == "t top1 % ↑ (n = 4)"
    assert cell(table, "a", "t").text == "51.0 ± 2.5 (3 of 4 seeds)"
    assert (bold(table, "t"), cell(table, "a", "mean rank").text) == (set(), "")
    [table] = build(entries_from(records))
    assert (bold(table, "t"), cell(table, "a", "mean rank").text) == ({"a", "b"}, "1.50")


def test_seeds_beyond_those_that_most_rows_have_do_not_count(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"t": [0.5, 0.6, 0.7, 0.1]}, "b": {"t": [0.4, 0.5, 0.7]}, "c": {"t": [0.3, 0.4, 0.5]}})
    assert cell(table, "a", "t").mean == pytest.approx(0.6)
    assert cell(table, "a", "t").n == 3
    assert table.notes == ("seed 3 beyond those that most rows have (0, 1, 2)",)
    assert cell(table, "a", "mean rank").text == "1.00"


def test_row_without_any_seed_of_its_column_shows_its_mean_and_is_not_ranked(make_record: Make) -> None:
    records = [make_record(m, "t", s, 0.5) for m in ("a", "b") for s in (0, 1, 2)]
    records += [make_record("c", "t", s, 0.9) for s in (7, 8, 9)]
    [table] = build(entries_from(records))
    assert cell(table, "c", "t").text == "90.0 ± 0.0 (0 of 3 seeds)"
    assert cell(table, "c", "t").ranked is False
    assert table.notes == ("seeds 7, 8, 9 beyond those that most rows have (0, 1, 2)",)


def test_one_seed_has_no_interval_over_seeds_and_nothing_is_bold(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"t": [0.9]}, "b": {"t": [0.1]}})
    assert cell(table, "a", "t").text == "90.0"
    assert cell(table, "a", "t").halfwidth is None
    assert not any(cell.bold for row in table.rows for cell in row.cells)
    assert table.columns[0].title == "t top1 % ↑ (n = 1)"
    assert "A cell of 1 seed has no interval over seeds." in table.footer
    assert "Below 3 seeds nothing is bold." in table.footer


def test_two_seeds_have_no_interval_and_nothing_is_bold(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"t": [0.4195, 0.5545]}, "b": {"t": [0.1, 0.1]}})
    assert cell(table, "a", "t").text == "48.7"  # not "48.7 ± 85.8"
    assert not any(cell.bold or cell.halfwidth for row in table.rows for cell in row.cells)


@pytest.mark.parametrize(
    ("values", "interval"),
    [([True] * 47 + [False], wilson(47, 48)), ([0.2, 0.9, 0.4, 0.5], bootstrap_mean(np.array([0.2, 0.9, 0.4, 0.5])))],
)
def test_cell_of_one_seed_has_the_interval_over_its_test_items(
    make_record: Make, packed: Make, values: list[Any], interval: tuple[float, float]
) -> None:
    one, three = (make_record(m, "t", 0, fmean(values), items={"top1": packed(values)}) for m in ("one", "three"))
    more = [make_record("three", "t", s, 0.5, items={"top1": packed(values)}) for s in (1, 2)]
    [table] = build(entries_from([one, three, *more]))
    shown = cell(table, "one", "t")
    low, high = interval
    assert [shown.low, shown.high] == pytest.approx([low, high])
    assert shown.halfwidth is None
    assert shown.text == f"{100 * fmean(values):.1f} [{100 * low:.1f}, {100 * high:.1f}] (1 of 3 seeds)"
    assert (cell(table, "three", "t").low, "[" in cell(table, "three", "t").text) == (None, False)
    assert any(line.startswith("Brackets at one seed: 95 % interval over test items") for line in table.footer)


def test_best_row_and_rows_not_told_from_it_are_bold(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {
            "a": {"t": [0.80, 0.82, 0.81]},
            "b": {"t": [0.81, 0.80, 0.80]},  # a is ahead by -1, 2, 1 points
            "c": {"t": [0.70, 0.72, 0.71]},  # a is ahead by 10 at every seed
        }
    )
    assert bold(table, "t") == {"a", "b"}
    assert bold(table, "mean") == {"a", "b"}
    assert bold(table, "mean rank") == set()


def test_a_row_with_labels_is_shown_marked_and_neither_bold_nor_ranked(make_record: Make) -> None:
    records = [
        make_record(m, "t", s, v + s / 100, uses_labels=m == "supervised")
        for m, v in (("supervised", 0.9), ("nac", 0.5), ("random", 0.2))
        for s in (0, 1, 2)
    ]
    [table] = build(entries_from(records))
    assert row(table, "supervised").label == "supervised (labels)"
    assert cell(table, "supervised", "t").text.startswith("91.0")
    assert cell(table, "supervised", "mean").mean == pytest.approx((0.91 - 0.1) / 0.9)
    assert bold(table, "t") == {"nac"}
    assert cell(table, "supervised", "mean rank").text == ""
    assert [cell(table, m, "mean rank").text for m in ("nac", "random")] == ["1.00", "2.00"]
    assert order(table) == ["nac", "random", "supervised"]
    assert "Trained with labels, for reference, neither bold nor ranked: supervised." in table.footer


def test_the_mean_is_blank_where_a_task_is_missing(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {
            "complete": {"t1": [0.6, 0.62], "t2": [0.5, 0.54], "t3": [0.1, 0.12]},
            "partial": {"t1": [0.7, 0.7], "t2": [0.7, 0.7]},
        }
    )
    shown = cell(table, "complete", "mean")
    assert shown.mean == pytest.approx(fmean((v - 0.1) / 0.9 for v in (0.6, 0.62, 0.5, 0.54, 0.1, 0.12)))
    assert cell(table, "partial", "mean").text == ""
    assert cell(table, "partial", "mean rank").text == ""
    assert [cell(table, m, "tasks").text for m in ("complete", "partial")] == ["3/3", "2/3"]
    assert order(table) == ["complete", "partial"]


def test_the_mean_takes_the_seeds_that_every_column_has(one_table: Callable[..., Table]) -> None:
    by_task = {"t1": [0.6, 0.7, 0.8, 0.9], "t2": [0.4, 0.5, 0.9]}
    table = one_table({"a": by_task, "b": {"t1": [0.1] * 4, "t2": [0.1] * 3}})
    by_seed = [fmean([(x - 0.1) / 0.9, (y - 0.1) / 0.9]) for x, y in zip(*by_task.values(), strict=False)]
    assert cell(table, "a", "mean").mean == pytest.approx(fmean(by_seed))
    assert cell(table, "a", "mean").n == 3
    assert cell(table, "a", "mean").halfwidth == pytest.approx(t_halfwidth(by_seed))


def test_row_that_lacks_a_seed_of_one_task_has_no_mean(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"t1": [0.6] * 3, "t2": [0.9] * 2}, "b": {"t1": [0.2] * 3, "t2": [0.2] * 3}})
    assert [cell(table, "a", column).text for column in ("mean", "mean rank")] == ["", ""]
    assert [cell(table, "b", column).text for column in ("mean", "mean rank")] == ["11.1 ± 0.0", "1.00"]


def test_the_mean_is_relative_to_chance_and_to_the_best_value_possible(make_record: Make, make_score: Make) -> None:
    records = []
    for method, accuracy, chance, error in (("a", 0.55, 0.1, 1.0), ("b", 0.3, 0.2, 2.3), ("c", 0.1, 0.1, 2.0)):
        of_error = make_score("error", error, unit="nats", higher_is_better=False, chance=2.0, best=0.5)
        records.append(make_record(method, "t", 0, [make_score("top1", accuracy, chance=chance)]))
        records.append(make_record(method, "u", 0, [of_error]))
    [table] = build(entries_from(records))
    assert cell(table, "a", "mean").mean == pytest.approx(((0.55 - 0.1) / 0.9 + (1.0 - 2.0) / (0.5 - 2.0)) / 2)
    assert cell(table, "b", "mean").mean == pytest.approx(((0.3 - 0.2) / 0.8 + (2.3 - 2.0) / (0.5 - 2.0)) / 2)
    assert cell(table, "c", "mean").text == "0.0"  # chance everywhere
    assert cell(table, "chance", "mean") == TableCell(text="0.0", mean=0.0)
    [alone] = build(entries_from(records[:2]))
    assert cell(alone, "a", "mean") == cell(table, "a", "mean")  # it does not depend on the other rows
    assert any("over t, u; 0 is chance, 100 the best possible" in line for line in table.footer)


@pytest.mark.parametrize(
    "score",
    [
        {"unit": "nats", "chance": 0.1},  # no best value
        {"unit": "fraction", "chance": None},
        {"unit": "fraction", "chance": 0.3, "higher_is_better": False},  # less is better, and the best is not declared
        {"unit": "fraction", "chance": 1.0},  # nothing is better than chance
        {"unit": "fraction", "chance": 0.5, "best": 0.4},
        {"unit": "fraction", "chance": 0.5, "best": 0.6, "higher_is_better": False},
    ],
)
def test_task_without_chance_or_best_value_leaves_the_table_without_a_mean(
    make_record: Make, make_score: Make, score: dict[str, Any]
) -> None:
    records = [make_record("a", "t", 0, 0.5), make_record("a", "u", 0, [make_score("x", 0.3, **score)])]
    [table] = build(entries_from(records))
    assert [column.name for column in table.columns[:3]] == ["t", "u", "mean rank"]


def test_mean_rank_equals_scipy(one_table: Callable[..., Table]) -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(6, 3)) / 4  # methods x tasks, with ties
    table = one_table({f"m{i}": {f"t{j}": [float(scores[i, j])] for j in range(3)} for i in range(len(scores))})
    expected = stats.rankdata(-scores, axis=0).mean(axis=1)
    assert [cell(table, f"m{i}", "mean rank").mean for i in range(6)] == pytest.approx(expected.tolist())


def test_mean_rank_compares_complete_rows_only(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {
            "a": {"t1": [0.5], "t2": [0.9]},
            "b": {"t1": [0.4], "t2": [0.8]},
            "partial": {"t1": [0.9]},
        }
    )
    assert [cell(table, m, "mean rank").text for m in ("a", "b", "partial")] == ["1.00", "2.00", ""]
    assert any("Among the rows that are ranked in all of them (2)." in line for line in table.footer)


def test_six_readings_of_one_structure_count_once_in_the_mean_rank(make_record: Make) -> None:
    values = {"a": [0.9, 0.9, 0.8, 0.1], "b": [0.8, 0.8, 0.9, 0.9], "c": [0.7, 0.7, 0.7, 0.5]}
    tasks = [("linear", "classification"), ("knn", "classification"), ("fewshot", "classification"), ("map", "own")]
    records = []
    for method, by_task in values.items():
        for (task, family), value in zip(tasks, by_task, strict=True):
            records.append(make_record(method, task, 0, value, family=family))
    [table] = build(entries_from(records))
    ranks = {"a": fmean([(1 + 1 + 2) / 3, 3]), "b": fmean([(2 + 2 + 1) / 3, 1]), "c": fmean([3, 2])}
    assert {m: cell(table, m, "mean rank").mean for m in "abc"} == pytest.approx(ranks)
    assert order(table) == ["b", "a", "c"]  # over tasks a and b would be at 1.75 and 1.5, c at 2.75
    assert (
        "Mean rank: over 2 families: classification (linear, knn, fewshot), own (map). A family's rank is the mean "
        "over its tasks. Among the rows that are ranked in all of them (3)."
    ) in [line.replace("fewshot, knn, linear", "linear, knn, fewshot") for line in table.footer]


def test_all_metrics_and_families_leave_mean_and_mean_rank_as_they_are(make_record: Make, make_score: Make) -> None:
    records = []
    for method, (top1, top5, found) in {"a": (0.9, 0.1, 0.3), "b": (0.8, 0.2, 0.4), "c": (0.7, 0.3, 0.2)}.items():
        scores = [make_score("top1", top1), make_score("top5", top5)]
        records.append(make_record(method, "linear", 0, scores, family="classification"))
        records.append(make_record(method, "retrieval", 0, found, family="retrieval"))
    [table], [every] = build(entries_from(records)), build(entries_from(records), every=True)
    names = [column.name for column in every.columns]
    ranks = ["rank in classification", "rank in retrieval"]
    assert names[:7] == ["linear:top1", "linear:top5", "retrieval", "mean", "mean rank", *ranks]
    for name in ("mean", "mean rank", "tasks", "pretrain"):
        assert [cell(table, row, name) for row in "abc"] == [cell(every, row, name) for row in "abc"]
    assert [cell(every, row, name).mean for row in "abc" for name in ranks] == [1, 2, 2, 1, 3, 3]
    assert order(table) == order(every)


def test_tasks_of_old_records_have_the_family_that_the_task_has_since(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"knn": [0.5], "linear": [0.6], "t": [0.7]}})
    assert any("over 2 families: classification (knn, linear), t." in line for line in table.footer)


@pytest.mark.parametrize("of_old_record", [True, False])
def test_task_that_measures_no_quality_is_shown_and_counts_for_nothing(make_record: Make, of_old_record: bool) -> None:
    task, says = ("linear_regions", {}) if of_old_record else ("regions", {"ranks": False})
    records = [make_record(m, "knn", s, v) for m, v in (("a", 0.9), ("b", 0.4)) for s in range(3)]
    records += [make_record(m, task, s, v, **says) for m, v in (("a", 0.2), ("b", 0.8)) for s in range(3)]
    [table] = build(entries_from(records))
    assert [cell(table, m, task).text for m in "ab"] == ["20.0 ± 0.0", "80.0 ± 0.0"]
    assert (bold(table, task), bold(table, "knn")) == (set(), {"a"})
    assert [cell(table, m, "mean rank").text for m in "ab"] == ["1.00", "2.00"]
    assert cell(table, "b", "mean").mean == pytest.approx((0.4 - 0.1) / 0.9)
    assert f"No measure of quality by itself, so neither bold nor counted: {task}." in table.footer


def test_score_that_does_not_rank_is_shown_marked_and_its_row_has_no_mean(make_record: Make, make_score: Make) -> None:
    def scores(value: float, **fields: Any) -> list[dict[str, Any]]:
        return [make_score("map", value, **fields)]

    records = [make_record(m, "hash", s, scores(v)) for m, v in (("a", 0.5), ("b", 0.4)) for s in range(3)]
    records += [make_record("itq", "hash", s, scores(0.3, caveat="code by ITQ, not learned")) for s in range(3)]
    records += [make_record("long", "hash", s, scores(0.9, ranks=False, caveat="128 bits")) for s in range(3)]
    [table] = build(entries_from(records), sort="hash")
    assert order(table) == ["a", "b", "itq", "long"]
    assert cell(table, "itq", "hash").text == "30.0 ± 0.0 †"
    assert cell(table, "long", "hash").text == "90.0 ± 0.0 †"
    assert bold(table, "hash") == {"a"}
    assert [cell(table, m, "mean rank").text for m in ("a", "b", "itq", "long")] == ["1.00", "2.00", "3.00", ""]
    assert [bool(cell(table, m, "mean").text) for m in ("a", "itq", "long")] == [True, True, False]
    assert "† hash: code by ITQ, not learned (itq)." in table.footer
    assert "† hash: 128 bits; not ranked (long)." in table.footer


def test_a_caveat_stands_once_below_with_the_columns_that_have_it(make_record: Make, make_score: Make) -> None:
    def scores(**fields: Any) -> list[dict[str, Any]]:
        return [make_score("map", 0.5, **fields), make_score("map_at_10", 0.4, **fields), make_score("other", 0.1)]

    records = [make_record("a", "hash", s, scores()) for s in range(3)]
    records += [make_record(m, "hash", s, scores(caveat="code by ITQ")) for m in ("b", "c") for s in range(3)]
    [table] = build(entries_from(records), columns=["hash:*"])
    assert [line for line in table.footer if line.startswith("†")] == ["† map, map_at_10: code by ITQ (b, c)."]


def test_score_without_a_direction_ranks_nobody(make_record: Make, make_score: Make) -> None:
    records = [
        make_record(m, "t", s, [make_score("x", v, higher_is_better=None)])
        for m, v in (("a", 0.9), ("b", 0.1))
        for s in range(3)
    ]
    [table] = build(entries_from(records))
    assert (bold(table, "t"), cell(table, "a", "mean rank").text) == (set(), "")


def test_task_that_a_row_skips_ranks_no_row(make_record: Make) -> None:
    records = [make_record(m, t, 0, v) for t in ("knn", "fid") for m, v in (("vae", 0.5), ("ae", 0.4))]
    records.append(make_record("nac", "knn", 0, 0.9))
    (table,) = build([*entries_from(records), not_done("skipped", "nac", "fid", 0, "cannot decode")])
    assert [cell(table, m, "mean rank").text for m in ("nac", "vae", "ae")] == ["1.00", "2.00", "3.00"]
    assert cell(table, "nac", "mean").mean == pytest.approx((0.9 - 0.1) / 0.9)
    assert "Not counted, as some row skips it: fid." in table.footer


def test_table_of_one_task_has_all_its_metrics_and_no_other_columns(make_record: Make, make_score: Make) -> None:
    scores = [make_score("top1", 0.5), make_score("fid", 3.0, unit="", higher_is_better=False)]
    records = [make_record("nac", "knn", 0, scores), make_record("nac", "linear", 0, 0.9)]
    (table,) = build(entries_from(records), columns=["knn:*"])
    assert [column.title for column in table.columns] == ["top1 % ↑ (n = 1)", "fid ↓ (n = 1)"]
    assert [cell(table, "nac", column).mean for column in ("top1", "fid")] == [0.5, 3.0]
    assert not any("Mean rank" in line or "linear" in line for line in table.footer)
    with pytest.raises(UnknownNameError, match=r"no task named 'kn'; did you mean 'knn'\?"):
        build(entries_from(records), columns=["kn:*"])


def test_lower_is_better_points_down_and_turns_bold_rank_and_order(make_record: Make, make_score: Make) -> None:
    records = [
        make_record(m, "fid", s, [make_score("fid", v + s, unit="", higher_is_better=False, chance=None)])
        for m, v in (("bad", 130.0), ("good", 10.0))
        for s in (0, 1, 2)
    ]
    [table] = build(entries_from(records))
    assert table.columns[0].title == "fid fid ↓ (n = 3)"
    assert bold(table, "fid") == {"good"}
    assert order(table) == ["good", "bad"]
    assert cell(table, "good", "fid").text == "11.0 ± 2.5"
    assert cell(table, "bad", "mean rank").text == "2.00"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.6, "1235"), (12.3456, "12.35"), (0.0123456, "0.01235"), (0.0, "0.0"), (1.5e-7, "1.5e-07"), (-2.5, "-2.500")],
)
def test_other_units_show_four_figures(make_record: Make, make_score: Make, value: float, text: str) -> None:
    [table] = build(
        entries_of(
            map(record_from_json, [make_record("m", "t", 0, [make_score("x", value, unit="nats", chance=None)])])
        )
    )
    assert cell(table, "m", "t").text == text
    assert table.columns[0].title == "t x nats ↑ (n = 1)"


def test_a_small_negative_is_not_shown_as_minus_zero(one_table: Callable[..., Table]) -> None:
    assert cell(one_table({"a": {"t": [-0.0001]}}), "a", "t").text == "0.0"


def test_cells_without_numbers_give_the_reason(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {"a": {"t": [0.5, 0.6]}},
        *[not_done("skipped", "b", "t", s, "needs classes") for s in (0, 1)],
        *[not_done("failed", "c", "t", s, "error: boom") for s in (0, 1)],
        *[not_done("stale", "d", "t", s, "revision 1, now 2") for s in (0, 1)],
        *[not_done("missing", "e", "t", s) for s in (0, 1)],
        not_done("skipped", "f", "t", 0, "needs classes"),
        not_done("failed", "g", "t", 0),
    )
    shown = {r.name: (r.cells[0].text, r.cells[0].note) for r in table.rows if r.kind == "method"}
    assert shown == {
        "a": ("55.0", None),
        "b": ("–", 1),  # noqa: RUF001  # an en dash is meant
        "c": ("failed", 2),
        "d": ("stale", 3),
        "e": ("", None),
        "f": ("–", 1),  # noqa: RUF001  # an en dash is meant
        "g": ("failed", 4),
    }
    assert table.notes == ("needs classes", "error: boom", "revision 1, now 2", "no reason on record")
    assert [cell(table, m, "tasks").text for m in "ab"] == ["1/1", "0/1"]


def test_cell_notes_the_seeds_that_are_missing(one_table: Callable[..., Table]) -> None:
    table = one_table(
        {"a": {"t": [0.5, 0.6]}},
        not_done("failed", "a", "t", 4, "oom"),
        not_done("failed", "a", "t", 3, "oom"),
        not_done("stale", "a", "t", 2, "revision 1"),
    )
    assert cell(table, "a", "t").n == 2
    assert table.notes == ("seeds 3, 4 failed: oom; seed 2 stale: revision 1",)


def stale(make: Make, method: str, task: str, seed: int, scores: Any, **fields: Any) -> Entry:
    record = record_from_json(make(method, task, seed, scores, **fields))
    return Entry(record.names, seed, "stale", "task.revision was 1, is 2", record, planned=True)


def test_stale_number_is_shown_marked_and_counts_for_nothing(make_record: Make) -> None:
    records = [make_record(m, "t", s, v) for m, v in (("a", 0.5), ("b", 0.4)) for s in range(3)]
    old = [stale(make_record, "old", "t", s, 0.9) for s in range(3)]
    [table] = build([*(replace(entry, planned=True) for entry in entries_from(records)), *old])
    shown = cell(table, "old", "t")
    assert (shown.text, shown.state, shown.reason) == ("90.0 (stale)", "stale", "task.revision was 1, is 2")
    assert (shown.mean, shown.halfwidth, shown.bold) == (None, None, False)
    assert [cell(table, "old", column).text for column in ("mean", "mean rank", "tasks")] == ["", "", "0/1"]
    assert order(table) == ["a", "b", "old"]
    assert bold(table, "t") == {"a"}
    assert "Stale: a number of an older revision, neither ranked nor bold, and in no mean." in table.footer
    assert wide([table]).set_index("method")["t"].isna().to_dict() == {
        "a": False,
        "b": False,
        "old": True,
        "chance": False,
    }


def test_column_of_which_all_is_stale_keeps_its_numbers_and_counts_for_nobody(make_record: Make) -> None:
    entries = [replace(e, planned=True) for e in entries_from([make_record("a", "t", s, 0.5) for s in range(3)])]
    entries += [stale(make_record, "a", "u", s, 0.9) for s in range(3)]
    [table] = build(entries)
    assert table.columns[1].title == "u top1 % ↑"
    assert cell(table, "a", "u").text == "90.0 (stale)"
    assert [cell(table, "a", column).text for column in ("mean", "mean rank")] == ["44.4 ± 0.0", "1.00"]
    [of_metric] = build(entries, columns=["u:top1"])
    assert cell(of_metric, "a", "u").text == "90.0 (stale)"


def test_footer_tells_how_stale_numbers_were_made(make_record: Make) -> None:
    old = [stale(make_record, "a", "u", s, 0.9) for s in range(3)]
    [table] = build(old)
    assert "No records." not in table.footer
    assert table.footer[0].startswith("u (stale): ")
    assert "Seeds: 0, 1, 2." in table.footer
    assert table.footer[-1].startswith("Stale records: 3")
    [mixed] = build([*entries_from([make_record("a", "t", seed, 0.5) for seed in range(3)]), *old])
    assert [line for line in mixed.footer if line.startswith("u (stale): ")]
    assert mixed.footer[-2].startswith("Records: 3, newest")


def test_row_of_which_some_seeds_are_stale_is_measured_at_the_others(make_record: Make) -> None:
    records = [make_record("a", "t", s, 0.5) for s in range(2)]
    entries = [replace(entry, planned=True) for entry in entries_from(records)]
    [table] = build([*entries, stale(make_record, "a", "t", 2, 0.9)])
    assert cell(table, "a", "t").text == "50.0 (2 of 3 seeds)"
    assert table.notes == ("seed 2 stale: task.revision was 1, is 2",)


def test_stale_record_shows_its_value_of_the_metric_that_the_column_has_now(
    make_record: Make, make_score: Make
) -> None:
    hamming, cosine = make_score("map_hamming", 0.8), make_score("map_cosine", 0.3)
    new = [replace(e, planned=True) for e in entries_from([make_record("a", "r", 0, [cosine, hamming])])]
    both = stale(make_record, "b", "r", 0, [hamming, cosine])
    one = stale(make_record, "c", "r", 0, [hamming])
    [table] = build([*new, both, one])
    assert table.columns[0].metric == "map_cosine"
    assert [cell(table, m, "r").text for m in "abc"] == ["30.0", "30.0 (stale)", "stale"]


def test_a_number_that_is_not_finite_is_a_failure(one_table: Callable[..., Table]) -> None:
    table = one_table({"a": {"t": [float("nan")]}, "b": {"t": [0.5]}})
    assert cell(table, "a", "t").text == "failed"
    assert table.notes == ("top1 is not finite",)
    assert cell(table, "b", "mean rank").text == "1.00"


def test_chance_row_is_last_and_has_ranges_and_blanks(make_record: Make, make_score: Make) -> None:
    records = [make_record(m, "t", 0, 0.5) for m in ("z", "a")]
    records += [
        make_record(m, "retrieval", 0, [make_score("map", 0.3, chance=c)]) for m, c in (("z", 0.10), ("a", 0.14))
    ]
    records += [make_record("a", "blank", 0, [make_score("x", 0.3, chance=None)])]
    [table] = build(entries_from(records))
    last = table.rows[-1]
    assert (last.label, last.kind) == ("chance", "chance")
    assert cell(table, "chance", "t") == TableCell(text="10.0", mean=0.1)
    assert cell(table, "chance", "retrieval").text == "10.0–14.0"  # noqa: RUF001  # an en dash is meant
    assert cell(table, "chance", "blank").text == ""
    assert cell(table, "chance", "mean rank").text == ""


def test_table_without_chance_levels_has_no_chance_row(make_record: Make, make_score: Make) -> None:
    [table] = build(entries_from([make_record("a", "t", 0, [make_score("x", 0.3, chance=None)])]))
    assert [row.kind for row in table.rows] == ["method"]


def test_costs_are_medians_over_seeds(make_record: Make) -> None:
    records = [
        make_record("a", task, s, 0.5, cost={"pretrain_s": [1.0, 2.0, 9.0][s], "images_per_s": None})
        for task in ("t", "u")
        for s in range(3)
    ]
    [table] = build(entries_from(records))
    assert cell(table, "a", "pretrain").text == "2.0"
    assert cell(table, "a", "images/s").text == ""
    assert cell(table, "a", "parameters").text == "123456"
    titles = [column.title for column in table.columns if column.kind == "cost"]
    assert titles == ["pretrain s", "images/s", "peak memory GiB", "parameters"]


def test_each_dataset_and_encoder_has_its_own_table(make_record: Make) -> None:
    records = [
        make_record("a", "t", 0, 0.5, names={"dataset": d, "encoder": e}, config={"at": d + e})
        for d in ("digits", "mnist")
        for e in ("convnet", "resnet18")
    ]
    assert [(t.dataset, t.encoder) for t in build(entries_from(records))] == [
        ("digits", "convnet"),
        ("digits", "resnet18"),
        ("mnist", "convnet"),
        ("mnist", "resnet18"),
    ]


def test_different_parameters_never_share_a_row(make_record: Make) -> None:
    entries = [
        Entry(record["names"], s, "done", record=record_from_json(record), document=Document(record["doc"]))
        for s in (0, 1)
        for flip in (0.1, 0.3)
        for record in [make_record("nac", "t", s, flip, config={"flip": flip})]
    ]
    [table] = build(entries)
    assert {r.name: r.cells[0].mean for r in table.rows if r.kind == "method"} == {
        "nac (flip=0.3)": 0.3,
        "nac (flip=0.1)": 0.1,
    }


def test_another_revision_of_a_task_is_another_column(make_record: Make) -> None:
    records = [make_record(m, "t", 0, 0.5, task_revision=r) for m, r in (("a", 1), ("b", 2))]
    [table] = build(entries_from(records))
    assert [c.name for c in table.columns if c.kind == "task"] == ["t (revision=1)", "t (revision=2)"]
    assert [cell(table, m, "mean rank").text for m in ("a", "b")] == ["", ""]


def test_tasks_keep_the_order_of_the_plan(make_record: Make) -> None:
    records = [make_record("a", task, 0, 0.5) for task in ("retrieval", "linear", "knn")]
    [table] = build(
        [Entry(r["names"], 0, "done", record=record_from_json(r), document=Document(r["doc"])) for r in records]
    )
    assert [c.name for c in table.columns if c.kind == "task"] == ["retrieval", "linear", "knn"]


def test_methods_with_different_first_metrics_are_not_mixed(make_record: Make, make_score: Make) -> None:
    cosine, bits = make_score("map_cosine", 0.3), make_score("map_bits", 0.8)
    records = [make_record("nac", "r", 0, [bits, cosine]), make_record("sela", "r", 0, [cosine])]
    [table] = build(entries_from(records))
    assert [c.name for c in table.columns if c.kind == "task"] == ["r:map_bits", "r:map_cosine"]
    assert [c.text for c in row(table, "nac").cells[:2]] == ["80.0", "30.0"]
    assert [c.text for c in row(table, "sela").cells[:2]] == ["–", "30.0"]  # noqa: RUF001  # an en dash is meant
    assert table.notes == ("does not report map_bits",)


@pytest.fixture
def two_metrics(make_record: Make, make_score: Make) -> list[Entry]:
    scores = [make_score("map_bits", 0.8), make_score("map_cosine", 0.3)]
    return entries_from(
        [
            make_record("nac", "linear", 0, 0.5),
            make_record("nac", "retrieval", 0, scores),
            make_record("nac", "ood", 0, [make_score("auroc", 0.7), make_score("map_cosine", 0.2)]),
        ]
    )


def test_a_metric_is_shown_for_all_tasks_that_have_it(two_metrics: list[Entry]) -> None:
    [table] = build(two_metrics, columns=["*:map_cosine"])
    assert [(c.name, c.metric) for c in table.columns if c.kind == "task"] == [
        ("ood", "map_cosine"),
        ("retrieval", "map_cosine"),
    ]
    assert [c.text for c in row(table, "nac").cells[:2]] == ["20.0", "30.0"]
    assert table.footer[-1].startswith("Records: 2,")


def test_a_metric_of_one_task_is_shown_alone(two_metrics: list[Entry]) -> None:
    [table] = build(two_metrics, columns=["retrieval:map_cosine"])
    assert [c.title for c in table.columns if c.kind == "task"] == ["retrieval map_cosine % ↑ (n = 1)"]


@pytest.mark.parametrize("metric", ["retrieval:map_cosin", "linear:map_cosine", "retrieval:", "*:map_cosin"])
def test_an_unknown_metric_is_refused_with_those_that_exist(two_metrics: list[Entry], metric: str) -> None:
    with pytest.raises(UnknownNameError, match="no metric named") as error:
        build(two_metrics, columns=[metric])
    assert error.value.kind == "metric"


def test_a_metric_without_its_task_is_refused_with_how_to_write_it(two_metrics: list[Entry]) -> None:
    with pytest.raises(UnknownNameError, match=r"It is a metric: write it as '\*:map_cosine'"):
        build(two_metrics, columns=["map_cosine"])
    with pytest.raises(UnknownNameError, match=r"no task named 'lineer'; did you mean 'linear'\?"):
        build(two_metrics, columns=["lineer"])


def test_columns_stand_in_the_order_in_which_they_are_named(two_metrics: list[Entry]) -> None:
    [table] = build(two_metrics, columns=["retrieval:map_cosine", "mean", "linear", "retrieval:*"])
    names = ["retrieval:map_cosine", "mean", "linear", "retrieval:map_bits"]
    assert [column.name for column in table.columns] == names
    assert [c.text for c in row(table, "nac").cells] == ["30.0", "33.3", "50.0", "80.0"]
    assert [c.text for c in row(table, "chance").cells] == ["10.0", "0.0", "10.0", "10.0"]


def test_computed_columns_alone_are_of_all_tasks(two_metrics: list[Entry]) -> None:
    [table] = build(two_metrics, columns=["rank", "tasks"])
    assert [column.name for column in table.columns] == ["mean rank", "tasks"]
    assert [c.text for c in row(table, "nac").cells] == ["1.00", "3/3"]


def test_rows_that_are_asked_for_are_ranked_among_themselves(one_table: Callable[..., Table]) -> None:
    values = {name: {"t": [v, v, v]} for name, v in (("a", 0.9), ("b", 0.5), ("c", 0.2))}
    table = one_table(values, methods=["c", "b"])
    assert order(table) == ["b", "c"]
    assert cell(table, "b", "mean rank").text == "1.00"
    with pytest.raises(UnknownNameError, match="no row named 'd'"):
        one_table(values, methods=["d"])


@pytest.mark.parametrize(("decimals", "text"), [(0, "81 ± 1"), (2, "81.10 ± 0.90"), (None, "81.1 ± 0.9")])
def test_scores_have_as_many_decimals_as_are_asked_for(
    one_table: Callable[..., Table], decimals: int | None, text: str
) -> None:
    table = one_table({"nac": {"t": [0.81, 0.815, 0.808]}}, decimals=decimals)
    assert cell(table, "nac", "t").text == text


def test_without_a_board_a_table_is_of_one_dataset_and_names_the_encoders(make_record: Make) -> None:
    def records(method: str, encoder: str, value: float) -> list[dict[str, Any]]:
        made = [make_record(method, "t", s, value, names={"encoder": encoder}) for s in range(3)]
        for record in made:
            record["doc"]["embed"]["pretrain"]["encoder"]["id"] = f"bench-core/{encoder}"
            record["key"] += encoder
        return made

    entries = entries_from([*records("a", "mlp", 0.5), *records("a", "vit", 0.7), *records("b", "vit", 0.6)])
    assert [table.title for table in build(entries)] == ["digits, mlp", "digits, vit"]
    [table] = build(entries, hold_encoder=False)
    assert (table.title, table.heads) == ("digits", ("method", "encoder"))
    assert [(r.label, r.encoder) for r in table.rows] == [("a", "vit"), ("b", "vit"), ("a", "mlp"), ("chance", "")]
    assert list(wide([table])["encoder"]) == ["vit", "vit", "mlp", ""]
    [alone] = build(entries, hold_encoder=False, methods=["b"])
    assert (alone.title, alone.heads) == ("digits, vit", ("method",))


def test_row_with_an_encoder_of_its_own_shows_it_where_no_board_holds_it(make_record: Make) -> None:
    own = [make_record("a", "t", 0, 0.5, names={"own_encoder": "mlp"}), make_record("b", "t", 0, 0.4)]
    [table] = build(entries_from(own), hold_encoder=False)
    assert [(r.label, r.encoder) for r in table.rows][:2] == [("a", "mlp"), ("b", "convnet")]
    [held] = build(entries_from(own))
    assert (held.title, held.heads) == ("digits, convnet", ("method",))


@pytest.fixture
def to_sort() -> dict[str, dict[str, list[float]]]:
    return {
        "a": {"t1": [0.5], "t2": [0.5]},
        "b": {"t1": [0.9], "t2": [0.1]},
        "c": {"t1": [0.7], "t2": [0.9]},
        "d": {"t1": [0.6]},
    }


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (None, "cbad"),  # mean ranks 1.5, 2, 2.5; b before a
        ("t1", "bcda"),
        ("t2", "cabd"),
        ("t2:top1", "cabd"),
        ("method", "abcd"),
        ("mean", "cabd"),  # a and b tie at 50.0
        ("mean_rank", "cbad"),
        ("rank", "cbad"),
        ("tasks", "abcd"),
        ("pretrain_s", "abcd"),
    ],
)
def test_rows_are_sorted_by_any_column(
    one_table: Callable[..., Table], to_sort: Any, sort: str | None, expected: str
) -> None:
    assert "".join(order(one_table(to_sort, sort=sort))) == expected


def test_an_unknown_sort_is_refused_with_the_columns_that_exist(one_table: Callable[..., Table], to_sort: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"'t1'.*mean rank.*method.*t2"):
        one_table(to_sort, sort="t11")


def test_equal_rows_are_sorted_by_name(one_table: Callable[..., Table]) -> None:
    assert order(one_table({m: {"t": [0.5]} for m in ("b", "c", "a")})) == ["a", "b", "c"]


def test_no_entries_make_no_tables() -> None:
    assert build([]) == []


def test_table_without_records_gives_the_reasons() -> None:
    [table] = build([not_done("failed", "a", "t", 0, "error: boom"), not_done("missing", "b", "t", 0)])
    assert table.columns[0].title == "t"
    assert [row.cells[0].text for row in table.rows] == ["failed", ""]
    assert table.footer[-1] == "No records."
    with pytest.raises(UnknownNameError, match="Known: none"):
        build([not_done("missing", "a", "t", 0)], columns=["t:top1"])


def test_footer_tells_how_the_numbers_were_made(make_record: Make) -> None:
    provenance = make_record("a", "t", 0, 0.5)["provenance"]
    records = [make_record("a", "t", s, 0.5, notes=["k capped at 1,257", f"{s} iterations"]) for s in (0, 1)]
    records += [make_record("b", "t", 0, 0.5, protocol="t: other", notes=["k capped at 1,257"])]
    records += [make_record("b", "t", 1, 0.5, provenance={**provenance, "dirty": True, "device": "cuda: X"})]
    records[-1]["doc"]["embed"]["pretrain"]["recipe"] = {"epochs": 1, "batch_size": 2}
    records[-1]["names"]["method"] = "short"
    [table] = build(entries_from(records))
    lines = table.footer
    assert lines[:2] == ("t: t: on test (a, short)", "t: t: other (b)")
    assert "Seeds: 0, 1." in lines
    assert "Recipe of a, b: 20 epochs, batch 128." in lines
    assert "Recipe of short: 1 epoch, batch 2." in lines
    assert "Data: bench-core/digits revision 1, sha256 0123456789ab." in lines
    assert "Devices (mixed: costs do not compare): cpu: Test; cuda: X." in lines
    clean, dirty = "bench 0.1.0 at abcdef01, torch 2.6.0", "bench 0.1.0 at abcdef01 (dirty), torch 2.6.0"
    assert f"Versions (mixed): {dirty}; {clean}." in lines
    assert lines[-1].startswith("Records: 4, newest of 2026-01-02; store hash ")
    [table] = build(entries_from(records[:3]))
    assert "t: k capped at 1,257" in table.footer
    assert not any("iterations" in line for line in table.footer)


def test_footer_tells_where_recipes_come_from_as_far_as_records_know(make_record: Make) -> None:
    recipe = {"optimizer": "adamw", "learning_rate": 3e-3, "epochs": 20, "batch_size": 128}
    shorter = "warmup_epochs 10 -> 0.1, as 20 of 2000 epochs were asked for"
    records = [make_record(method, "t", s, 0.5) for method in ("a", "b", "old") for s in (0, 1)]
    for record in records:
        record["doc"]["embed"]["pretrain"]["recipe"] = dict(recipe)
    records[0]["facts"]["recipe_from"] = "board x"  # the other record of a is older: it has the same recipe
    records[2]["facts"] |= {"recipe_from": "board x", "shortened": shorter}
    records[3]["facts"] |= {"recipe_from": "board x; --epochs", "shortened": shorter}
    [table] = build(entries_from(records))
    recipe_lines = [line for line in table.footer if line.startswith(("Recipe", "Shortened"))]
    assert recipe_lines == [
        "Recipe of a: adamw, rate 0.003, 20 epochs, batch 128 (board x).",
        "Recipe of b: adamw, rate 0.003, 20 epochs, batch 128 (board x or board x; --epochs).",
        "Recipe of old: adamw, rate 0.003, 20 epochs, batch 128.",
        f"Shortened for b: {shorter}.",
    ]
    [table] = build(entries_from(records[4:]))
    assert "Recipe: adamw, rate 0.003, 20 epochs, batch 128." in table.footer


def test_store_hash_depends_on_the_sorted_keys_only(make_record: Make) -> None:
    records = [make_record("a", "t", s, 0.5) for s in (0, 1, 2)]
    [table] = build(entries_from(records))
    [again] = build(entries_from(records[::-1]))
    assert table == again
    [fewer] = build(entries_from(records[:2]))
    assert fewer.footer[-1].split("hash ")[1] != table.footer[-1].split("hash ")[1]


def test_tables_need_no_torch() -> None:
    modules = "bench_core.reports.tables.build, bench_core.reports.tables.render"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
