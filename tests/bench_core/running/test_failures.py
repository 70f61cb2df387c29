"""Attempts in the store of cells that failed."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import Batch, Evaluation, Evaluator, Frozen, Loss, Objective, Recipe
from bench_core.planning.chains import Plan
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.running.failures import UnfinishedCell, attempt, describe
from bench_core.running.pending import to_run
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.store import PREEMPTED

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


class Fails(Objective):
    """A toy method that trains for two epochs and then raises `raised`."""

    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=3, batch_size=16)
    raised: BaseException = RuntimeError("no luck")

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(self.encoder(views).square().mean())

    def before_epoch(self, context: Any) -> dict[str, float]:
        if context.epoch == 2:
            raise self.raised
        return {}


def attempt_at(store: Store) -> dict[str, Any]:
    (kept,) = store.attempts()
    return kept


def test_attempt_holds_traceback_last_lines_of_the_log_and_seconds(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("objective", "fails", Fails)
    (failure,) = run_plan(plan_of(methods=["fails"]), store, CPU)
    kept = attempt_at(store)
    assert json.loads(failure.log.read_text()) == kept
    assert kept["error"] == "RuntimeError: no luck"
    assert kept["seconds"] > 0
    assert kept["log_tail"][0] == "Traceback (most recent call last):"
    assert "RuntimeError: no luck" in kept["log_tail"]
    log_lines = [json.loads(line.removeprefix("log: ")) for line in kept["log_tail"] if line.startswith("log: ")]
    assert [line["epoch"] for line in log_lines] == [1, 2]


def test_attempt_began_as_many_seconds_ago_as_it_ran_and_keeps_the_end_of_a_long_log(plan_of: PlanOf) -> None:
    (cell,) = plan_of().chains[0].cells
    made = attempt(cell, "killed", "no  luck\n", [str(line) for line in range(200)], 7200.0, {})
    assert abs(datetime.now(UTC) - timedelta(hours=2) - datetime.fromisoformat(made["started"])) < timedelta(hours=1)
    assert (made["kind"], made["error"], made["seconds"]) == ("killed", "no luck", 7200.0)
    assert made["log_tail"] == [str(line) for line in range(80, 200)]


def test_a_name_of_bytes_that_are_no_utf_8_does_not_keep_a_failure_off_the_record(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fails, "raised", OSError("cannot read " + os.fsdecode(b"l\xe4ufe.png")))
    add("objective", "fails", Fails)
    assert len(run_plan(plan_of(methods=["fails"]), store, CPU)) == 1
    assert attempt_at(store)["error"] == r"OSError: cannot read l\udce4ufe.png"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError("Unable to allocate 9 TiB"),
    ],
)
def test_out_of_memory_error_says_what_to_lower(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    add("objective", "fails", Fails)
    monkeypatch.setattr(Fails, "raised", error)
    (failure,) = run_plan(plan_of(methods=["fails"]), store, CPU)
    assert failure.kind == attempt_at(store)["kind"] == "oom"
    assert failure.error.startswith("memory ran out; try --batch-size below 16, --precision bf16, or --set NAME.PARAM=")
    assert "`bench show fails`, `bench show spread`" in failure.error
    assert failure.error.endswith(" ".join(str(error).split()))


def test_advice_in_bf16_does_not_name_bf16(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("objective", "fails", Fails)
    monkeypatch.setattr(Fails, "raised", MemoryError())
    (failure,) = run_plan(plan_of(methods=["fails"], precision="bf16"), store, CPU)
    assert "bf16" not in failure.error


class Exits(Evaluator):
    """A toy task that calls exit()."""

    def __init__(self, config: Any) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        raise SystemExit(0)


def test_plugin_that_calls_exit_fails_its_own_cell_only(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("evaluator", "exits", Exits)
    (failure,) = run_plan(plan_of(tasks=["exits", "spread"]), store, CPU)
    assert (failure.kind, failure.error) == ("error", "SystemExit: 0")
    assert len(store.records()) == 1


def test_chains_that_failed_before_run_last(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("objective", "fails", Fails)
    run_plan(plan_of(methods=["fails"]), store, CPU)
    plan = plan_of(methods=["fails", "shrink"])
    assert [chain.method.name for chain, _ in to_run(plan, store)] == ["shrink", "fails"]


def test_preempted_cell_is_missing_not_failed(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("objective", "fails", Fails)
    plan = plan_of(methods=["fails"])
    run_plan(plan, store, CPU)
    store.add_attempt({**attempt_at(store), "kind": PREEMPTED})
    (entry,) = plan_entries(plan, store.records(), store.attempts())
    assert entry.state == "missing"


def test_cells_of_a_chain_that_failed_for_one_reason_are_one_line() -> None:
    def one(task: str, error: str) -> UnfinishedCell:
        names = {"dataset": "d", "encoder": "e", "method": "m", "task": task}
        return UnfinishedCell(names, 0, "nan", error, Path(f"{task}.json"))

    assert describe([one("a", "no"), one("b", "no"), one("c", "other")]) == [
        "d/e/m/a,b seed 0: nan: no (log: b.json)",
        "d/e/m/c seed 0: nan: other (log: c.json)",
    ]
