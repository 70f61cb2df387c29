"""Explains the key of a cell: its document, and the differences from the nearest record."""

from collections.abc import Iterator
from typing import Any

from bench_core.errors import RequestError
from bench_core.keys import differences, leaves
from bench_core.planning.chains import Cell, Plan, narrowed
from bench_core.planning.changed_code import changed_code
from bench_core.planning.recipes import RECIPE
from bench_core.planning.tuned_text import chosen_text
from bench_core.store import Store
from bench_core.store.record import cell_label


def explain(name: str, plan: Plan, store: Store) -> Iterator[str]:
    """Yield the lines that `bench why` prints.

    Args:
        name: The beginning of a key, or METHOD/TASK[/SEED].
        plan: The plan to look in.
        store: The store whose records are compared.
    """
    records = store.records()
    cell, *others = _find(name, plan)
    if others:
        yield f"{name!r} is {len(others) + 1} cells; this is the first"
    yield f"{cell_label(cell.names)}  seed {cell.seed}"
    yield f"key {cell.key}, the SHA-256 of:"
    yield from (f"  {path} = {value!r}" for path, value in leaves(cell.document))
    yield from _tuned(cell, plan)
    changed = changed_code(narrowed(plan, lambda _, other: other is cell), store)
    if any(record.key == cell.key for record in records):
        yield "done: a record has this key."
        yield from (part.line for part in changed)
        return
    if cell.skip:
        yield f"skipped: {cell.skip}"
        return
    yield from (part.line for part in changed)
    if not records:
        yield "not done, and the store has no record to compare with."
        return
    changes = {record.key: differences(cell.document, record.document.content) for record in records}
    nearest = min(records, key=lambda record: len(changes[record.key]))
    yield f"not done; the nearest record is {cell_label(nearest.names)}, key {nearest.key[:12]}, and differs in:"
    for path, value, nearest_value in changes[nearest.key]:
        yield f"  {path}: there {nearest_value!r}, here {value!r}"


def _tuned(cell: Cell, plan: Plan) -> Iterator[str]:
    """Yield what tuning chose for the row, and which of it the request overrules."""
    row = plan.board.tuned_row(cell.names["method"])
    chain = next(chain for chain in plan.chains if cell in chain.cells)
    if row is None:
        return
    yield f"tuned by {plan.board.name}: {chosen_text(row)}"
    now = {**vars(chain.method.config), **{f"{RECIPE}{name}": value for name, value in vars(chain.recipe).items()}}
    overruled = [name for name, value in row.values.items() if _as_in_toml(now.get(name)) != value]
    if overruled:
        yield f"  of which this request sets {', '.join(overruled)} itself"


def _as_in_toml(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _find(name: str, plan: Plan) -> list[Cell]:
    """Return the cells whose key begins with `name`, or that are METHOD/TASK or METHOD/TASK/SEED.

    The names of methods and tasks may contain slashes.
    """

    def matches(cell: Cell) -> bool:
        short = f"{cell.names['method']}/{cell.names['task']}"
        return name in (short, f"{short}/{cell.seed}") or (len(name) >= 4 and cell.key.startswith(name.lower()))

    cells = [cell for cell in plan.cells if matches(cell)]
    if not cells:
        raise RequestError(
            f"no cell {name!r} in this request; give METHOD/TASK, METHOD/TASK/SEED or at least 4 digits of a key "
            "with the same options as `bench run`; `bench run --dry-run` lists them."
        )
    return cells
