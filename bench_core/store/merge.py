"""Copies another store's records and artifacts, or a published board's records, into a store.

What the store has stays. If both have a record of the same key with different scores, that is a conflict: nothing of
its cell is copied, and both values are reported. A conflict shows how well a number reproduces.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest, new_folder, read_json, write_once
from bench_core.keys import key_of
from bench_core.store.record import Record
from bench_core.store.store import MARKER, Store, find_records

_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Conflict:
    """Two records of one key with different scores.

    Attributes:
        cell: Names and seed, for people.
        ours: File of the record that stays.
        theirs: File of the record that is left out.
        values: (metric, ours, theirs) of each score that differs: its value, or all its fields where the values
            agree; None where one record lacks the score.
    """

    cell: str
    ours: Path
    theirs: Path
    values: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True)
class Merge:
    """Contents of another store, compared with ours.

    Attributes:
        records: The records that are copied.
        known: Number of records that ours has already, with the same scores.
        conflicts: Records that are left out.
        attempts: Files below attempts/ that are copied, and their content.
        chains: Folders below chains/ that are copied.
        other_weights: Chains that both stores have, with different weights: ours stay.
    """

    records: tuple[Record, ...]
    known: int
    conflicts: tuple[Conflict, ...]
    attempts: Mapping[Path, Mapping[str, Any]]
    chains: tuple[Path, ...]
    other_weights: tuple[Path, ...]


def compare_stores(source: Path, store: Store) -> Merge:
    """Find out what merging would copy; nothing is written.

    Args:
        source: The other store, a published board's folder, or its records.
        store: Ours.

    Raises:
        RequestError: `source` holds no records, or is `store` itself.
        StoreError: A record of either is damaged.
    """
    if source.resolve() == store.path.resolve():
        raise RequestError(f"{source} is the store itself; name another one, or --store.")
    new: list[Record] = []
    known = 0
    conflicts: list[Conflict] = []
    conflicting_keys: set[str] = set()  # of cells and of their chains
    for file, theirs in find_records(source).items():
        ours = store.record(theirs.key)
        if ours is None:
            new.append(theirs)
        elif differing := _differing_scores(ours, theirs):
            conflicts.append(Conflict(theirs.label, store.record_file(theirs.key), file, differing))
            conflicting_keys |= {theirs.key, key_of(theirs.document.pretrain)}
        else:
            known += 1
    chains: list[Path] = []
    other_weights: list[Path] = []
    for folder in _finished_chains(source):
        our_summary = store.chain_folder(folder.name) / "summary.json"
        if not our_summary.is_file():
            if folder.name not in conflicting_keys:
                chains.append(folder)
        elif read_json(our_summary)["weights_sha256"] != read_json(folder / "summary.json")["weights_sha256"]:
            other_weights.append(folder)
    attempts = {
        file: attempt for file, attempt in _new_attempts(source, store) if attempt["key"] not in conflicting_keys
    }
    return Merge(tuple(new), known, tuple(conflicts), attempts, tuple(chains), tuple(other_weights))


def apply(merge: Merge, store: Store) -> None:
    """Copy what is new, each file and folder whole; what another process wrote meanwhile stays.

    Raises:
        StoreError: A chain's weights do not match its summary; what was copied before it stays.
    """
    store.create()
    for record in merge.records:
        store.add_record(record.stored)
    for file, attempt in merge.attempts.items():
        write_once(_attempt_file(file, store), attempt)
    for folder in merge.chains:
        with new_folder(store.chain_folder(folder.name), "summary.json") as copy:
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
            if file_digest(copy / _WEIGHTS) != read_json(copy / "summary.json")["weights_sha256"]:
                raise StoreError(f"{folder / _WEIGHTS} is damaged; delete {folder} and merge again.")


def _differing_scores(ours: Record, theirs: Record) -> tuple[tuple[str, Any, Any], ...]:
    """Return (metric, ours, theirs) for each score in which two records of one key differ."""
    differing: list[tuple[str, Any, Any]] = []
    for metric in dict.fromkeys([*ours.scores, *theirs.scores]):
        mine, other = ours.scores.get(metric), theirs.scores.get(metric)
        if mine == other:
            continue
        if mine and other and mine.value == other.value:  # the difference is in unit, n, direction or chance
            differing.append((metric, asdict(mine), asdict(other)))
        else:
            differing.append((metric, mine and mine.value, other and other.value))
    return tuple(differing)


def _finished_chains(source: Path) -> Iterator[Path]:
    """Yield the folders of finished trainings; StoreError where a folder's name is not the key of its recipe."""
    for summary in sorted((source / "chains").glob("*/summary.json")):
        folder = summary.parent
        if folder.name.startswith("."):  # another process is writing it
            continue
        if key_of(read_json(folder / "recipe.json")["doc"]) != folder.name:
            raise StoreError(f"{folder} is not what its key says: it was edited or damaged; move it away.")
        yield folder


def _new_attempts(source: Path, store: Store) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the failed attempts that the store lacks; the folder of a published board has none."""
    if not (source / MARKER).is_file():
        return
    for file in sorted((source / "attempts").glob("*/*.json")):
        attempt = read_json(file)
        if not (attempt["key"] == file.parent.name == key_of(attempt["doc"])):
            raise StoreError(f"{file} is not what its key says: it was edited or damaged; move it away.")
        if not _attempt_file(file, store).exists():
            yield file, attempt


def _attempt_file(file: Path, store: Store) -> Path:
    """Return the path of another store's attempt in ours: the same key and name."""
    return store.path / "attempts" / file.parent.name / file.name
