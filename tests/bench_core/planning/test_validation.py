"""Plans that score on a held-out part of train: their keys and names differ, and all others stay as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core import DataSpec
from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.planning.chains import Chain, Plan
from bench_core.plugins import Registry
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import by_table, entries_of, with_distinct_names
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu", command="test")
BOARD = """
validation = 0.25
[datasets.blobs]
[encoders.tiny]
[methods.shrink]
[tasks.spread]
"""


def only_chain(plan: Plan) -> Chain:
    [chain] = plan.chains
    return chain


def test_key_holds_the_part_and_nothing_else_changes(plan_of: PlanOf) -> None:
    chain, usual = only_chain(plan_of(validation=0.25)), only_chain(plan_of())
    held_out = {"fraction": 0.25, "seed": 0}
    assert chain.document == {**usual.document, "dataset": {**usual.document["dataset"], "held_out": held_out}}
    assert "held_out" not in usual.document["dataset"]
    assert chain.key == key_of(chain.document) != usual.key
    assert chain.data.splits == {"train": 36, "test": 12}
    assert (chain.dataset.name, usual.dataset.name) == ("blobs (25 % of train held out)", "blobs")


def test_no_part_is_the_same_as_no_option(plan_of: PlanOf) -> None:
    assert only_chain(plan_of(validation=0)).key == only_chain(plan_of()).key


def test_board_says_the_part_and_the_request_overrules_it(plan_of: PlanOf, tmp_path: Path) -> None:
    board = tmp_path / "trials.toml"
    board.write_text(BOARD)
    asked = {"board": str(board), "seeds": [0], "datasets": None, "methods": None, "encoders": None, "tasks": None}
    parts = {part: only_chain(plan_of(**asked, validation=part)) for part in (None, 0.25, 0.5, 0)}
    splits = {part: dict(chain.data.splits) for part, chain in parts.items()}
    quarter = {"train": 36, "test": 12}
    assert splits == {None: quarter, 0.25: quarter, 0.5: {"train": 24, "test": 24}, 0: {"train": 48, "test": 16}}
    assert parts[None].key == parts[0.25].key


def test_every_row_and_seed_reads_the_same_items(plan_of: PlanOf) -> None:
    first, second = plan_of(validation=0.25, seeds=[0, 1]).chains
    assert first.loader is second.loader
    labels = first.loader.load("test").labels
    assert labels is not None
    assert labels.bincount().tolist() == [6, 6]


@pytest.mark.parametrize("part", [-0.1, 1, 1.5, float("nan"), True, "0.2"])
def test_part_that_is_no_part_is_refused(plan_of: PlanOf, part: Any) -> None:
    with pytest.raises(RequestError, match=r"validation must be a part of train, from 0 to below 1, such as 0\.2"):
        plan_of(validation=part)


def test_dataset_whose_trainings_read_all_items_is_refused(plan_of: PlanOf, add: Add, registry: Registry) -> None:
    class Whole(registry.get("dataset", "blobs").cls):  # type: ignore[misc]  # a class that is known at run time
        """Blobs that are all read by a training."""

        def spec(self) -> DataSpec:
            return DataSpec(shape=(1, 8, 8), splits={"train": 48, "test": 16}, num_classes=2, transductive=True)

    add("dataset", "whole", Whole)
    with pytest.raises(RequestError, match="trainings on whole read all of its items"):
        plan_of(datasets=["whole"], validation=0.2)


def test_other_datasets_of_a_task_are_cut_in_the_same_way(plan_of: PlanOf, add: Add, registry: Registry) -> None:
    class Other(registry.get("evaluator", "spread").cls):  # type: ignore[misc]  # a class that is known at run time
        """A task that reads another dataset."""

        def datasets(self, data: DataSpec) -> list[str]:
            return ["blobs"]

    add("evaluator", "other", Other)
    [cell] = only_chain(plan_of(tasks=["other"], validation=0.25)).cells
    assert cell.document["others"]["blobs"]["held_out"] == {"fraction": 0.25, "seed": 0}
    other = cell.other_datasets["blobs"]
    assert other.data.splits == {"train": 36, "test": 12}
    assert len(other.load("test")) == 12


def test_start_from_a_chain_that_may_have_read_the_held_out_items_is_refused(plan_of: PlanOf, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    whole, cut = only_chain(plan_of(epochs=1)), only_chain(plan_of(epochs=1, validation=0.25))
    for plan in (plan_of(epochs=1), plan_of(epochs=1, validation=0.25)):
        assert not run_plan(plan, store, CPU)
    with pytest.raises(RequestError, match="train it with the same validation"):
        plan_of(settings={"shrink.init": str(store.chain_folder(whole.key))}, validation=0.25)
    start = {"shrink.init": str(store.chain_folder(cut.key))}
    assert only_chain(plan_of(settings=start, validation=0.25)).init


def test_records_with_and_without_a_part_share_no_cell_and_no_table(plan_of: PlanOf, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    usual, cut, half = plan_of(epochs=1), plan_of(epochs=1, validation=0.25), plan_of(epochs=1, validation=0.5)
    assert not run_plan(usual, store, CPU)
    assert [entry.state for entry in plan_entries(cut, store.records())] == ["missing"]  # not stale
    assert not run_plan(cut, store, CPU)
    assert [entry.state for entry in plan_entries(half, store.records())] == ["missing"]
    assert [entry.state for entry in plan_entries(usual, store.records())] == ["done"]
    tables = by_table(with_distinct_names(entries_of(store.records())))
    assert sorted(tables) == [("blobs", "tiny"), ("blobs (25 % of train held out)", "tiny")]
    footers = {table.dataset: " ".join(table.footer) for table in build(entries_of(store.records()))}
    sentence = "Scores are of a held-out 25 % of train, on which nothing was trained; the test split was not opened."
    assert sentence in footers["blobs (25 % of train held out)"]
    assert "held-out" not in footers["blobs"]
