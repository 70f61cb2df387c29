"""What is known of each cell of a plan: joined from plan, records and attempts, never stored."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench_core.keys import differences
from bench_core.planning.plan import Cell, Plan
from bench_core.plugins import Registry
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.store import Store
from bench_core.store.store import latest_attempts

if TYPE_CHECKING:
    pass
from bench_core.planning.plan import board_plan

Record = Mapping[str, Any]
_AGES = ("revision", "protocol", "digest")  # what makes a record older, not another experiment


def plan_entries(plan: Plan, records: Iterable[Record], attempts: Iterable[Record] = ()) -> list[Entry]:
    """One entry for each cell of the plan: done, skipped, failed, stale or missing, with the reason."""
    by_key = {record["key"]: record for record in records}
    by_names: dict[tuple[str, ...], list[Record]] = {}
    for record in by_key.values():
        by_names.setdefault(_who(record["names"], seed_of(record)), []).append(record)
    failed = latest_attempts(attempts)
    return [_entry(cell, by_key, by_names.get(_who(cell.names, cell.seed), []), failed) for cell in plan.cells]


def seed_of(record: Record) -> int:
    """The chain's seed of a record or attempt."""
    return int(record["doc"]["embed"]["pretrain"]["seed"])


def _entry(cell: Cell, by_key: Mapping[str, Record], same: Sequence[Record], failed: Mapping[str, Record]) -> Entry:
    def entry(state: Any, reason: str = "", record: Record | None = None) -> Entry:
        return Entry(names=cell.names, seed=cell.seed, state=state, reason=reason, record=record, doc=cell.document)

    if cell.key in by_key:
        return entry("done", record=by_key[cell.key])
    if cell.skip is not None:
        return entry("skipped", cell.skip)
    if cell.key in failed:
        attempt = failed[cell.key]
        return entry("failed", f"{attempt['kind']}: {attempt['error']}")
    for record in same:
        changed = differences(cell.document, record["doc"])
        if all(path.rpartition(".")[2] in _AGES or None in (ours, theirs) for path, ours, theirs in changed):
            reason = "; ".join(f"{path} was {theirs!r}, is {ours!r}" for path, ours, theirs in changed)
            return entry("stale", reason)
    return entry("missing")


def _who(names: Mapping[str, str], seed: int) -> tuple[str, ...]:
    return (*(names[k] for k in ("dataset", "encoder", "method", "task")), str(seed))


def table_entries(store: Store, board: str | None = None, registry: Registry | None = None) -> list[Entry]:
    """The cells of a board as the store knows them; without a board, all that is in the store."""
    if board is None:
        return entries_of(store.records(), store.attempts())
    return plan_entries(board_plan(board, registry), store.records(), store.attempts())
