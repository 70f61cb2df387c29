"""Two rows paired by test item: the bootstrap, the test of signs, and what they allow to say."""

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
from bench_core.keys import key_of
from bench_core.reports.comparison.by_item import bootstrap, over_items, sign_test
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


def kept(values: Sequence[float] | np.ndarray[Any, Any], index: Sequence[int] | None = None) -> dict[str, Any]:
    """As a record keeps it; out of 200 items where an index says which."""
    tensor = torch.as_tensor(np.asarray(values))
    positions = None if index is None else torch.tensor(index)
    score = Score(metric="top1", value=float(tensor.double().mean()), n=len(tensor))
    evaluation = Evaluation(scores=[score], protocol="", items={"top1": PerItem(tensor, index=positions)})
    return pack_items(evaluation, {"test": N if index else len(tensor)})[0]["top1"]


@pytest.fixture
def runs(make_record: Make, make_score: Make) -> Callable[..., list[dict[str, Any]]]:
    """`runs("nac", hits)`: a record for each seed, of hits (seeds, n); a row of None keeps no items."""

    def make(method: str, hits: Any, task: str = "knn", **fields: Any) -> list[dict[str, Any]]:
        records = []
        for seed, own in enumerate(hits):
            record = make_record(method, task, seed, [make_score("top1", float(np.mean(own)))], **fields)
            records.append({**record, "key": key_of(record["doc"]), "items": {"top1": kept(own)}})
        return records

    return make


def hits(right: int) -> np.ndarray[Any, Any]:
    """The first so many of 200 items."""
    return np.arange(N) < right


def test_two_items_have_three_means() -> None:
    """0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4."""
    assert bootstrap(np.array([0.0, 1.0])) == (0.0, 1.0)
    assert bootstrap(np.array([0.0, 1.0]), level=0.4) == (0.5, 0.5)


def test_the_interval_is_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random(N), 0.8 * rng.random(N)

    def mean(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], axis: int) -> Any:
        return (a - b).mean(axis)

    theirs = stats.bootstrap(
        (first, second), mean, paired=True, vectorized=True, method="percentile", n_resamples=10_000, rng=rng
    ).confidence_interval
    assert bootstrap(first - second) == pytest.approx((theirs.low, theirs.high), abs=0.003)  # 0.1 wide


def test_the_same_items_are_drawn_for_both_rows_and_all_seeds() -> None:
    """Against a slow loop over whole columns of items."""
    rng = np.random.default_rng(2)
    first, second = rng.random((3, N)) < 0.8, rng.random((3, N)) < 0.7
    found = over_items(dict(enumerate(map(kept, first))), dict(enumerate(map(kept, second))), range(3))
    assert found is not None
    means = []
    for _ in range(4000):
        drawn = rng.integers(N, size=N)
        means.append(first[:, drawn].mean() - second[:, drawn].mean())
    assert (found.split, found.items, found.seeds) == ("test", N, 3)
    assert found.mean == pytest.approx(first.mean() - second.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)  # 0.1 wide


def test_three_items_that_differ_alike_have_p_1_in_4() -> None:
    assert sign_test(np.array([1.0, 1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.25, abs=0.02)
    assert sign_test(np.array([0.0, 0.1])) == 1


def test_four_items_that_differ_alike_are_too_few_though_the_interval_leaves_out_0() -> None:
    differences = np.repeat([1.0, 0.0], [4, 196])
    assert bootstrap(differences)[0] > 0
    assert sign_test(differences) == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.parametrize(("first", "second"), [(4, 0), (6, 0), (9, 2), (40, 20)])
def test_signs_of_hits_at_one_seed_are_mcnemars_exact_test(first: int, second: int) -> None:
    differences = np.repeat([1.0, -1.0, 0.0], [first, second, 300])
    assert sign_test(differences) == pytest.approx(stats.binomtest(first, first + second).pvalue, abs=0.015)


def test_shares_of_hits_tie_as_whole_numbers_do_though_float32_rounds_them() -> None:
    rng = np.random.default_rng(6)
    first = rng.integers(1, 10, 60)
    second = first - rng.choice((-1, 1, 1), 60)  # hits in 10 draws
    found = over_items({0: kept(first / 10)}, {0: kept(second / 10)}, [0])
    assert found is not None
    assert found.p == sign_test((first - second).astype(float))


def test_rows_that_change_places_change_the_sign_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    first, second = ({0: kept(rng.random(N)), 1: kept(rng.random(N))} for _ in "ab")
    found, turned = over_items(first, second, [0, 1]), over_items(second, first, [0, 1])
    assert found is not None
    assert turned is not None
    assert (turned.mean, turned.p) == (-found.mean, found.p)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))  # type: ignore[operator]


