"""`bench why` compares a cell with the record that differs from it in the fewest places."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.planning.plan import Cell, Plan
from bench_core.planning.why import explain
from bench_core.store.record import Record, record_from_json


def record_of(cell: Cell, **recipe: Any) -> Record:
    """Return the record of a cell whose recipe has other values."""
    document: dict[str, Any] = copy.deepcopy(dict(cell.document))
    document["embed"]["pretrain"]["recipe"] |= recipe
    return record_from_json({"key": key_of(document), "doc": document, "names": dict(cell.names), "scores": []})


def test_nearest_record_is_the_one_that_differs_in_the_fewest_values(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    cell = plan.cells[0]
    near, far = record_of(cell, epochs=77), record_of(cell, epochs=77, batch_size=33, momentum=0.123)
    for records in ([near, far], [far, near]):
        lines = list(explain(cell.key, plan, records))
        assert any(f"the nearest record is {'/'.join(near.axes)}, key {near.key[:12]}" in line for line in lines)
        (difference,) = (line for line in lines if ": there " in line)
        assert difference.startswith("  embed.pretrain.recipe.epochs: there 77, here ")


def test_record_with_the_key_is_reported_as_done(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    cell = plan.cells[0]
    assert (
        list(explain(cell.key, plan, [record_of(cell, epochs=77), record_of(cell)]))[-1]
        == "done: a record has this key."
    )


def test_store_without_records_and_unknown_cell_are_told_apart(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of()
    last = list(explain(plan.cells[0].key, plan, []))[-1]
    assert last == "not done, and the store has no record to compare with."
    with pytest.raises(RequestError, match="no cell 'zzzz' in this request"):
        list(explain("zzzz", plan, []))
