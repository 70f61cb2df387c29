"""Which records are older versions of a cell, and which are other experiments of the same names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.reports.tables.cell_states import is_older, plan_entries, what_to_run
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import Record

PlanOf = Callable[..., Plan]


@pytest.fixture
def record(plan_of: PlanOf, tmp_path: Path) -> Record:
    store = Store(tmp_path / "runs")
    assert run_plan(plan_of(), store, RunSetting(device="cpu")) == []
    (record,) = store.records()
    return record


def test_a_default_that_changed_with_the_revision_makes_a_record_stale(
    plan_of: PlanOf, record: Record, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other_factor,) = plan_entries(plan_of(settings={"shrink.factor": 2.0}), [record])
    assert (other_factor.state, other_factor.record) == ("missing", None)
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "revision", 2)
    (other_version,) = plan_entries(plan_of(settings={"shrink.factor": 2.0}), [record])
    assert (other_version.state, other_version.record) == ("stale", record)
    causes = other_version.reason.split("; ")
    assert causes[0].endswith("method.revision was 1, is 2")  # the cause first
    assert causes[1].endswith("method.config.factor was 1.0, is 2.0")
    (other_recipe,) = plan_entries(plan_of(settings={"shrink.recipe.epochs": 1}), [record])
    assert other_recipe.state == "missing"  # the budget belongs to no revision of the method


def test_only_records_of_the_same_names_and_seed_are_older_versions_of_a_cell(
    plan_of: PlanOf, record: Record, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_older(record, plan_of().cells[0])  # it is the cell's own record
    monkeypatch.setattr(registry.get("evaluator", "spread").cls, "revision", 2)
    assert is_older(record, plan_of().cells[0])
    assert not is_older(record, plan_of(seeds=[1]).cells[0])


def test_what_to_run_is_said_while_no_cell_has_a_record_be_it_stale(
    plan_of: PlanOf, record: Record, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Path("runs")
    sentence = "runs has no record of board 'toys' yet; run `bench run --board toys`."
    assert what_to_run(plan_entries(plan_of(), []), runs, "toys") == sentence
    assert what_to_run([], runs, "toys") == sentence
    assert what_to_run(plan_entries(plan_of(settings={"shrink.factor": 2.0}), [record]), runs, "toys") == sentence
    assert what_to_run(plan_entries(plan_of(), [record]), runs, "toys") == ""
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "revision", 2)
    assert what_to_run(plan_entries(plan_of(), [record]), runs, "toys") == ""


def test_command_that_makes_the_first_record_names_the_store_that_is_not_the_usual_one(tmp_path: Path) -> None:
    Store(tmp_path / "my store").create()
    assert what_to_run([], Path("runs"), None).endswith("yet; run `bench run --methods nac,sela`.")
    of_store = what_to_run([], tmp_path / "my store", None)
    assert of_store.endswith(f"run `bench run --methods nac,sela --store '{tmp_path / 'my store'}'`.")
    assert "--store" not in what_to_run([], tmp_path, "digits")  # records of a published board: no store to run into
