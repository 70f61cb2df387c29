"""Chooses the records and failed attempts that a board's folder holds after publishing.

A published number is not lost by publishing. A record goes only when a newer one of the same cell takes its place:
then the older one was made by older code, and git has it. Nothing else is deleted.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.files import paths_in, write_over
from bench_core.planning.chains import Plan
from bench_core.reports.pictures.kinds import has_never_averaged, without_never_averaged
from bench_core.reports.tables.cell_states import is_older
from bench_core.store.record import AXES, Document, Record, record_from_json
from bench_core.store.store import latest_attempts

_OF_THIS_RUN = ("--store", "--data-root", "--only-chain", "--without-cell")  # options that a published command lacks
_ATTEMPT_FIELDS = ("format", "key", "doc", "names", "kind", "error", "started")  # its log is not published


@dataclass(frozen=True)
class MergedRecords:
    """Records of a board, by what becomes of them.

    Attributes:
        current: Records of the board's cells as they are now.
        renewed: Those of them that take the place of another run of the same key.
        stale: Records of older code whose cells have no current record yet: the page shows them as stale.
        elsewhere: Records of no cell of the board as it is now, for example of a row that was taken out: they stay in
            the folder, and no table shows them.
        replaced: Records of older code whose cells have a current record now: they are deleted.
    """

    current: Sequence[Record]
    renewed: Sequence[Record]
    stale: Sequence[Record]
    elsewhere: Sequence[Record]
    replaced: Sequence[Record]

    def report(self) -> Iterator[str]:
        """Yield a line for each sort of earlier records, if there are any."""
        if self.renewed:
            yield f"run again: {len(self.renewed)} records took the places of earlier ones of the same keys"
        if self.replaced:
            yield f"replaced: {len(self.replaced)} older records of the same cells"
        if self.stale:
            yield f"stale: {len(self.stale)} records of an older revision; each stays until a new one of its cell comes"
        if self.elsewhere:
            yield f"not of this board as it is now: {len(self.elsewhere)} records; they stay, and no table shows them"

    @property
    def kept(self) -> list[Record]:
        """All that the folder holds afterwards."""
        return [*self.current, *self.stale, *self.elsewhere]


def merge_records(plan: Plan, published: Iterable[Record], new: Iterable[Record]) -> MergedRecords:
    """Sort records by what becomes of them when a board is published.

    Args:
        plan: The board's cells as they are now.
        published: Records in the board's folder.
        new: Records of the board's cells that join them; one with the same key takes the place of the other.
    """
    before = {record.key: record for record in published}
    joined = {record.key: _portable(record) for record in new}
    by_key = before | joined
    planned = {cell.key for cell in plan.cells}
    cells = {_cell_of(cell.names, cell.seed): cell for cell in plan.cells}
    renewed = [joined[key] for key in before if key in joined and _is_another_run(joined[key], before[key])]
    sorted_out: dict[str, list[Record]] = {"current": [], "stale": [], "elsewhere": [], "replaced": []}
    for key, record in by_key.items():
        cell = cells.get(_cell_of(record.names, record.seed))
        if key in planned:
            sorted_out["current"].append(record)
        elif cell is None or not is_older(record, cell):
            sorted_out["elsewhere"].append(record)
        else:
            sorted_out["replaced" if cell.key in by_key else "stale"].append(record)
    return MergedRecords(renewed=renewed, **sorted_out)


def _is_another_run(record: Record, other: Record) -> bool:
    """Return whether two records of one key are of two runs; their costs differ where both ran in one second."""
    return (record.provenance, record.cost) != (other.provenance, other.cost)


def write_records(folder: Path, records: MergedRecords) -> None:
    """Write the current records, then delete those that they replace; the others stay as they are."""
    with_pictures = _first_seeds(records.current)
    for record in records.current:
        slim = record if record.key in with_pictures else without_never_averaged(record)
        write_over(folder / f"{record.key}.json", slim.stored)
    for record in records.replaced:
        (folder / f"{record.key}.json").unlink()


def merge_attempts(
    plan: Plan, published: Iterable[Mapping[str, Any]], new: Iterable[Mapping[str, Any]], records: MergedRecords
) -> dict[str, Mapping[str, Any]]:
    """Return key -> failed attempt, for the attempts that a board's folder holds after publishing.

    An attempt that was published before stays until its cell is done or fails anew, by whichever code.

    Args:
        plan: The board's cells as they are now.
        published: Attempts in the board's folder.
        new: Attempts of the store.
        records: The records after publishing.
    """
    done = {record.key for record in records.current}
    latest = latest_attempts(new)
    failed = {
        cell.key: latest[cell.key]
        for cell in plan.cells
        if cell.key in latest and cell.key not in done and not cell.skip
    }
    settled = {_cell_of(cell.names, cell.seed) for cell in plan.cells if cell.key in done or cell.key in failed}
    before = {a["key"]: a for a in published if a.get("kind") and _cell_of(a["names"], _seed_of(a)) not in settled}
    return before | {key: {f: attempt[f] for f in _ATTEMPT_FIELDS if f in attempt} for key, attempt in failed.items()}


def write_attempts(folder: Path, attempts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the failed attempts, and delete those whose cells are done or failed anew."""
    for path in paths_in(folder, ".json"):
        if path.stem not in attempts:
            path.unlink()
    for key, attempt in attempts.items():
        write_over(folder / f"{key}.json", attempt)


def _cell_of(names: Mapping[str, str], seed: int | None) -> tuple[object, ...]:
    return (*(names[axis] for axis in AXES), seed)


def _seed_of(attempt: Mapping[str, Any]) -> int | None:
    """Return the seed of an attempt; None where it comes from older code that did not write it."""
    return Document(attempt["doc"]).seed if attempt.get("doc") else attempt.get("seed")


def _first_seeds(records: Iterable[Record]) -> set[str]:
    """Return the keys of the records that keep the curves and images of which a picture shows one seed alone."""
    first: dict[tuple[str, ...], str] = {}
    for record in sorted(records, key=lambda record: record.seed):
        if has_never_averaged(record):
            first.setdefault(record.axes, record.key)
    return set(first.values())


def _portable(record: Record) -> Record:
    """Return a record without the paths of this machine: its commands are as anybody would type them."""
    provenance: dict[str, Any] = dict(record.stored.get("provenance") or {})
    provenance["command"] = typed_command(provenance.get("command"))
    if pretrain := provenance.get("pretrain"):
        provenance["pretrain"] = {**pretrain, "command": typed_command(pretrain.get("command"))}
    return record_from_json({**record.stored, "provenance": provenance})


def typed_command(command: str | None) -> str | None:
    """Return `bench run ...` as anybody would type it; a call from Python stays as it is.

    Left out are the paths of this machine, and the options with which a process is started for one chain.
    """
    try:
        words = shlex.split(command or "")
    except ValueError:  # a quotation that does not end: no shell took this
        return command
    program = 3 if words[1:3] == ["-m", "bench_core"] else 1  # number of words
    if words[program : program + 1] != ["run"]:
        return command
    typed = ["bench"]
    is_value = False  # of an option that is left out
    for word in words[program:]:
        if is_value:
            is_value = False
        elif word in _OF_THIS_RUN:
            is_value = True
        elif not word.startswith(tuple(f"{option}=" for option in _OF_THIS_RUN)):
            typed.append(word)
    return shlex.join(typed)
