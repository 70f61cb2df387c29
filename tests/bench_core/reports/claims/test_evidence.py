"""Values of a claim's rows come from records as tables read them, with words for what is missing."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.files import write_over
from bench_core.planning.plan import board_plan
from bench_core.plugins import Registry
from bench_core.reports.claims.check import check_claim
from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.evidence import BoardTables, Evidence, evidence_in, find_evidence, tables_of
from bench_core.reports.claims.verdict import judge
from bench_core.reports.tables.entries import Entry, State, entries_of
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "claim": "It is better.", "source": "abstract", "by": "paper", "paper_scale": "ImageNet", "scale": "cpu",
        "board": "digits", "left": "nac", "right": ("simclr",), "score": "knn:top1", "relation": "higher",
        "name": "one", "where": "nac.toml: claims.one",
    }  # fmt: skip
    return Claim(**{**values, **changes})


def planned(record: dict[str, Any], state: State = "done", reason: str = "") -> Entry:
    found = record_from_json(record)
    kept = found if state in ("done", "stale") else None
    return Entry(found.names, found.seed, state, reason, kept, found.document, planned=True)


def found(entries: Iterable[Entry], **changes: Any) -> Evidence:
    return evidence_in(claim(**changes), tables_of(entries))


def test_values_are_those_of_the_scores_metric_by_seed(make_record: Make, make_score: Make) -> None:
    def scores(value: float) -> list[dict[str, Any]]:
        return [make_score("top1", 0.1), make_score("top5", value, unit="points")]

    records = [make_record("nac", "knn", seed, scores(0.5 + seed / 100)) for seed in range(3)]
    records += [make_record("nac", "linear", 0, 0.9), make_record("simclr", "knn", 1, scores(0.4))]
    evidence = found(map(planned, records), score="knn:top5")
    assert evidence.rows["nac"].values == {0: 0.5, 1: 0.51, 2: 0.52}
    assert evidence.rows["simclr"].values == {1: 0.4}
    assert evidence.column is not None
    assert (evidence.column.unit, evidence.lacks) == ("points", "")


def test_what_is_missing_is_said_in_words(make_record: Make) -> None:
    def row(name: str, states: Iterable[tuple[State, str]], value: float | None = 0.5) -> list[Entry]:
        return [planned(make_record(name, "knn", seed, value), *state) for seed, state in enumerate(states)]

    def lack(*entries: Entry) -> str:
        return found([*row("simclr", [("done", "")]), *entries]).rows["nac"].lacks

    done: tuple[State, str] = ("done", "")
    missing: tuple[State, str] = ("missing", "")
    failed: tuple[State, str] = ("failed", "oom")
    assert lack(*row("nac", [done, done, done])) == ""
    assert lack(*row("nac", [done, missing, missing])) == "nac has 1 of 3 seeds (0)"
    assert lack(*row("nac", [done, done, failed])) == "nac has 2 of 3 seeds (0, 1); seed 2 failed: oom"
    assert lack(*row("nac", [missing, missing])) == "no records of nac"
    assert lack(*row("nac", [failed, failed])) == "nac failed: oom"
    assert lack(*row("nac", [("stale", "revision was 1, is 2; x was 3")])) == "nac is stale: revision was 1, is 2"
    assert lack(*row("nac", [("skipped", "has no likelihood")])) == "nac: has no likelihood"
    assert lack(*row("nac", [done, done], float("nan"))) == "nac failed: top1 is not finite"
    assert lack() == "board digits has no row nac"
    assert found(row("nac", [done]), score="linear:top1").lacks == "board digits has no task linear"


def test_a_metric_that_no_record_has_leaves_every_row_without_values(make_record: Make) -> None:
    evidence = found([planned(make_record(name, "knn", 0, 0.5)) for name in ("nac", "simclr")], score="knn:top2")
    assert [row.lacks for row in evidence.rows.values()] == [
        "nac: does not report top2",
        "simclr: does not report top2",
    ]


def test_records_that_disagree_about_a_unit_are_not_compared(make_record: Make, make_score: Make) -> None:
    records = [make_record("nac", "knn", 0, 0.5), make_record("simclr", "knn", 0, [make_score("top1", 50, unit="%")])]
    assert found(map(planned, records)).lacks == "records disagree about unit or direction of knn:top1"


def test_a_claim_chooses_its_table_by_dataset_and_encoder(make_record: Make) -> None:
    entries = [
        planned(make_record("nac", "knn", 0, value, names={"dataset": name}))
        for name, value in (("digits", 0.5), ("mnist", 0.7))
    ]
    assert found(entries, dataset="mnist").rows["nac"].values == {0: 0.7}
    assert found(entries).lacks == (
        "dataset and encoder must name one table of board digits; it has: digits, convnet; mnist, convnet."
    )
    assert "must name one table" in found(entries, dataset="cora").lacks
    assert found(entries, dataset="mnist", encoder="convnet").lacks == ""


def test_chains_over_folds_are_one_value_of_a_seed(make_record: Make) -> None:
    entries = []
    for fold in range(2):
        record = make_record(
            "nac", "knn", 0, 0.5 + fold, names={"fold": f"{fold} of 2"}, dataset={"config": {"fold": fold}}
        )
        entries.append(planned(record))
    assert found(entries).rows["nac"].values == {0: 1.0}


def test_a_network_from_elsewhere_is_known_as_one(make_record: Make) -> None:
    outside = {"name": "a", "digest": "0" * 64, "trained_on": "ImageNet", "revision": "7f2", "one_network": True}
    records = [make_record("nac", "knn", seed, value) for seed, value in enumerate((0.5, 0.6, 0.55))]
    entries = entries_of(map(record_from_json, [*records, make_record("simclr", "knn", 0, 0.1, outside=outside)]))
    evidence = found(entries)
    assert [row.one_network for row in evidence.rows.values()] == [False, True]
    assert judge([(claim(), evidence)])["one"].word == "supported"


BOARD = """
seeds = [0]
precision = "fp32"
[datasets.blobs]
[encoders.tiny]
[methods.shrink]
[methods.half]
use = "shrink"
factor = 0.5
[tasks.spread]
"""


def of_toys(**changes: Any) -> Claim:
    return claim(board="toys", left="shrink", right=("half",), score="spread:spread", **changes)


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder of boards with the board toys, which has no records."""
    folder = tmp_path / "leaderboards" / "toys"
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(BOARD)
    return folder


