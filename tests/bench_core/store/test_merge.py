"""Merging two stores: new records are copied once, conflicting ones are left out and reported."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core.cli.records import merge
from bench_core.errors import RequestError, StoreError
from bench_core.files import write_over
from bench_core.planning.plan import Plan
from bench_core.running.pending import missing
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.merge import apply, compare_stores
from bench_core.store.store import read_record

CPU = RunSetting(device="cpu", command="test")
PlanOf = Callable[..., Plan]


def run(path: Path, plan: Plan) -> Store:
    store = Store(path)
    run_plan(plan, store, CPU)
    return store


def files(store: Store) -> dict[str, bytes]:
    return {str(p.relative_to(store.path)): p.read_bytes() for p in store.path.rglob("*") if p.is_file()}


def stored(store: Store, number: int = 0) -> dict[str, Any]:
    """Return a record of the store as JSON, to change it."""
    return copy.deepcopy(dict(store.records()[number].stored))


def change_score(store: Store, value: float) -> dict[str, Any]:
    """Write another score into the store's first record; return the record as JSON."""
    record = stored(store)
    record["scores"][0]["value"] = value
    write_over(store.record_file(record["key"]), record)
    return record


def test_merge_copies_records_chains_and_attempts_once(plan_of: PlanOf, tmp_path: Path) -> None:
    other = run(tmp_path / "b", plan_of(seeds=[1]))
    run_plan(plan_of(seeds=[2], settings={"shrink.broken": True}), other, CPU)
    ours = run(tmp_path / "a", plan_of(seeds=[0]))
    merged = compare_stores(other.path, ours)
    assert (len(merged.records), merged.known, len(merged.attempts), len(merged.chains)) == (1, 0, 1, 1)
    apply(merged, ours)
    assert [missing(chain, ours) for chain in plan_of(seeds=[0, 1]).chains] == [[], []]
    assert set(files(other)) <= set(files(ours))
    assert not list(ours.path.rglob("*.tmp"))
    second = compare_stores(other.path, ours)
    assert (len(second.records), second.known, len(second.attempts), len(second.chains)) == (0, 1, 0, 0)


def test_chain_that_was_merged_is_not_trained_again(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, ours = run(tmp_path / "b", plan_of()), Store(tmp_path / "a")
    apply(compare_stores(other.path, ours), ours)
    ours.record_file(plan_of().cells[0].key).unlink()
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    assert run_plan(plan_of(), ours, CPU) == []


def test_records_that_differ_in_times_are_equal_and_in_scores_are_a_conflict(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    assert compare_stores(other.path, ours).known == 1  # each has its own seconds
    shutil.rmtree(ours.path / "chains")  # deleted to save space
    mine, theirs = ours.records()[0].scores["spread"].value, change_score(other, 123.0)
    before = files(ours)
    [conflict] = (merged := compare_stores(other.path, ours)).conflicts
    apply(merged, ours)
    assert conflict.values == (("spread", mine, 123.0),)
    assert (conflict.ours, conflict.theirs) == (ours.record_file(theirs["key"]), other.record_file(theirs["key"]))
    assert conflict.cell == "blobs/tiny/shrink/spread seed 0"
    assert files(ours) == before


def test_missing_score_and_score_over_other_items_are_conflicts(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    record = stored(other)
    score = record["scores"][0]
    record["scores"] = [{**score, "n": 3}, {**score, "metric": "another", "value": 0.5}]
    write_over(other.record_file(record["key"]), record)
    [conflict] = compare_stores(other.path, ours).conflicts
    assert conflict.values == (("spread", score, {**score, "n": 3}), ("another", None, 0.5))


def test_different_weights_of_one_chain_are_reported(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    key = plan_of().chains[0].key
    write_over(other.chain_folder(key) / "summary.json", {"weights_sha256": "0" * 64})
    assert compare_stores(other.path, ours).other_weights == (other.chain_folder(key),)


def test_damaged_record_or_chain_is_not_merged(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of(seeds=[0, 1])), Store(tmp_path / "a")
    record = stored(other, 1)
    write_over(other.record_file(record["key"]), {**record, "doc": {"task": "another"}})
    with pytest.raises(StoreError, match="not what its key says"):
        compare_stores(other.path, ours)
    assert not ours.path.exists()
    write_over(other.record_file(record["key"]), record)
    key = plan_of().chains[0].key
    (other.chain_folder(key) / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"weights.safetensors is damaged"):
        apply(compare_stores(other.path, ours), ours)
    assert not ours.chain_folder(key).exists()


def test_published_records_can_be_merged_into_a_store(plan_of: PlanOf, tmp_path: Path) -> None:
    other = run(tmp_path / "b", plan_of(seeds=[0, 1]))
    records = tmp_path / "leaderboards" / "toys" / "records"
    for record in other.records():
        write_over(records / f"{record.key}.json", record.stored)
    for folder in (records, records.parent):
        ours = Store(tmp_path / folder.name / "store")
        apply(compare_stores(folder, ours), ours)
        assert ours.records() == other.records()


def test_merge_refuses_a_missing_folder_and_the_store_itself(plan_of: PlanOf, tmp_path: Path) -> None:
    ours = run(tmp_path / "a", plan_of())
    with pytest.raises(RequestError, match=r"there is no store at .*nowhere"):
        compare_stores(tmp_path / "nowhere", ours)
    with pytest.raises(RequestError, match="is the store itself"):
        compare_stores(tmp_path / "a", ours)


def test_merge_command_prints_counts_and_both_values_and_exits_with_1_on_conflict(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    other, ours = run(tmp_path / "b", plan_of(seeds=[0, 1])), run(tmp_path / "a", plan_of())
    words = [str(other.path), "--store", str(ours.path)]
    dry = CliRunner().invoke(merge, [*words, "--dry-run"])
    assert dry.output.startswith(f"1 records, 0 attempts and 1 chains would come into {ours.path}; 1 records were")
    assert len(ours.records()) == 1
    assert CliRunner().invoke(merge, words).exit_code == 0
    path = sorted((other.path / "cells").rglob("*.json"))[0]
    record = copy.deepcopy(dict(read_record(path).stored))
    mine = record["scores"][0]["value"]
    record["scores"][0]["value"] = 123.0
    write_over(path, record)
    result = CliRunner().invoke(merge, words)
    assert result.exit_code == 1
    assert f"spread: {mine!r} stays, 123.0 was left out" in result.output
    assert str(path) in result.output
