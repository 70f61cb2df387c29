"""Running finished cells again: what is replaced, when, and where the old results go."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core import Evaluation, Frozen, Score
from bench_core.cli import main
from bench_core.errors import StoreError, UnknownNameError
from bench_core.files import write_over
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.running.rerun import Change, Rerun, finish_moves, prepare_rerun
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.record import Record

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu", command="bench run --test")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def prepare(store: Store, registry: Registry, tmp_path: Path) -> Callable[..., Rerun]:
    """Function that prepares a rerun of a plan: `prepare(plan, "spread")`."""

    def prepare(plan: Plan, *names: str) -> Rerun:
        finish_moves(store)
        return prepare_rerun(plan, store, names, registry, tmp_path)

    return prepare


@pytest.fixture
def spread_is(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Function that changes the code of the task `spread`: it returns this value from now on."""
    cls = registry.get("evaluator", "spread").cls

    def change(value: float) -> None:
        def evaluate(self: Any, frozen: Frozen) -> Evaluation:
            if value < 0:
                raise RuntimeError("broken on purpose")
            return Evaluation(scores=[Score(metric="spread", value=value, unit="sd", n=1)], protocol="fixed")

        monkeypatch.setattr(cls, "evaluate", evaluate)

    return change


@pytest.fixture
def features_are(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Function that changes the code of the method `shrink`: its loss is multiplied by this factor from now on."""
    cls = registry.get("objective", "shrink").cls
    forward = cls.forward

    def change(factor: float) -> None:
        def scaled(self: Any, views: Any, player: str = "main") -> Any:
            self.factor = factor
            return forward(self, views, player)

        monkeypatch.setattr(cls, "forward", scaled)

    return change


def values(store: Store) -> dict[str, float | None]:
    """Return task -> first value of its record."""
    return {record.names["task"]: next(iter(record.scores.values())).value for record in store.records()}


def run_again(rerun: Rerun) -> list[str]:
    assert run_plan(rerun.plan, rerun.store, CPU) == []
    return list(rerun.finish())


def superseded(store: Store) -> list[Store]:
    return [Store(path) for path in sorted((store.path / "superseded").iterdir())]


def test_a_task_is_measured_again_on_the_stored_embedding(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], spread_is: Callable[[float], None]
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    before, weights = values(store)["spread"], _weights(store, plan)
    spread_is(7.0)
    assert run_plan(plan, store, CPU) == []
    assert values(store)["spread"] == before  # the same command finds the old record
    lines = run_again(prepare(plan, "spread"))
    assert values(store)["spread"] == 7.0
    assert lines[0] == f"{store.records()[0].label}: spread {before:.6g} -> 7"
    assert lines[1] == "1 record was replaced, 0 with the same scores"
    assert _weights(store, plan) == weights
    (old,) = superseded(store)
    assert values(old) == {"spread": before}
    assert not (store.path / "rerun").exists()


def test_a_method_is_trained_again_with_every_task_that_has_a_record(
    plan_of: PlanOf,
    store: Store,
    add: Add,
    registry: Registry,
    prepare: Callable[..., Rerun],
    features_are: Callable[[float], None],
) -> None:
    add("evaluator", "spread2", registry.get("evaluator", "spread").cls)
    run_plan(plan_of(tasks=["spread", "spread2"]), store, CPU)
    before, plan = values(store), plan_of(tasks=["spread"])
    old_weights = _weights(store, plan)
    features_are(-50.0)
    lines = run_again(prepare(plan, "shrink"))  # a request for one of the two tasks
    after = values(store)
    assert after.keys() == before.keys()
    assert all(after[task] != before[task] for task in after)
    assert len(set(after.values())) == 1  # both are of the new training
    assert lines[-2] == "2 records were replaced, 0 with the same scores"
    (old,) = superseded(store)
    assert values(old) == before
    assert _weights(old, plan) == old_weights
    assert _weights(store, plan) != old_weights


def test_a_rerun_that_changes_nothing_says_so(plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun]) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    before = values(store)
    lines = run_again(prepare(plan, "shrink"))
    assert lines[0] == "1 record was replaced, 1 with the same scores"
    assert values(store) == before


def test_a_change_names_the_first_score_that_moved_and_counts_the_others(plan_of: PlanOf, store: Store) -> None:
    run_plan(plan_of(), store, CPU)
    (old,) = store.records()

    def with_scores(**values: float | None) -> Record:
        score = old.scores["spread"]
        return replace(old, scores={name: replace(score, metric=name, value=value) for name, value in values.items()})

    before, label = with_scores(a=1.0, b=2.0, c=None), "blobs/tiny/shrink/spread seed 0"
    assert Change(before, before).line == ""
    assert Change(before, with_scores(a=1.0, b=2.5, c=None)).line == f"{label}: b 2 -> 2.5"
    assert Change(before, with_scores(b=2.0, c=3.0)).line == f"{label}: a 1 -> none, and 1 more of 2 scores"


def test_a_failed_rerun_leaves_the_old_record(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], spread_is: Callable[[float], None]
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    before = values(store)
    spread_is(-1.0)
    rerun = prepare(plan, "shrink")
    (failed,) = run_plan(rerun.plan, rerun.store, CPU)
    assert "broken on purpose" in failed.error
    assert list(rerun.finish()) == [
        "0 records were replaced, 0 with the same scores",
        "1 record was kept, as the rerun is not complete: give the command again",
    ]
    assert values(store) == before
    assert not (store.path / "superseded").exists()
    spread_is(3.0)  # mended; the second training is not lost
    again = prepare(plan, "shrink")
    trained = os.stat(again.store.chain_folder(plan.chains[0].key) / "weights.safetensors").st_mtime_ns
    run_again(again)
    assert values(store) == {"spread": 3.0}
    assert os.stat(store.chain_folder(plan.chains[0].key) / "weights.safetensors").st_mtime_ns == trained


def test_what_other_code_left_of_a_rerun_is_not_used(
    plan_of: PlanOf,
    store: Store,
    prepare: Callable[..., Rerun],
    spread_is: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    spread_is(-1.0)
    rerun = prepare(plan, "shrink")
    run_plan(rerun.plan, rerun.store, CPU)  # trains; the task fails
    monkeypatch.setattr("bench_core.running.rerun.source_digest", lambda component: "sha256:of other code")
    again = prepare(plan, "shrink")
    assert again.store.folder != rerun.store.folder
    assert not again.store.chain_folder(plan.chains[0].key).exists()


@pytest.mark.parametrize("moved", range(7))  # list, folder out, folder in, then for each record: copy, replace
def test_a_rerun_that_was_killed_while_files_moved_is_moved_to_its_end(
    plan_of: PlanOf,
    store: Store,
    add: Add,
    registry: Registry,
    prepare: Callable[..., Rerun],
    spread_is: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    moved: int,
) -> None:
    add("evaluator", "spread2", registry.get("evaluator", "spread").cls)
    plan = plan_of(tasks=["spread", "spread2"])
    run_plan(plan, store, CPU)
    before = values(store)
    spread_is(5.0)
    rerun = prepare(plan, "shrink")
    run_plan(rerun.plan, rerun.store, CPU)

    left = moved

    def killed(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return function(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", killed(Path.rename))
        patch.setattr("bench_core.files.os.replace", killed(os.replace))
        with pytest.raises(KeyboardInterrupt):
            # The list of moves is written by os.replace, too: it is the first step.
            list(rerun.finish())
    trained = store.chain_folder(plan.chains[0].key)
    trained_meanwhile = not trained.exists()
    if trained_meanwhile:  # killed between the two renames: another command may train the chain before this one ends
        trained.mkdir()
        (trained / "chain.json").write_text("{}")
    again = prepare(plan, "shrink")
    assert run_plan(again.plan, again.store, CPU) == []
    list(again.finish())
    assert values(store) == {"spread": 5.0, "spread2": 5.0}
    first = superseded(store)[0]
    assert values(first) == before
    gone = first.chain_folder(plan.chains[0].key)
    assert (gone / "weights.safetensors").is_file()
    assert gone.with_name(f"{gone.name}.again").exists() == trained_meanwhile == (moved == 2)


def test_a_name_that_the_request_does_not_have_is_refused(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun]
) -> None:
    run_plan(plan_of(), store, CPU)
    with pytest.raises(UnknownNameError, match=r"no method or task of this request named 'shrnk'.*shrink"):
        prepare(plan_of(), "shrnk")


def test_the_name_of_a_component_means_all_its_rows(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun]
) -> None:
    plan = plan_of(sweeps={"shrink.factor": [1.0, 2.0]})
    run_plan(plan, store, CPU)
    for name in ("shrink", "toys/shrink"):
        rerun = prepare(plan, name)
        assert set(rerun.store.chains) == {chain.key for chain in plan.chains}
        assert rerun.again == {cell.key for cell in plan.cells}
    assert len(prepare(plan, plan.chains[0].method.name).again) == 1


@pytest.mark.parametrize("lost", ["records", "training", "both"])
def test_a_method_of_which_a_training_or_a_record_is_left_is_trained_again(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], lost: str
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    for name, folder in (("records", "cells"), ("training", "chains")):
        if lost in (name, "both"):
            shutil.rmtree(store.path / folder)
    keys = [chain.key for chain in plan.chains] if lost != "both" else []
    assert list(prepare(plan, "shrink").store.chains) == keys


def test_a_row_that_starts_from_a_method_that_is_trained_again_is_trained_again_too(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun]
) -> None:
    sweeps = {"shrink.init": ["none", "shrink (init=none)"]}
    plan = plan_of(sweeps=sweeps)
    run_plan(plan, store, CPU)
    rerun = prepare(plan, "shrink (init=none)")
    assert len(rerun.store.chains) == 2
    assert rerun.remarks == ("trained again, too, as they start from it: shrink (init=shrink (init=none))",)


def test_records_that_cannot_be_measured_again_go_with_their_training(
    plan_of: PlanOf,
    store: Store,
    add: Add,
    registry: Registry,
    prepare: Callable[..., Rerun],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cls = type("Spread2", (registry.get("evaluator", "spread").cls,), {})
    add("evaluator", "spread2", cls)
    run_plan(plan_of(tasks=["spread", "spread2"]), store, CPU)
    monkeypatch.setattr(cls, "revision", 2)
    rerun = prepare(plan_of(tasks=["spread"]), "shrink")
    assert "without a successor" in rerun.remarks[0]
    run_again(rerun)
    assert values(store).keys() == {"spread"}
    assert values(superseded(store)[0]).keys() == {"spread", "spread2"}


@pytest.mark.parametrize("engine", [[], ["--jobs", "2"]])
def test_rerun_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--methods", "random,pixels", "--tasks", "knn", "--quiet"]
    assert CliRunner().invoke(main, words).exit_code == 0
    old = {record.key: record.provenance.ended for record in Store("runs").records()}
    dry = CliRunner().invoke(main, [*words, "--rerun", "random", "--dry-run", "--json"])
    states = {line["method"]: line["state"] for line in json.loads(dry.stdout)}
    assert states == {"random": "would run again", "pixels": "done"}
    done = CliRunner().invoke(main, [*words, *engine, "--rerun", "random"])
    assert done.exit_code == 0
    assert "1 record was replaced, 1 with the same scores" in done.stderr
    assert (Store("runs").path / "superseded").is_dir()
    assert {record.key for record in Store("runs").records()} == old.keys()
    wrong = CliRunner().invoke(main, [*words, "--rerun", "linear"])
    assert wrong.exit_code == 2
    assert "no method or task of this request named 'linear'" in wrong.stderr


def _weights(store: Store, plan: Plan) -> bytes:
    return (store.chain_folder(plan.chains[0].key) / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain", "../../elsewhere"), ("chain", 7), ("cells", ["../x"]), ("cells", "x"), ("cells", None),
        ("left_behind", [1]), ("when", "../x"), ("when", None), ("when", ["x"]),
    ],
)  # fmt: skip
def test_list_of_moves_that_could_move_anything_else_is_refused(store: Store, field: str, value: object) -> None:
    moves = {"when": "20260101T000000000000", "chain": None, "cells": [], "left_behind": [], field: value}
    path = store.path / "rerun" / "a" / "moves" / "x.json"
    write_over(path, moves)
    with pytest.raises(StoreError, match=f"x.json is no list of files to move: {field}"):
        finish_moves(store)
    assert path.exists()


def test_two_equal_reruns_at_once_do_the_work_once_and_one_replaces_the_old_results(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], features_are: Callable[[float], None]
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    old = _weights(store, plan)
    features_are(3.0)
    first, second = prepare(plan, "shrink"), prepare(plan, "shrink")
    assert run_plan(first.plan, first.store, CPU) == []
    assert run_plan(second.plan, second.store, CPU) == []  # finds what the first has done
    assert run_again(first)[-2].startswith("1 record was replaced")
    new = _weights(store, plan)
    assert new != old
    assert run_again(second) == [
        "0 records were replaced, 0 with the same scores",
        "1 record was replaced by another run of the same command",
    ]
    assert _weights(store, plan) == new
    assert len(superseded(store)) == 1


def test_rerun_that_began_before_an_equal_one_ended_finds_its_results(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], spread_is: Callable[[float], None]
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    spread_is(7.0)
    first, second = prepare(plan, "spread"), prepare(plan, "spread")
    run_again(first)
    spread_is(-1.0)  # breaks where it is measured
    assert run_again(second)[-1] == "1 record was replaced by another run of the same command"
    assert values(store) == {"spread": 7.0}


def test_moves_wait_for_a_process_that_works_on_the_chain(
    plan_of: PlanOf, store: Store, prepare: Callable[..., Rerun], spread_is: Callable[[float], None]
) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    spread_is(7.0)
    rerun = prepare(plan, "spread")
    assert run_plan(rerun.plan, rerun.store, CPU) == []
    before = values(store)
    claim = Claims(store.path).try_claim(plan.chains[0].key)
    assert claim is not None
    seen: list[dict[str, float | None]] = []

    def end() -> None:
        seen.append(values(store))
        claim.release()

    timer = threading.Timer(0.5, end)
    timer.start()
    list(rerun.finish())
    timer.join()
    assert seen == [before]
    assert values(store) == {"spread": 7.0}
    assert list((store.path / "claims").iterdir()) == []
