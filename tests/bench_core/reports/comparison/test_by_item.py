"""Two rows paired by test item: the interval, the sign test, and the verdicts."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from bench_core import Evaluation, PerItem, Score
from bench_core.cli.compare import compare as command
from bench_core.evaluation.intervals import bootstrap_mean
from bench_core.keys import key_of
from bench_core.reports.comparison.by_item import over_items, sign_test
from bench_core.reports.comparison.rows import Line, compare
from bench_core.reports.comparison.text import show_comparison
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.store.per_item import pack_items
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
N = 200


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


def packed(values: Sequence[float] | np.ndarray[Any, Any], index: Sequence[int] | None = None) -> dict[str, Any]:
    """Return items as a record keeps them; an index chooses them out of 200."""
    tensor = torch.as_tensor(np.asarray(values))
    positions = None if index is None else torch.tensor(index)
    score = Score(metric="top1", value=float(tensor.double().mean()), n=len(tensor))
    evaluation = Evaluation(scores=[score], protocol="", items={"top1": PerItem(tensor, index=positions)})
    return pack_items(evaluation, {"test": N if index else len(tensor)})[0]["top1"]


@pytest.fixture
def runs(make_record: Make, make_score: Make) -> Callable[..., list[dict[str, Any]]]:
    """Return a function: `runs("nac", hits)` makes a record for each seed, of hits (seeds, n)."""

    def make(method: str, hits: Any, task: str = "knn", **fields: Any) -> list[dict[str, Any]]:
        records = []
        for seed, row_hits in enumerate(hits):
            record = make_record(method, task, seed, [make_score("top1", float(np.mean(row_hits)))], **fields)
            records.append({**record, "key": key_of(record["doc"]), "items": {"top1": packed(row_hits)}})
        return records

    return make


def hits(right: int) -> np.ndarray[Any, Any]:
    """Return hits on the first so many of 200 items."""
    return np.arange(N) < right


def test_the_same_items_are_drawn_for_both_rows_and_all_seeds() -> None:
    """The reference is a slow loop over whole columns of items."""
    rng = np.random.default_rng(2)
    first, second = rng.random((3, N)) < 0.8, rng.random((3, N)) < 0.7
    result = over_items(dict(enumerate(map(packed, first))), dict(enumerate(map(packed, second))), range(3))
    assert result is not None
    means = []
    for _ in range(4000):
        draw = rng.integers(N, size=N)
        means.append(first[:, draw].mean() - second[:, draw].mean())
    assert (result.split, result.items, result.seeds) == ("test", N, 3)
    assert result.mean == pytest.approx(first.mean() - second.mean())
    assert (result.low, result.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)  # 0.1 wide


def test_three_items_that_differ_alike_have_p_1_in_4() -> None:
    assert sign_test(np.array([1.0, 1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.25, abs=0.02)
    assert sign_test(np.array([0.0, 0.1])) == 1


def test_four_items_that_differ_alike_are_too_few_though_the_interval_leaves_out_0() -> None:
    differences = np.repeat([1.0, 0.0], [4, 196])
    assert bootstrap_mean(differences)[0] > 0
    assert sign_test(differences) == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize(("first", "second"), [(4, 0), (6, 0), (9, 2), (40, 20)])
def test_sign_test_of_hits_at_one_seed_equals_mcnemars_exact_test(first: int, second: int) -> None:
    differences = np.repeat([1.0, -1.0, 0.0], [first, second, 300])
    assert sign_test(differences) == pytest.approx(stats.binomtest(first, first + second).pvalue, abs=0.015)


def test_shares_of_hits_tie_as_whole_numbers_do_though_float32_rounds_them() -> None:
    rng = np.random.default_rng(6)
    first = rng.integers(1, 10, 60)
    second = first - rng.choice((-1, 1, 1), 60)  # hits in 10 draws
    result = over_items({0: packed(first / 10)}, {0: packed(second / 10)}, [0])
    assert result is not None
    assert result.p == sign_test((first - second).astype(float))


def test_swapping_rows_changes_the_sign_only() -> None:
    rng = np.random.default_rng(3)
    first, second = ({0: packed(rng.random(N)), 1: packed(rng.random(N))} for _ in "ab")
    result, turned = over_items(first, second, [0, 1]), over_items(second, first, [0, 1])
    assert result is not None
    assert turned is not None
    assert (turned.mean, turned.p) == (-result.mean, result.p)
    assert (turned.low, turned.high) == pytest.approx((-result.high, -result.low))  # type: ignore[operator]


def test_numbers_do_not_depend_on_how_many_draws_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(4).standard_normal(50)
    whole = bootstrap_mean(differences), sign_test(differences)
    monkeypatch.setattr("bench_core.evaluation.intervals._CHUNK", 1000)
    assert (bootstrap_mean(differences), sign_test(differences)) == whole


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100_and_noise_is_rarely_called_a_difference() -> None:
    rng = np.random.default_rng(5)
    inside, alarms, trials = 0, 0, 300
    for _ in range(trials):
        hard = rng.random(N)  # what is hard for one is hard for the other
        differences = (rng.random(N) < 0.9 - 0.4 * hard).astype(float) - (rng.random(N) < 0.8 - 0.4 * hard)
        low, high = bootstrap_mean(differences, draws=500)
        inside += low <= 0.1 <= high
        few = rng.choice((-1.0, 0.0, 1.0), N, p=(0.015, 0.97, 0.015))  # some 6 items differ
        alarms += sign_test(few, draws=500) < 0.05
    assert 0.92 < inside / trials < 0.98
    assert alarms / trials < 0.06


def test_different_items_are_not_compared() -> None:
    half, other = list(range(0, N, 2)), list(range(1, N, 2))
    values = np.arange(100) < 60
    same = over_items({0: packed(values, half)}, {0: packed(~values, half)}, [0])
    assert same is not None
    assert same.items == 100
    assert over_items({0: packed(values, half)}, {0: packed(values, other)}, [0]) is None
    assert over_items({0: packed(values, half), 1: packed(values, other)}, {0: packed(values, half)}, [0]) is not None


def test_rows_without_a_differing_item_have_no_interval() -> None:
    result = over_items({0: packed(hits(90))}, {0: packed(hits(90))}, [0])
    assert result is not None
    assert (result.mean, result.low, result.high, result.p) == (0, None, None, None)


def line(*records: dict[str, Any]) -> Line:
    [result] = compare(entries_from(records), "a", "b").lines
    return result


def test_one_seed_tells_networks_apart_but_not_methods(runs: Any) -> None:
    result = line(*runs("a", [hits(180)]), *runs("b", [hits(140)]))
    assert result.verdict == "one seed: these two networks differ, of the methods nothing can be said"
    assert line(*runs("a", [hits(180)]), *runs("b", [hits(177)])).verdict == "one seed: nothing can be said"


def test_items_do_not_tell_rows_apart_that_seeds_cannot(runs: Any) -> None:
    result = line(*runs("a", [hits(190), hits(140), hits(180)]), *runs("b", [hits(100), hits(139), hits(120)]))
    assert result.items is not None
    assert (result.items.low or 0) > 0
    assert result.verdict == "cannot be told apart"


def test_win_over_seeds_on_few_items_is_limited_to_these_items(runs: Any) -> None:
    few = line(*runs("a", [hits(103), hits(104), hits(104)]), *runs("b", [hits(100)] * 3))
    assert few.verdict == "a better on these test items, others may differ"
    many = line(*runs("a", [hits(143), hits(144), hits(144)]), *runs("b", [hits(100)] * 3))
    assert many.verdict == "a better"


def test_p_over_items_is_corrected_after_holm_for_all_tasks(runs: Any) -> None:
    records = [*runs("a", [hits(106)] * 2), *runs("b", [hits(100), hits(100)])]  # six items: p = 1 / 32
    for k in range(3):
        records += [*runs("a", [hits(100)] * 2, f"t{k}"), *runs("b", [hits(101)] * 2, f"t{k}")]
    result = compare(entries_from(records), "a", "b").lines[0]
    assert result.items is not None
    assert result.items.p == pytest.approx(1 / 32, abs=0.01)
    assert result.p_items == pytest.approx(4 * (result.items.p or 0))


def test_records_without_items_are_compared_by_seed_with_a_note(runs: Any) -> None:
    records = [*runs("a", [hits(150), hits(160)]), *runs("b", [hits(120), hits(140)])]
    for record in records:
        old = [{k: v for k, v in r.items() if k != "items" or r is not record} for r in records]
        comparison = compare(entries_from(old), "a", "b")
        assert comparison.lines[0].items is None
        assert comparison.notes == (
            "knn on digits, convnet is not compared by item: not every record of both keeps its per-item results",
        )
    none = compare(entries_from({k: v for k, v in r.items() if k != "items"} for r in records), "a", "b")
    assert (none.lines[0].items, none.notes) == (None, ())
    assert "Only seeds vary here" in show_comparison(none, "text")


def test_compare_command_explains_each_interval(runs: Any, tmp_path: Path) -> None:
    for record in [*runs("a", [hits(150), hits(160), hits(155)]), *runs("b", [hits(100), hits(160), hits(130)])]:
        (tmp_path / f"{record['key']}.json").write_text(json.dumps(record))

    def shown(*words: str) -> str:
        result = CliRunner().invoke(command, ["a", "b", "--store", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
        return result.output

    for output_format in ("text", "md"):
        over_seeds, by_item = shown("--format", output_format).split(
            "Over test items: would another test set give this"
        )
        assert over_seeds.startswith("Over seeds: would other trainings give this?")
        assert "cannot be told apart" in over_seeds
        assert "200 of test" in by_item
        assert "12.50" in by_item
        assert "Neither interval answers the question of the other. The verdicts are by seeds." in by_item
        assert "Only seeds vary here" not in by_item
    [result] = json.loads(shown("--format", "json"))["lines"]
    assert result["items"].keys() == {"split", "items", "seeds", "mean", "low", "high", "p"}
    assert result["items"]["mean"] == pytest.approx(result["paired"]["mean"])
    assert result["p_items"] == result["items"]["p"]


def test_equal_differences_of_all_items_have_a_p_value_but_no_interval() -> None:
    result = over_items({0: packed(np.ones(20, bool))}, {0: packed(np.zeros(20, bool))}, [0])
    assert result is not None
    assert (result.mean, result.low, result.high) == (1.0, None, None)
    assert result.p is not None
    assert result.p < 1e-3  # 2 of 2 ** 20 ways