def test_numbers_do_not_depend_on_how_many_draws_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(4).standard_normal(50)
    whole = bootstrap(differences), sign_test(differences)
    monkeypatch.setattr("bench_core.reports.comparison.by_item._CHUNK", 1000)
    assert (bootstrap(differences), sign_test(differences)) == whole


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100_and_noise_is_rarely_called_a_difference() -> None:
    rng = np.random.default_rng(5)
    inside, alarms, trials = 0, 0, 300
    for _ in range(trials):
        hard = rng.random(N)  # what is hard for one is hard for the other
        differences = (rng.random(N) < 0.9 - 0.4 * hard).astype(float) - (rng.random(N) < 0.8 - 0.4 * hard)
        low, high = bootstrap(differences, draws=500)
        inside += low <= 0.1 <= high
        few = rng.choice((-1.0, 0.0, 1.0), N, p=(0.015, 0.97, 0.015))  # some 6 items differ
        alarms += sign_test(few, draws=500) < 0.05
    assert 0.92 < inside / trials < 0.98
    assert alarms / trials < 0.06


def test_items_that_are_not_the_same_are_not_compared() -> None:
    half, other = list(range(0, N, 2)), list(range(1, N, 2))
    values = np.arange(100) < 60
    same = over_items({0: kept(values, half)}, {0: kept(~values, half)}, [0])
    assert same is not None
    assert same.items == 100
    assert over_items({0: kept(values, half)}, {0: kept(values, other)}, [0]) is None
    assert over_items({0: kept(values, half), 1: kept(values, other)}, {0: kept(values, half)}, [0]) is not None


def test_no_item_that_differs_has_no_interval() -> None:
    found = over_items({0: kept(hits(90))}, {0: kept(hits(90))}, [0])
    assert found is not None
    assert (found.mean, found.low, found.high, found.p) == (0, None, None, None)


def line(*records: dict[str, Any]) -> Line:
    [found] = compare(entries_from(records), "a", "b").lines
    return found


def test_one_seed_tells_two_networks_apart_and_no_methods(runs: Any) -> None:
    found = line(*runs("a", [hits(180)]), *runs("b", [hits(140)]))
    assert found.verdict == "one seed: these two networks differ, of the methods nothing can be said"
    assert line(*runs("a", [hits(180)]), *runs("b", [hits(177)])).verdict == "one seed: nothing can be said"


def test_what_seeds_cannot_tell_apart_items_do_not_tell_apart(runs: Any) -> None:
    found = line(*runs("a", [hits(190), hits(140), hits(180)]), *runs("b", [hits(100), hits(139), hits(120)]))
    assert found.items is not None
    assert (found.items.low or 0) > 0
    assert found.verdict == "cannot be told apart"


def test_a_win_over_seeds_on_few_items_is_one_on_these_items(runs: Any) -> None:
    few = line(*runs("a", [hits(103), hits(104), hits(104)]), *runs("b", [hits(100)] * 3))
    assert few.verdict == "a better on these test items, others may differ"
    many = line(*runs("a", [hits(143), hits(144), hits(144)]), *runs("b", [hits(100)] * 3))
    assert many.verdict == "a better"


def test_p_over_items_is_after_holm_for_all_tasks(runs: Any) -> None:
    records = [*runs("a", [hits(106)] * 2), *runs("b", [hits(100), hits(100)])]  # six items: p = 1 / 32
    for k in range(3):
        records += [*runs("a", [hits(100)] * 2, f"t{k}"), *runs("b", [hits(101)] * 2, f"t{k}")]
    found = compare(entries_from(records), "a", "b").lines[0]
    assert found.items is not None
    assert found.items.p == pytest.approx(1 / 32, abs=0.01)
    assert found.p_items == pytest.approx(4 * (found.items.p or 0))


def test_old_records_are_compared_by_seed_and_a_mixture_is_said(runs: Any) -> None:
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


def test_the_command_says_what_each_interval_holds(runs: Any, tmp_path: Path) -> None:
    for record in [*runs("a", [hits(150), hits(160)]), *runs("b", [hits(120), hits(140)])]:
        (tmp_path / f"{record['key']}.json").write_text(json.dumps(record))

    def shown(*words: str) -> str:
        result = CliRunner().invoke(command, ["a", "b", "--store", str(tmp_path), *words])
        assert result.exit_code == 0, result.output
        return result.output

    for form in ("text", "md"):
        over_seeds, by_item = shown("--format", form).split("Over test items: would another test set give this")
        assert over_seeds.startswith("Over seeds: would other trainings give this?")
        assert "cannot be told apart" in over_seeds
        assert "200 of test" in by_item
        assert "12.50" in by_item
        assert "Neither interval holds what the other asks. What is said of the rows is said by seeds." in by_item
        assert "Only seeds vary here" not in by_item
    [found] = json.loads(shown("--format", "json"))["lines"]
    assert found["items"].keys() == {"split", "items", "seeds", "mean", "low", "high", "p"}
    assert found["items"]["mean"] == pytest.approx(found["paired"]["mean"])
    assert found["p_items"] == found["items"]["p"]


def test_where_every_item_differs_alike_there_is_a_test_and_no_interval() -> None:
    found = over_items({0: kept(np.ones(20, bool))}, {0: kept(np.zeros(20, bool))}, [0])
    assert found is not None
    assert (found.mean, found.low, found.high) == (1.0, None, None)
    assert found.p is not None
    assert found.p < 1e-3  # 2 of 2 ** 20 ways
