"""Runs finished cells again, and puts the new results in the place of the old ones when they are complete.

    bench run --methods nac,sela --rerun knn    # measures again on the stored embeddings
    bench run --methods nac,sela --rerun nac    # trains again, then runs every task of the chain again

    runs/
      rerun/<id>/             results of a rerun until they are complete; the same command goes on from them
      superseded/<time>/      what they have replaced, as a store of its own, which no table of runs/ reads

The id is a hash of the names and of their code: results of other code are never taken for a rerun of today's. A chain
that is trained again is replaced as a whole. Before anything moves, a list of what will move is written, and a rerun
that was killed while files moved goes on with that list.
"""

import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain as chain_of
from pathlib import Path
from typing import Any

from bench_core.errors import BenchError, StoreError, UnknownNameError
from bench_core.files import files_below, move, read_json, write_bytes, write_over
from bench_core.keys import key_of
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.planning.source_code import source_digest
from bench_core.plugins import Registry
from bench_core.running.pending import is_trained
from bench_core.running.verify import plan_again
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.fields import Test, field_errors, is_digest, is_file_name
from bench_core.store.record import Record
from bench_core.store.store import read_record

_POLL_S = 0.2  # between two looks at the claim of another process
_MOVES = "moves"  # folder of the lists of files that are about to move, one for each unit


