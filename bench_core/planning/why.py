"""Why a cell has its key: what the key is made of, and what differs from the nearest record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_core.errors import RequestError
from bench_core.keys import differences, flat, nearest
from bench_core.planning.plan import Cell, Plan


def explain(name: str, plan: Plan, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What `bench why` prints.

    Args:
        name: The beginning of a key, or METHOD/TASK[/SEED].
        plan: Where it is looked for.
        records: What is done.
    """
    cell, *others = _find(name, plan)
    where = "/".join(cell.names.values())
    if others:
        yield f"{name!r} is {len(others) + 1} cells; this is the first"
    yield f"{where}  seed {cell.seed}"
    yield f"key {cell.key}, the SHA-256 of:"
    yield from (f"  {path} = {value!r}" for path, value in flat(cell.document))
    if any(record["key"] == cell.key for record in records):
        yield "done: a record has this key."
        return
    if cell.skip:
        yield f"skipped: {cell.skip}"
        return
    close = nearest(cell.document, records)
    if close is None:
        yield "not done, and the store has no record to compare with."
        return
    there = "/".join(close["names"].values())
    yield f"not done; the nearest record is {there}, key {close['key'][:12]}, and differs in:"
    yield from (
        f"  {path}: there {theirs!r}, here {ours!r}" for path, ours, theirs in differences(cell.document, close["doc"])
    )


def _find(name: str, plan: Plan) -> list[Cell]:
    """By the beginning of a key, or by METHOD/TASK or METHOD/TASK/SEED; names may hold slashes themselves."""

    def is_meant(cell: Cell) -> bool:
        short = f"{cell.names['method']}/{cell.names['task']}"
        return name in (short, f"{short}/{cell.seed}") or (len(name) >= 4 and cell.key.startswith(name.lower()))

    hits = [cell for cell in plan.cells if is_meant(cell)]
    if not hits:
        raise RequestError(
            f"no cell {name!r} in this request; give METHOD/TASK, METHOD/TASK/SEED or at least 4 digits of a key "
            "with the same options as `bench run`; `bench run --dry-run` lists them."
        )
    return hits
