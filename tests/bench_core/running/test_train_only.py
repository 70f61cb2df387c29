"""Training of one chain without its tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.contracts import Loss
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.running.pending import is_trained
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.train_only import train_only
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.slurm_jobs import failed_training

PlanOf = Callable[..., Plan]
CPU = RunSetting(device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.mark.parametrize("embed", [True, False])
def test_chain_is_trained_without_records_and_its_tasks_give_the_numbers_of_one_run(
    plan_of: PlanOf, store: Store, tmp_path: Path, embed: bool
) -> None:
    plan = plan_of()
    (chain,) = plan.chains
    assert train_only(chain, store, CPU, NoProgress(), embed=embed)
    assert is_trained(chain, store)
    assert not store.records()
    assert (store.chain_folder(chain.key) / "embeddings").exists() == embed
    assert not Claims(store.path).holders()
    run_plan(plan, store, CPU)
    whole = Store(tmp_path / "whole")
    run_plan(plan, whole, CPU)
    assert [record.stored["scores"] for record in store.records()] == [
        record.stored["scores"] for record in whole.records()
    ]


def test_training_that_fails_is_noted_for_chains_that_wait_and_makes_no_attempt(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    class Diverging(registry.get("objective", "shrink").cls):  # type: ignore[misc]  # a class of the test's plugins
        def forward(self, views: Any, player: str = "main") -> Loss:
            return Loss(super().forward(views, player).total * float("nan"))

    add("objective", "diverging", Diverging)
    (chain,) = plan_of(methods=["diverging"]).chains
    assert not train_only(chain, store, CPU, NoProgress(), embed=False)
    failed = failed_training(store, chain.key)
    assert failed is not None
    assert failed[0] == "nan"
    assert "nan" in failed[1]
    assert not store.attempts()
    assert not Claims(store.path).holders()
