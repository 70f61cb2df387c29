"""Which results of a store are of other code, and what is said of them; the code of a component is a text here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.planning.chains import Plan
from bench_core.planning.changed_code import changed_code
from bench_core.plugins import Component, Registry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

CPU = RunSetting(device="cpu", command="test")
PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]


class Code:
    """The code of all components: name -> a text that stands for it; None cannot be read."""

    def __init__(self) -> None:
        self.of: dict[str, str | None] = {}

    def digest(self, component: Component) -> str | None:
        return self.of.get(component.name, "as it was")


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Code:
    code = Code()
    for module in ("changed_code", "source_code"):
        monkeypatch.setattr(f"bench_core.planning.{module}.source_digest", code.digest)
    return code


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def lines(plan: Plan, store: Store) -> list[str]:
    return [changed.line for changed in changed_code(plan, store)]


@pytest.mark.parametrize(
    ("part", "rerun"), [("blobs", "shrink"), ("tiny", "shrink"), ("shrink", "shrink"), ("spread", "spread")]
)
def test_each_part_whose_code_changed_is_named_once_with_its_number_of_records(
    part: str, rerun: str, plan_of: PlanOf, store: Store, code: Code
) -> None:
    plan = plan_of(seeds=[0, 1])
    assert lines(plan, store) == []
    run_plan(plan, store, CPU)
    assert lines(plan, store) == []
    code.of[part] = "edited"
    assert lines(plan, store) == [
        f"{part}'s code changed since 2 of these records were made, and its revision is still 1: raise it if numbers "
        f"may change, or run with --rerun {rerun}"
    ]
    assert lines(plan_of(seeds=[2]), store) == []


def test_a_training_is_named_where_a_new_task_would_be_run_on_it(
    plan_of: PlanOf, add: Add, store: Store, code: Code, registry: Registry
) -> None:
    run_plan(plan_of(), store, CPU)
    code.of |= {"shrink": "edited", "spread": "edited"}
    add("evaluator", "again", registry.get("evaluator", "spread").cls)
    (line,) = lines(plan_of(tasks=["again"]), store)
    assert line.startswith("shrink's code changed since 1 of the trainings that are used was made")
    both = lines(plan_of(tasks=["spread", "again"]), store)
    assert both[0].startswith(
        "shrink's code changed since 1 of these records and 1 of the trainings that are used were"
    )
    assert both[1].startswith("spread's code changed since 1 of these records was made")


def test_code_of_the_training_that_a_method_starts_from_counts(
    plan_of: PlanOf, add: Add, store: Store, code: Code, registry: Registry
) -> None:
    add("objective", "first", type("First", (registry.get("objective", "shrink").cls,), {}))
    plan = plan_of(methods=["first", "shrink"], settings={"shrink.init": "first"})
    run_plan(plan, store, CPU)
    code.of["first"] = "edited"
    (line,) = lines(plan, store)
    assert line.startswith("first's code changed since 2 of these records were made")  # of first, and of shrink
    assert line.endswith("--rerun first")


def test_a_trained_start_of_other_code_is_named_before_its_successor_is_trained(
    plan_of: PlanOf, add: Add, store: Store, code: Code, registry: Registry
) -> None:
    add("objective", "first", type("First", (registry.get("objective", "shrink").cls,), {}))
    run_plan(plan_of(methods=["first"]), store, CPU)
    code.of["first"] = "edited"
    plan = plan_of(methods=["first", "shrink"], settings={"shrink.init": "first"})
    (line,) = lines(plan, store)
    assert line.startswith("first's code changed since 1 of these records and 1 of the trainings that are used were")


def test_a_record_of_two_codes_is_said_to_differ_from_each(plan_of: PlanOf, store: Store, code: Code) -> None:
    run_plan(plan_of(), store, CPU)
    code.of["shrink"] = "edited"
    store.record_file(store.records()[0].key).unlink()
    run_plan(plan_of(), store, CPU)  # the task of today on the training of before
    (record,) = store.records()
    assert record.provenance.sources["method"] == "edited"
    assert record.provenance.pretrain is not None
    assert record.provenance.pretrain.sources["method"] == "as it was"
    for text in ("edited", "as it was"):
        code.of["shrink"] = text
        assert len(lines(plan_of(), store)) == 1


def test_nothing_is_said_of_results_or_code_without_a_digest(plan_of: PlanOf, store: Store, code: Code) -> None:
    code.of = dict.fromkeys(("blobs", "tiny", "shrink", "spread"))
    run_plan(plan_of(), store, CPU)
    (record,) = store.records()
    assert record.provenance.sources == {}
    code.of = {}
    assert lines(plan_of(), store) == []
    run_plan(plan_of(seeds=[1]), store, CPU)
    code.of["shrink"] = None
    assert lines(plan_of(seeds=[0, 1]), store) == []


def test_rows_of_a_sweep_are_run_again_by_the_name_of_their_method(plan_of: PlanOf, store: Store, code: Code) -> None:
    plan = plan_of(sweeps={"shrink.factor": [1.0, 2.0]})
    run_plan(plan, store, CPU)
    code.of["shrink"] = "edited"
    (line,) = lines(plan, store)
    assert "2 of these records" in line
    assert line.endswith("--rerun shrink")


def test_each_start_of_a_longer_line_is_compared_with_its_own_code(
    plan_of: PlanOf, add: Add, store: Store, code: Code, registry: Registry
) -> None:
    for name in ("first", "second"):
        add("objective", name, type(name, (registry.get("objective", "shrink").cls,), {}))
    plan = plan_of(methods=["first", "second", "shrink"], settings={"shrink.init": "second", "second.init": "first"})
    run_plan(plan, store, CPU)
    code.of["second"] = "edited"
    (line,) = lines(plan, store)
    assert line.startswith("second's code changed since 2 of these records were made")  # of second, and of shrink


def test_of_very_many_records_some_are_read(
    plan_of: PlanOf, store: Store, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[0, 1, 2])
    run_plan(plan, store, CPU)
    code.of["spread"] = "edited"
    monkeypatch.setattr("bench_core.planning.changed_code._MOST_READ", 2)
    [line] = lines(plan, store)
    assert line.startswith("spread's code changed since 2 of 2 records that were looked at were made")
