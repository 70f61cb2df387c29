"""A data set without a test part: methods that use labels are planned once for each of its folds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench_core import Config, Dataset, DataSpec, Split, param
from bench_core.data.made import made_split
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]


@dataclass(frozen=True, kw_only=True)
class SetConfig(Config):
    """Parameters of Set."""

    fold: int | None = param(None, "part that is tested", "ours: tiny", ge=0)


class Set(Dataset):
    """Images without a test part, unless a fold is named (ours)."""

    Config = SetConfig

    def __init__(self, root: Path, config: SetConfig) -> None:
        self.config = config

    def spec(self) -> DataSpec:
        whole = self.config.fold is None
        splits = {"train": 30} if whole else {"train": 20, "test": 10}
        return DataSpec(shape=(1, 8, 8), splits=splits, num_classes=2, transductive=whole, folds=3 if whole else None)

    def digest(self) -> str:
        return "set-1"

    def load(self, split: str) -> Split:
        return made_split(self.spec(), self.spec().splits[split])


@pytest.fixture
def sets(add: Add, registry: Registry) -> None:
    class Labelled(registry.get("objective", "shrink").cls):  # type: ignore[misc]  # a class that is known at run time
        uses_labels = True

    add("dataset", "set", Set)
    add("objective", "labelled", Labelled)


def test_only_methods_that_use_labels_are_planned_by_fold(plan_of: PlanOf, sets: None) -> None:
    plan = plan_of(datasets=["set"], methods=["labelled", "shrink"], seeds=[0, 1])
    rows = [(chain.method.name, chain.seed, chain.dataset.config.fold) for chain in plan.chains]
    assert rows == [
        *(("labelled", seed, fold) for seed in (0, 1) for fold in range(3)),
        ("shrink", 0, None),
        ("shrink", 1, None),
    ]
    assert [cell.names.get("fold") for cell in plan.cells] == [*["0 of 3", "1 of 3", "2 of 3"] * 2, None, None]
    assert len({chain.key for chain in plan.chains}) == 8
    assert plan.chains[0].data.splits == {"train": 20, "test": 10}


def test_a_method_that_starts_from_labels_is_planned_by_fold_with_its_start(plan_of: PlanOf, sets: None) -> None:
    plan = plan_of(datasets=["set"], methods=["labelled", "shrink"], settings={"shrink.init": "labelled"})
    of_shrink = [chain for chain in plan.chains if chain.method.name == "shrink"]
    assert [chain.lineage[0].dataset.config.fold for chain in of_shrink] == [0, 1, 2]


def test_a_fold_that_is_named_is_an_ordinary_data_set(plan_of: PlanOf, sets: None) -> None:
    [chain] = plan_of(datasets=["set"], methods=["labelled"], settings={"set.fold": 1}).chains
    assert "fold" not in chain.cells[0].names
    by_fold = plan_of(datasets=["set"], methods=["labelled"]).chains
    assert chain.key == by_fold[1].key


def test_a_method_that_cannot_use_the_data_is_one_row_and_not_one_for_each_fold(
    plan_of: PlanOf, sets: None, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("objective", "labelled").cls, "skip_reason", lambda data, config: "needs sound")
    [cell] = plan_of(datasets=["set"], methods=["labelled"]).cells
    assert cell.skip == "needs sound"


def test_a_method_that_refuses_the_whole_set_alone_is_planned_by_fold(
    plan_of: PlanOf, sets: None, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        registry.get("objective", "labelled").cls,
        "skip_reason",
        lambda data, config: None if "test" in data.splits else "needs a test split",
    )
    cells = plan_of(datasets=["set"], methods=["labelled"]).cells
    assert [cell.skip for cell in cells] == [None, None, None]