class RerunStore(Store):
    """A store in which what is run again is not there yet.

    New records and new chains are written to a folder of their own; all else is read and written in the store itself.
    """

    def __init__(self, store: Store, folder: Path, cells: Collection[str], chains: Collection[str]) -> None:
        """Lay a folder over a store.

        Args:
            store: The store.
            folder: Folder of the new results.
            cells: Keys of the cells that are run again.
            chains: Keys of the chains that are trained again.
        """
        super().__init__(store.path)
        self.folder, self.cells, self.chains = folder, frozenset(cells), frozenset(chains)
        old = [*map(super().record_file, cells), *map(super().chain_folder, chains)]
        self._began_with = {path: _identity(path) for path in old}

    def record_file(self, key: str) -> Path:
        """Return the path of a cell's record; of a cell that is run again, that of the new record."""
        old = super().record_file(key)
        return self._new(old) if key in self.cells else old

    def chain_folder(self, key: str) -> Path:
        """Return the folder of a chain's artifacts; of a chain that is trained again, that of the new ones."""
        old = super().chain_folder(key)
        return self._new(old) if key in self.chains else old

    def _new(self, old: Path) -> Path:
        """Return where the new result is: beside the store, until this or an equal rerun has put it into its place."""
        was_replaced = self._began_with.get(old) != _identity(old)
        return old if was_replaced and not self.staged(old).exists() else self.staged(old)

    def staged(self, old: Path) -> Path:
        """Return where the new result lies for a file or folder of the store until it is moved into its place."""
        return self.folder / old.relative_to(self.path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what differs between a file or folder and its successor of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, 0 if path.is_dir() else found.st_mtime_ns


@contextmanager
def _claimed(store: Store, key: str) -> Iterator[None]:
    """Claim a chain in this block; wait while another process works on it, or moves its files."""
    claims = Claims(store.path)
    with claims:
        while claims.try_claim(key) is None:
            time.sleep(_POLL_S)
        yield


@dataclass(frozen=True)
class Change:
    """A record that was replaced, and the one in its place."""

    old: Record
    new: Record

    @property
    def line(self) -> str:
        """The line that says what moved; empty where every score is the same: "nac/knn seed 0: top1 0.98 -> 0.99"."""
        old, new = ({metric: score.value for metric, score in r.scores.items()} for r in (self.old, self.new))
        moved = [metric for metric in dict.fromkeys([*old, *new]) if old.get(metric) != new.get(metric)]
        if not moved:
            return ""
        others = f", and {len(moved) - 1} more of {len(new)} scores" if len(moved) > 1 else ""
        return f"{self.new.label}: {moved[0]} {_text(old, moved[0])} -> {_text(new, moved[0])}{others}"


def _records(number: int) -> str:
    return "1 record was" if number == 1 else f"{number} records were"


def _text(values: Mapping[str, float | None], metric: str) -> str:
    value = values.get(metric)
    return "none" if value is None else f"{value:.6g}"


@dataclass(frozen=True)
class Rerun:
    """Cells that are run again, with the missing cells of the same request.

    Attributes:
        plan: The request's plan; a chain that is trained again has also the cells of all other records that the store
            holds of it.
        store: Where this plan is run.
        again: Keys of the cells that have a record and are run again.
        remarks: What a user must know before it begins, a line each.
        left_behind: Chain -> keys of its records that today's code cannot measure again.
    """

    plan: Plan
    store: RerunStore
    again: frozenset[str]
    remarks: tuple[str, ...]
    left_behind: Mapping[str, Sequence[str]]

    def finish(self) -> Iterator[str]:
        """Put what is complete into the place of the old results, and yield lines that say what moved."""
        if not self.again:
            return
        changes: list[Change] = []
        elsewhere = 0
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        for chain in self.plan.chains:
            for unit in self._units(chain):
                with _claimed(self.store, chain.key):
                    staged = [cell for cell in unit if self.store.folder in self.store.record_file(cell.key).parents]
                    if not staged:
                        elsewhere += sum(cell.key in self.again for cell in unit)
                    elif all(self.store.record(cell.key) for cell in unit):
                        moves = _write_moves(self.store, chain, unit, self.left_behind.get(chain.key, ()), when)
                        changes += _move(self.store, moves)
        lines = [change.line for change in changes]
        yield from filter(None, lines)
        yield f"{_records(len(changes))} replaced, {lines.count('')} with the same scores"
        if elsewhere:
            yield f"{_records(elsewhere)} replaced by another run of the same command"
        if kept := len(self.again) - len(changes) - elsewhere:
            yield f"{_records(kept)} kept, as the rerun is not complete: give the command again"
        if changes:
            yield f"the old ones are in {self.store.path / 'superseded'}"

    def _units(self, chain: Chain) -> list[Sequence[Cell]]:
        """Return the cells of a chain in groups that are replaced together."""
        staged = [cell for cell in chain.cells if cell.key in self.store.cells]
        if chain.key in self.store.chains:
            return [staged] if staged else []
        return [[cell] for cell in staged]


def prepare_rerun(plan: Plan, store: Store, names: Sequence[str], registry: Registry, data_root: Path) -> Rerun:
    """Find what is run again; nothing is written.

    Args:
        plan: The plan of the request.
        store: The store that holds the old results.
        names: Methods and tasks of the request, as its rows and columns are called, or names of components. Without
            any, nothing is run again.
        registry: The plugins.
        data_root: Folder of the datasets.

    Raises:
        UnknownNameError: A name is no method or task of the request.
    """
    if not names:
        return Rerun(plan, RerunStore(store, store.path, (), ()), frozenset(), (), {})
    methods, tasks = _matching(plan, names)
    trained = {
        chain.key
        for chain in plan.chains
        if any(start.method.name in methods for start in chain.lineage)
        and (is_trained(chain, store) or any(store.record(cell.key) for cell in chain.cells))
    }
    others = _other_cells(plan, store, trained, registry, data_root)
    chains = []
    staged: set[str] = set()
    for chain in plan.chains:
        if chain.key in trained:
            cells = (*chain.cells, *others.cells.get(chain.key, ()))
            chain = replace(chain, cells=cells)
            staged |= {cell.key for cell in cells if cell.skip is None}
        else:
            staged |= {cell.key for cell in chain.cells if cell.task.name in tasks and store.record(cell.key)}
        chains.append(chain)
    folder = store.path / "rerun" / key_of({"names": sorted(names), "code": _code(chains)})[:12]
    remarks = list(others.remarks)
    following = [c.method.name for c in plan.chains if c.key in trained and c.method.name not in methods]
    if following:
        remarks.append(f"trained again, too, as they start from it: {', '.join(dict.fromkeys(following))}")
    return Rerun(
        replace(plan, chains=tuple(chains)),
        RerunStore(store, folder, staged, trained),
        frozenset(key for key in staged if store.record(key)),
        tuple(remarks),
        others.left_behind,
    )


def _code(chains: Sequence[Chain]) -> dict[str, str]:
    """Return component -> revision and digest of its code, for all components of some chains."""
    code = {}
    for chain in chains:
        for link in chain.lineage:
            for part in (link.dataset, link.encoder, link.method, *(cell.task for cell in link.cells)):
                code[part.plugin.id] = f"{part.plugin.cls.revision} {source_digest(part.plugin)}"
    return code


def _matching(plan: Plan, names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return the methods and the tasks of a plan that these names mean: rows of that name, else of that component."""
    methods = {chain.method.name: chain.method for start in plan.chains for chain in start.lineage}
    tasks = {cell.task.name: cell.task for cell in plan.cells}
    found: tuple[set[str], set[str]] = (set(), set())
    for name in names:
        matches = [{row for row in rows if row == name} for rows in (methods, tasks)]
        if not any(matches):
            for rows, matching in zip((methods, tasks), matches, strict=True):
                matching |= {row for row, part in rows.items() if name in (part.plugin.name, part.plugin.id)}
        if not any(matches):
            raise UnknownNameError("method or task of this request", name, {*methods, *tasks})
        for chosen, matching in zip(found, matches, strict=True):
            chosen |= matching
    return found


@dataclass(frozen=True)
class _OtherCells:
    """Cells of records that a store holds of chains that are trained again, and that the request does not name.

    Attributes:
        cells: Chain -> the cells.
        left_behind: Chain -> keys of records that today's code cannot measure again.
        remarks: Why it cannot.
    """

    cells: Mapping[str, Sequence[Cell]]
    left_behind: Mapping[str, Sequence[str]]
    remarks: Sequence[str]


def _other_cells(
    plan: Plan, store: Store, trained: Collection[str], registry: Registry, data_root: Path
) -> _OtherCells:
    cells: dict[str, list[Cell]] = {}
    left_behind: dict[str, list[str]] = {}
    remarks: list[str] = []
    planned = {cell.key for cell in plan.cells}
    for record in store.records() if trained else ():
        chain = key_of(record.document.pretrain)
        if chain not in trained or record.key in planned:
            continue
        try:
            cells.setdefault(chain, []).extend(plan_again(record, registry, data_root).cells)
        except BenchError as error:
            left_behind.setdefault(chain, []).append(record.key)
            remarks.append(f"{record.label} goes to superseded/ with its training, without a successor: {error}")
    return _OtherCells(cells, left_behind, remarks)


def _write_moves(store: RerunStore, chain: Chain, unit: Sequence[Cell], left_behind: Sequence[str], when: str) -> Path:
    """Write the list of what will move for one unit, and return its file."""
    trained = chain.key in store.chains
    moves = {
        "when": when,
        "chain": chain.key if trained else None,
        "claim": chain.key,
        "cells": [cell.key for cell in unit],
        "left_behind": list(left_behind) if trained else [],
    }
    path = store.folder / _MOVES / f"{chain.key if trained else unit[0].key}.json"
    write_over(path, moves)
    return path


def finish_moves(store: Store) -> None:
    """Move to its end what a rerun that was killed has left half moved. Call it before `prepare_rerun`."""
    for path in files_below(store.path / "rerun", ".json"):
        if path.parent.name != _MOVES:
            continue
        moves = _read_moves(path)
        chains = [moves["chain"]] if moves.get("chain") else []
        with _claimed(store, moves.get("claim") or moves.get("chain") or path.stem):
            if path.is_file():  # the process that wrote it may have gone on
                _move(RerunStore(store, path.parent.parent, moves["cells"], chains), path)


def _read_moves(path: Path) -> dict[str, Any]:
    """Read a list of `_write_moves`; StoreError where it could move anything else than results of this store."""
    moves = read_json(path)
    fields: dict[str, Test] = {"when": is_file_name, "cells": _are_keys, "left_behind": _are_keys}
    errors = (
        field_errors(moves, "", fields),
        field_errors(moves, "", {"chain": is_digest, "claim": is_digest}, optional=True),
    )
    if error := next(chain_of(*errors), None):
        raise StoreError(f"{path} is no list of files to move: {error}; move it away and run again.")
    return moves


def _are_keys(value: object) -> bool:
    return isinstance(value, list) and all(map(is_digest, value))


def _move(store: RerunStore, path: Path) -> list[Change]:
    """Move the files of a list: the old ones to superseded/, the new ones into their places; repeating it is safe."""
    moves = _read_moves(path)
    base = Store(store.path)
    superseded = Store(store.path / "superseded" / moves["when"])
    superseded.create()
    if moves.get("chain"):
        old, gone = (s.chain_folder(moves["chain"]) for s in (base, superseded))
        new = store.staged(old)
        if new.is_dir():
            if old.is_dir():
                while gone.exists():  # the chain was trained once more while its moves were half done
                    gone = gone.with_name(f"{gone.name}.again")
                move(old, gone)
            move(new, old)
    changes = []
    for key in moves["cells"]:
        old, gone = (s.record_file(key) for s in (base, superseded))
        new = store.staged(old)
        if new.is_file():
            if old.is_file():
                changes.append(Change(read_record(old), read_record(new)))
                _keep(old, gone)
            move(new, old)  # a reader finds the old record or the new one, never none
    for key in moves["left_behind"]:
        old = base.record_file(key)
        if old.is_file():
            _keep(old, superseded.record_file(key))
            old.unlink()
    path.unlink()
    _remove_if_empty(store.folder)
    return changes


def _keep(old: Path, gone: Path) -> None:
    """Copy a record to where superseded ones are kept; what is there is whole, and stays."""
    if not gone.exists():
        write_bytes(gone, old.read_bytes())


def _remove_if_empty(folder: Path) -> None:
    """Delete a folder that holds no file any more, and the one above it if it is empty then."""
    if not files_below(folder):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another rerun has a folder there
            folder.parent.rmdir()