def test_records_are_those_beside_the_board_and_those_of_the_store(
    toys: Path, registry: Registry, tmp_path: Path
) -> None:
    nothing = find_evidence(of_toys(), BoardTables(registry, leaderboards=toys.parent))
    assert [row.lacks for row in nothing.rows.values()] == ["no records of shrink", "no records of half"]
    store = Store(tmp_path / "runs")
    assert run_plan(board_plan(str(toys), registry), store, RunSetting(device="cpu")) == []
    records = store.records()
    for record in records:
        if record.names["method"] == "shrink":
            write_over(toys / "records" / f"{record.key}.json", record.stored)
    published = find_evidence(of_toys(), BoardTables(registry, leaderboards=toys.parent))
    assert (sorted(published.rows["shrink"].values), published.rows["half"].lacks) == ([0], "no records of half")
    both = find_evidence(of_toys(), BoardTables(registry, leaderboards=toys.parent, store=store))
    assert [sorted(row.values) for row in both.rows.values()] == [[0], [0]]
    file = replace(of_toys(), board=str(toys / "board.toml"))
    assert find_evidence(file, BoardTables(registry, leaderboards=tmp_path)) == published
    assert find_evidence(file, BoardTables(registry, store=store)) == both


def test_a_board_is_read_once(toys: Path, registry: Registry) -> None:
    boards = BoardTables(registry, leaderboards=toys.parent)
    first = boards.of("toys")
    (toys / "board.toml").unlink()
    assert boards.of("toys") is first


def test_a_board_that_cannot_be_read_leaves_its_claims_unmeasured(toys: Path, registry: Registry) -> None:
    boards = BoardTables(registry, leaderboards=toys.parent)
    evidence = find_evidence(replace(of_toys(), board="nowhere"), boards)
    assert evidence.lacks.startswith("board nowhere cannot be read: no board named 'nowhere'")
    assert judge([(of_toys(), evidence)])["one"].word == "not measured"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": "shrnk"}, r"^nac.toml: claims.one: no row named 'shrnk'; did you mean 'shrink'\?.*\(board toys\)"),
        ({"right": ("other",)}, r"no row named 'other'"),
        ({"control": ("other",)}, r"no row named 'other'"),
        ({"score": "spred:spread"}, r"no task named 'spred'; did you mean 'spread'\?"),
        ({"dataset": "digits"}, r"must name one table of board toys; it has: blobs, tiny"),
        ({"board": "nowhere"}, r"^nac.toml: claims.one: no board named 'nowhere'"),
    ],
)
def test_a_claim_whose_names_its_board_lacks_is_refused(
    toys: Path, registry: Registry, changes: dict[str, Any], message: str
) -> None:
    boards = BoardTables(registry, leaderboards=toys.parent)
    check_claim(of_toys(), boards)
    with pytest.raises(RequestError, match=message):
        check_claim(replace(of_toys(), **changes), boards)


def test_a_row_that_the_task_skips_is_refused_unless_the_claim_says_what_it_needs(
    toys: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("evaluator", "spread").cls, "skip_reason", lambda *_: "has no likelihood")
    boards = BoardTables(registry, leaderboards=toys.parent)
    with pytest.raises(RequestError, match=r"spread skips shrink \(has no likelihood\); choose another"):
        check_claim(of_toys(), boards)
    check_claim(of_toys(needs="a likelihood, a day"), boards)
