"""Two rows paired by seed, or all rows by mean rank, with verdicts that the seeds allow."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core.cli.compare import compare as command
from bench_core.errors import RequestError, UnknownNameError
from bench_core.reports.comparison.rows import compare, rank_rows
from bench_core.reports.comparison.text import show_comparison, show_rankings
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
Runs = Callable[..., list[dict[str, Any]]]


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


@pytest.fixture
def runs(make_record: Make, make_score: Make) -> Runs:
    """Return a function: `runs("nac", "linear", [0.9, 0.8])` makes a record for each seed."""

    def make(method: str, task: str, values: Sequence[float], higher: bool = True, **fields: Any) -> list[Any]:
        scores = [[make_score("top1", value, higher_is_better=higher)] for value in values]
        return [make_record(method, task, seed, score, **fields) for seed, score in enumerate(scores)]

    return make


def test_noise_is_never_a_win_and_a_win_has_its_interval(runs: Runs) -> None:
    records = [*runs("a", "far", [0.90, 0.91, 0.93]), *runs("b", "far", [0.80, 0.82, 0.83])]
    records += [*runs("a", "near", [0.90, 0.70, 0.80]), *runs("b", "near", [0.80, 0.79, 0.78])]
    far, near = compare(entries_from(records), "a", "b").lines
    assert (far.column.task, far.verdict) == ("far", "a better")
    assert far.paired.mean == pytest.approx(0.29 / 3)
    assert far.means == pytest.approx((2.74 / 3, 2.45 / 3))
    assert (far.paired.low or 0) > 0
    assert (near.column.task, near.verdict) == ("near", "cannot be told apart")


def test_lower_is_better_where_the_metric_says_so(runs: Runs) -> None:
    records = [*runs("a", "t", [3.0, 3.1, 3.3], higher=False), *runs("b", "t", [1.0, 1.2, 1.3], higher=False)]
    [line] = compare(entries_from(records), "a", "b").lines
    assert line.verdict == "b better"
    [turned] = compare(entries_from(records), "b", "a").lines
    assert (turned.verdict, turned.paired.mean, turned.p) == ("b better", pytest.approx(-line.paired.mean), line.p)  # type: ignore[operator]  # p is there


def test_win_at_5_percent_alone_is_no_win_among_many_tasks(runs: Runs) -> None:
    records = [*runs("a", "t", [0.90, 0.91, 0.94]), *runs("b", "t", [0.80, 0.84, 0.83])]  # p = 0.024
    assert compare(entries_from(records), "a", "b").lines[0].verdict == "a better"
    for k in range(3):
        records += [*runs("a", f"u{k}", [0.90, 0.70, 0.80]), *runs("b", f"u{k}", [0.80, 0.79, 0.78])]
    line = compare(entries_from(records), "a", "b").lines[0]
    assert line.paired.p is not None
    assert line.p == pytest.approx(4 * line.paired.p)
    assert line.verdict == "cannot be told apart among so many comparisons"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([0.9], [0.1], "one seed: nothing can be said"),
        ([0.9, 0.8], [0.1], "one seed: nothing can be said"),
        ([0.9, 0.9001], [0.1, 0.1], "2 seeds: nothing can be said"),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "the same at every seed"),
        ([0.5, 0.25, 0.5], [0.25, 0.0, 0.25], "the same difference at every seed: nothing can be said"),
    ],
)
def test_verdict_says_when_there_are_too_few_seeds(
    runs: Runs, first: list[float], second: list[float], verdict: str
) -> None:
    [line] = compare(entries_from([*runs("a", "t", first), *runs("b", "t", second)]), "a", "b").lines
    assert (line.verdict, line.p) == (verdict, None)


def test_row_that_the_table_does_not_rank_is_not_judged(runs: Runs) -> None:
    records = [*runs("a", "t", [0.90, 0.91, 0.93]), *runs("b", "t", [0.80, 0.82, 0.83, 0.50, 0.51])]
    [line] = compare(entries_from(records), "a", "b").lines
    assert (line.paired.seeds, line.table_seeds, line.not_ranked) == (3, 5, ("a",))
    assert line.paired.low is not None
    assert line.paired.low > 0  # a is ahead at the seeds that both have
    assert line.verdict == "not judged: the table does not rank a here"
    assert "3 of 5" in show_comparison(compare(entries_from(records), "a", "b"), "text")


def test_no_other_winner_is_named_than_the_table_has(runs: Runs) -> None:
    ahead, behind = [0.80, 0.81, 0.82], [0.70, 0.71, 0.72]
    records = [*runs("a", "t", [*ahead, *[0.1] * 20]), *runs("b", "t", [*behind, *[0.9] * 20])]
    for name in ("c", "d", "e"):  # most rows have three seeds
        records += runs(name, "t", [0.5, 0.51, 0.52])
    [line] = compare(entries_from(records), "a", "b").lines
    assert (line.paired.seeds, line.table_seeds, line.table_first) == (23, 3, "a")
    assert line.p is not None
    assert line.p < 0.05  # b is ahead over all
    assert line.verdict == "not judged: over the 3 seeds of the table a is ahead"


def test_more_of_what_is_no_quality_is_higher_and_not_better(runs: Runs) -> None:
    records = [*runs("a", "t", [0.90, 0.91, 0.93], ranks=False), *runs("b", "t", [0.80, 0.82, 0.83], ranks=False)]
    [line] = compare(entries_from(records), "a", "b").lines
    assert line.verdict == "a higher"


def test_tasks_of_one_row_alone_and_labels_are_noted(runs: Runs) -> None:
    records = [*runs("a", "t", [0.9, 0.8]), *runs("b", "t", [0.8, 0.9], uses_labels=True), *runs("a", "u", [0.1])]
    comparison = compare(entries_from(records), "a", "b")
    assert comparison.notes == ("a alone has u on digits, convnet", "b is trained with labels")


def test_rows_whose_task_changed_its_revision_between_are_not_compared(runs: Runs) -> None:
    records = [*runs("a", "t", [0.9, 0.8]), *runs("b", "t", [0.8, 0.7], task_revision=2)]
    with pytest.raises(RequestError, match="a and b have no task in common"):
        compare(entries_from(records), "a", "b")


def test_caveat_of_a_score_is_noted(runs: Runs, make_record: Make, make_score: Make) -> None:
    score = make_score("top1", 0.8, caveat="by ITQ, not learned")
    records = [*runs("a", "hash", [0.9]), make_record("b", "hash", 0, [score])]
    assert compare(entries_from(records), "a", "b").notes == ("b in hash on digits, convnet: by ITQ, not learned",)


def test_stale_numbers_are_not_compared(runs: Runs) -> None:
    entries = [
        replace(entry, state="stale") for entry in entries_from([*runs("a", "t", [0.9]), *runs("b", "t", [0.8])])
    ]
    with pytest.raises(RequestError, match="no task in common that is not stale: run it again"):
        compare(entries, "a", "b")


def test_unknown_names_and_a_row_with_itself_are_refused(runs: Runs) -> None:
    entries = entries_from(runs("nac", "t", [0.9, 0.8]))
    with pytest.raises(UnknownNameError, match="did you mean 'nac'"):
        compare(entries, "nac", "nca")
    with pytest.raises(RequestError, match="compared with itself"):
        compare(entries, "nac", "nac")


def test_mean_ranks_have_a_critical_difference_from_five_families_and_three_rows_on(runs: Runs) -> None:
    records: list[dict[str, Any]] = []
    for k in range(5):
        for method, value in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
            records += runs(method, f"t{k}", [value, value])
        records += runs("known", f"t{k}", [0.99], uses_labels=True)
    [ranking] = rank_rows(entries_from(records))
    assert ranking.rows == (("a", 1.0), ("b", 2.0), ("c", 3.0))  # a row with labels ranks nobody
    assert ranking.critical == pytest.approx(1.4823, abs=1e-3)  # 2.343 sqrt(12 / 30)
    assert [ranking.told_from_best(rank) for _, rank in ranking.rows] == [False, False, True]
    text = show_rankings([ranking], "text")
    assert "Critical difference 1.48; Friedman's test of no difference at all: p = 0.0067." in text
    [few] = rank_rows(entries_from(r for r in records if r["names"]["task"] != "t0"))
    assert (few.critical, few.told_from_best(9.0)) == (None, False)
    assert "5 families of tasks are needed, these are 3 rows that are ranked in 4" in show_rankings([few], "md")
    [two] = rank_rows(entries_from(r for r in records if r["names"]["method"] != "c"))
    assert "3 rows and 5 families of tasks are needed, these are 2 rows" in two.reason


def test_tasks_of_one_family_count_once_in_the_ranking(runs: Runs) -> None:
    records: list[dict[str, Any]] = []
    for k in range(6):
        records += [*runs("a", f"t{k}", [0.9], family="classes"), *runs("b", f"t{k}", [0.8], family="classes")]
    records += [*runs("a", "map", [0.1]), *runs("b", "map", [0.2]), *runs("a", "area", [0.1], ranks=False)]
    [ranking] = rank_rows(entries_from(records))
    assert ranking.rows == (("a", 1.5), ("b", 1.5))
    assert set(ranking.families) == {"classes", "bench-core/map"}
    assert "mean ranks over 2 families of tasks" in show_rankings([ranking], "text")


def test_no_row_is_worse_if_friedmans_test_finds_no_difference(runs: Runs) -> None:
    values = [(3, 2, 1), (1, 2, 3), (3, 2, 1), (1, 2, 3), (2, 2, 2)]
    records = [
        record
        for k, row in enumerate(values)
        for method, value in zip("abc", row, strict=True)
        for record in runs(method, f"t{k}", [value / 10] * 2)
    ]
    [ranking] = rank_rows(entries_from(records))
    assert ranking.friedman == pytest.approx(1.0)
    assert not any(ranking.told_from_best(rank) for rank in (1.0, 9.0))


def test_all_formats_have_the_same_content_and_names_cannot_break_a_table(runs: Runs) -> None:
    records = [*runs("a|b", "t", [0.90, 0.91, 0.93]), *runs("c", "t", [0.80, 0.82, 0.83])]
    comparison = compare(entries_from(records), "a|b", "c")
    text = show_comparison(comparison, "text").splitlines()[2].split()
    assert text[5:10] == ["↑", "91.3", "81.7", "3", "9.67"]
    assert r"a\|b better" in show_comparison(comparison, "md")
    [line] = json.loads(show_comparison(comparison, "json"))["lines"]
    assert (line["paired"]["seeds"], line["verdict"]) == (3, "a|b better")
    assert line["paired"]["low"] < line["paired"]["mean"] < line["paired"]["high"]


def test_compare_command_reads_published_records() -> None:
    records = Path(__file__).parents[4] / "leaderboards" / "mnist_vae" / "records"
    shown = CliRunner().invoke(command, ["--store", str(records)])
    assert shown.exit_code == 0, shown.output
    assert "mean ranks over" in shown.output
    wrong = CliRunner().invoke(command, ["a", "--store", str(records)])
    assert "name two rows" in str(wrong.exception)
