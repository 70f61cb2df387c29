"""`bench why` compares a cell with the record that differs from it in the fewest places."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.planning.chains import Cell, Plan
from bench_core.planning.source_code import source_digest
from bench_core.planning.why import explain
from bench_core.store import Store
from bench_core.store.record import Record, record_from_json


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def record_of(cell: Cell, provenance: dict[str, Any] | None = None, **recipe: Any) -> Record:
    """Return the record of a cell whose recipe has other values."""
    document: dict[str, Any] = copy.deepcopy(dict(cell.document))
    document["embed"]["pretrain"]["recipe"] |= recipe
    stored = {"format": 1, "key": key_of(document), "doc": document, "names": dict(cell.names), "scores": []}
    return record_from_json({**stored, "provenance": provenance or {}})


def explained(plan: Plan, store: Store, *records: Record) -> list[str]:
    """Return what is said of the first cell of a plan, with these records in the store."""
    for record in records:
        store.add_record(record.stored)
    return list(explain(plan.cells[0].key, plan, store))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearest_record_is_the_one_that_differs_in_the_fewest_values(
    plan_of: Callable[..., Plan], store: Store, order: tuple[int, int]
) -> None:
    plan = plan_of()
    cell = plan.cells[0]
    records = record_of(cell, epochs=77), record_of(cell, epochs=77, batch_size=33, momentum=0.123)
    near = records[0]
    lines = explained(plan, store, *(records[number] for number in order))
    assert any(f"the nearest record is {'/'.join(near.axes)}, key {near.key[:12]}" in line for line in lines)
    (difference,) = (line for line in lines if ": there " in line)
    assert difference.startswith("  embed.pretrain.recipe.epochs: there 77, here ")


def test_record_with_the_key_is_reported_as_done(plan_of: Callable[..., Plan], store: Store) -> None:
    plan = plan_of()
    cell = plan.cells[0]
    lines = explained(plan, store, record_of(cell, epochs=77), record_of(cell))
    assert lines[-1] == "done: a record has this key."


def test_record_of_other_code_is_reported_with_what_to_do(plan_of: Callable[..., Plan], store: Store) -> None:
    plan = plan_of(seeds=[0, 1])
    old = {"sources": {"task": source_digest(plan.cells[0].task.plugin), "method": "sha256:0000000000000000"}}
    for cell in plan.cells[1:]:
        store.add_record(record_of(cell, {"pretrain": old}).stored)
    assert not any("code changed" in line for line in explained(plan, store))
    assert explained(plan, store, record_of(plan.cells[0], {"pretrain": old}))[-2:] == [
        "done: a record has this key.",
        "shrink's code changed since 1 of these records was made, and its revision is still 1: raise it if numbers may "
        "change, or run with --rerun shrink",
    ]


def test_store_without_records_and_unknown_cell_are_told_apart(plan_of: Callable[..., Plan], store: Store) -> None:
    plan = plan_of()
    assert explained(plan, store)[-1] == "not done, and the store has no record to compare with."
    with pytest.raises(RequestError, match="no cell 'zzzz' in this request"):
        list(explain("zzzz", plan, store))


def test_a_cell_is_found_by_its_names_or_by_four_digits_of_its_key(plan_of: Callable[..., Plan], store: Store) -> None:
    plan = plan_of(seeds=[0, 1])
    key = plan.cells[1].key
    for name in ("shrink/spread/1", key[:4], key[:4].upper(), key):
        assert any(plan.cells[1].key[:12] in line for line in explain(name, plan, store)), name
    with pytest.raises(RequestError, match="at least 4 digits of a key"):
        list(explain(key[:3], plan, store))
