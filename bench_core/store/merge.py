"""Another store's records and artifacts, or a published board's records, brought into a store.

What is there already stays. A record of the same key with other scores contradicts: nothing of its cell comes in, and
both values are reported; that is a report of how well a number reproduces.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest, publishing, read_json, write_once
from bench_core.keys import key_of
from bench_core.store.record_schema import AXES, seed_of
from bench_core.store.store import MARKER, Store, find_records

Record = Mapping[str, Any]
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Conflict:
    """Two records of one key with other scores.

    Attributes:
        cell: Names and seed, for people.
        ours: File of the one that stays.
        theirs: File of the one that is left out.
        values: (metric, ours, theirs) of each score that differs; None where one side lacks it.
    """

    cell: str
    ours: Path
    theirs: Path
    values: tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True)
class Merge:
    """What another store has, compared with ours.

    Attributes:
        records: That come in.
        here: Number of records that are here already, with the same scores.
        conflicts: What is left out.
        attempts: Files below attempts/ that come in, and what they hold.
        chains: Folders below chains/ that come in.
        weights: Chains that both have with other weights: ours stay.
    """

    records: tuple[Record, ...]
    here: int
    conflicts: tuple[Conflict, ...]
    attempts: Mapping[Path, Record]
    chains: tuple[Path, ...]
    weights: tuple[Path, ...]


def compare_stores(other: Path, store: Store) -> Merge:
    """What merging would do; nothing is written.

    Args:
        other: A store, a published board's folder, or its records.
        store: Ours.

    Raises:
        RequestError: `other` holds no records, or is `store` itself.
        StoreError: A record, here or there, is damaged.
    """
    if other.resolve() == store.path.resolve():
        raise RequestError(f"{other} is the store itself; name another one, or --store.")
    new, here, conflicts, closed = list[Record](), 0, list[Conflict](), set[str]()
    for file, record in find_records(other).items():
        known = store.record(record["key"])
        if known is None:
            new.append(record)
        elif differing := _other_scores(known, record):
            conflicts.append(Conflict(_cell(record), store.cell(record["key"]), file, differing))
            closed |= {record["key"], key_of(record["doc"]["embed"]["pretrain"])}
        else:
            here += 1
    chains, weights = list[Path](), list[Path]()
    for folder in _chains(other):
        ours = store.chain(folder.name) / "summary.json"
        if not ours.is_file():
            chains += [folder] if folder.name not in closed else []
        elif read_json(ours)["weights_sha256"] != read_json(folder / "summary.json")["weights_sha256"]:
            weights.append(folder)
    attempts = {file: attempt for file, attempt in _attempts(other, store) if attempt["key"] not in closed}
    return Merge(tuple(new), here, tuple(conflicts), attempts, tuple(chains), tuple(weights))


def bring(merge: Merge, store: Store) -> None:
    """Write what comes in, each file and folder whole; what another writer published meanwhile stays.

    Raises:
        StoreError: A chain's weights are not what its summary says; what came before it is in.
    """
    store.create()
    for record in merge.records:
        store.publish(record)
    for file, attempt in merge.attempts.items():
        write_once(_place(file, store), attempt)
    for folder in merge.chains:
        with publishing(store.chain(folder.name), "summary.json") as making:
            shutil.copytree(folder, making, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
            if file_digest(making / _WEIGHTS) != read_json(making / "summary.json")["weights_sha256"]:
                raise StoreError(f"{folder / _WEIGHTS} is damaged; delete {folder} and merge again.")


def _other_scores(ours: Record, theirs: Record) -> tuple[tuple[str, Any, Any], ...]:
    """What differs in the scores of two records of one key."""
    a, b = ({score["metric"]: score for score in record["scores"]} for record in (ours, theirs))
    differing = []
    for metric in dict.fromkeys([*a, *b]):
        mine, other = a.get(metric), b.get(metric)
        if mine != other:
            same = mine and other and mine["value"] == other["value"]  # then it is its unit, n, direction or chance
            shown = (mine, other) if same else (mine and mine["value"], other and other["value"])
            differing.append((metric, *shown))
    return tuple(differing)


def _cell(record: Record) -> str:
    return f"{'/'.join(record['names'][axis] for axis in AXES)} seed {seed_of(record['doc'])}"


def _chains(other: Path) -> Iterator[Path]:
    """Folders of finished trainings, each of which is what its name says."""
    for summary in sorted((other / "chains").glob("*/summary.json")):
        folder = summary.parent
        if folder.name.startswith("."):  # being made
            continue
        if key_of(read_json(folder / "recipe.json")["doc"]) != folder.name:
            raise StoreError(f"{folder} is not what its key says: it was edited or damaged; move it away.")
        yield folder


def _attempts(other: Path, store: Store) -> Iterator[tuple[Path, Record]]:
    """Failed attempts that are not here yet; the folder of a published board has none."""
    for file in sorted((other / "attempts").glob("*/*.json")) if (other / MARKER).is_file() else ():
        attempt = read_json(file)
        if not (attempt["key"] == file.parent.name == key_of(attempt["doc"])):
            raise StoreError(f"{file} is not what its key says: it was edited or damaged; move it away.")
        if not _place(file, store).exists():
            yield file, attempt


def _place(file: Path, store: Store) -> Path:
    """Where an attempt lies in a store: by key, under its own name."""
    return store.path / "attempts" / file.parent.name / file.name
