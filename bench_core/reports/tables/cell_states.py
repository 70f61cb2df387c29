"""The state of each cell of a plan: computed from plan, records and attempts, never stored."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import shown
from bench_core.keys import differences
from bench_core.reports.tables.entries import Entry, State, entries_of, failure_reason
from bench_core.store import Store
from bench_core.store.record import AXES, Document, Record
from bench_core.store.store import MARKER, latest_attempts

if TYPE_CHECKING:  # torch and plugins are imported for a board, whose cells depend on the code that is installed
    from bench_core.planning.chains import Cell, Plan
    from bench_core.plugins import Registry

_VERSION_FIELDS = ("revision", "protocol", "digest")  # fields by which a record is older, not another experiment


def plan_entries(plan: "Plan", records: Iterable[Record], attempts: Iterable[Mapping[str, Any]] = ()) -> list[Entry]:
    """Return one entry for each cell of the plan: done, skipped, failed, stale or missing, with the reason."""
    by_key = {record.key: record for record in records}
    by_names: dict[tuple[object, ...], list[Record]] = {}
    for record in by_key.values():
        by_names.setdefault((*record.axes, record.seed), []).append(record)
    failed = latest_attempts(attempts)
    entries = []
    for cell in plan.cells:
        names_and_seed = (*(cell.names[axis] for axis in AXES), cell.seed)
        entries.append(_entry(cell, by_key, by_names.get(names_and_seed, []), failed))
    return entries


def table_entries(store: Store, board: str | None = None, registry: "Registry | None" = None) -> list[Entry]:
    """Return the cells of a board with their state in the store; without a board, every cell of the store."""
    if board is None:
        return entries_of(store.records(), store.attempts())
    from bench_core.planning.plan import board_plan

    return plan_entries(board_plan(board, registry), store.records(), store.attempts())


def what_to_run(entries: Iterable[Entry], store: Path, board: str | None) -> str:
    """Return the sentence that says which command makes the first record of a board or store; "" where there is one.

    Args:
        entries: The cells that are shown.
        store: Folder of a store, or of records.
        board: The board whose cells they are, or None.
    """
    if any(entry.record for entry in entries):
        return ""
    of_board, words = (f" of board {shown(board)}", ["--board", board]) if board else ("", ["--methods", "nac,sela"])
    if (store / MARKER).is_file() and store != Path("runs"):
        words += ["--store", str(store)]
    return f"{store} has no record{of_board} yet; run `{shlex.join(['bench', 'run', *words])}`."


def is_older(record: Record, cell: "Cell") -> bool:
    """Return whether a record is of an older version of this cell, and not another experiment of the same names.

    Its document may differ in versions, and in parameters that one of the two does not have. Where the revision of a
    component differs, the component's other parameters may differ, too: their defaults may have changed with it.
    """
    if (record.axes, record.seed) != (tuple(cell.names[axis] for axis in AXES), cell.seed):
        return False
    changed = differences(cell.document, record.document.content)
    of_other_revision = [
        path.removesuffix("revision") + "config." for path, _, _ in changed if path.endswith(".revision")
    ]
    return bool(changed) and all(
        path.rpartition(".")[2] in _VERSION_FIELDS or None in (now, then) or path.startswith(tuple(of_other_revision))
        for path, now, then in changed
    )


def _entry(
    cell: "Cell", by_key: Mapping[str, Record], same_names: Sequence[Record], failed: Mapping[str, Mapping[str, Any]]
) -> Entry:
    document = Document(cell.document)

    def entry(state: State, reason: str = "", record: Record | None = None) -> Entry:
        return Entry(cell.names, cell.seed, state, reason, record, document, planned=True)

    if cell.key in by_key:
        return entry("done", record=by_key[cell.key])
    if cell.skip is not None:
        return entry("skipped", cell.skip)
    if cell.key in failed:
        return entry("failed", failure_reason(failed[cell.key]))
    for record in sorted(same_names, key=lambda record: record.provenance.ended or "", reverse=True):  # newest first
        if is_older(record, cell):
            changed = differences(cell.document, record.document.content)
            changed.sort(key=lambda change: not change[0].endswith("revision"))  # the cause first
            reason = "; ".join(f"{path} was {then!r}, is {now!r}" for path, now, then in changed)
            return entry("stale", reason, record)
    return entry("missing")
