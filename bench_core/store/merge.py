"""Copies another store's records and artifacts, or a published board's records, into a store.

What the store has stays. If both have a record of the same key with different scores, that is a conflict: nothing of
its cell is copied, and both values are reported. A conflict shows how well a number reproduces.

The other store may come from anybody. Files are copied by a list of known names, and links, pipes and devices are
refused. All is checked before anything moves: it is copied to a folder beside its final place, checked there, and
renamed; so a merge brings all or nothing, and one that is killed while it renames leaves whole files, to which the same
command adds the rest.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, StoreError
from bench_core.files import (
    copy_regular,
    make_folder,
    move,
    move_once,
    new_folder,
    parse_json,
    read_json,
    sealed,
    temporary_path,
    unsealed,
    write_bytes,
    write_once,
)
from bench_core.keys import key_of
from bench_core.regular_files import names_in, read_regular
from bench_core.store.chain_files import (
    CHAIN,
    EMBEDDED,
    EPOCHS,
    LAST,
    LOG,
    RECIPE,
    SUMMARY,
    WEIGHTS,
    chain_of,
    embedded_of,
    epoch_weights,
    is_finished,
    read_summary,
    recipe_of,
    summary_of,
)
from bench_core.store.fields import is_digest, is_file_name
from bench_core.store.record import Record
from bench_core.store.store import MARKER, Store, attempt_of, no_records, no_store, record_of
from bench_core.store.tensors import holds_tensors


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
        source: The other store.
        records: The records that are copied.
        known: Number of records that ours has already, with the same scores.
        conflicts: Records that are left out.
        attempts: Files below attempts/ that are copied, and their content.
        chains: Folders below chains/ that are copied.
        other_weights: Chains that both stores have, with different weights: ours stay.
    """

    source: Path
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
        StoreError: A file of either is damaged, or one that would be copied is no regular file.
    """
    if not source.is_dir():
        raise no_store(source)
    if store.path.is_dir() and source.samefile(store.path):
        raise RequestError(f"{source} is the store itself; name another one, or --store.")
    new: list[Record] = []
    known = 0
    conflicts: list[Conflict] = []
    conflicting_keys: set[str] = set()  # of cells and of their chains
    for file, theirs in _records(source):
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
    for folder, summary in _finished_chains(source):
        ours_folder = store.chain_folder(folder.name)
        if not is_finished(ours_folder):
            if folder.name not in conflicting_keys:
                chains.append(folder)
        elif read_summary(ours_folder)["weights_sha256"] != summary["weights_sha256"]:
            other_weights.append(folder)
    attempts = {file: attempt for file, attempt in _attempts(source) if not _attempt_file(file, store).exists()}
    attempts = {file: attempt for file, attempt in attempts.items() if attempt["key"] not in conflicting_keys}
    return Merge(source, tuple(new), known, tuple(conflicts), attempts, tuple(chains), tuple(other_weights))


def check(merge: Merge) -> None:
    """Check all that `apply` checks, and write nothing.

    Raises:
        StoreError: A file that would be copied is damaged or no regular file.
    """
    for folder in merge.chains:
        _copy_chain(folder, merge.source, None)


def apply(merge: Merge, store: Store) -> None:
    """Copy what is new, all or nothing, each file and folder whole; what another process wrote meanwhile stays.

    Raises:
        StoreError: A file that would be copied is damaged or no regular file; nothing was copied.
    """
    store.create()
    with _staged(store) as staged:
        for folder in merge.chains:
            _copy_chain(folder, merge.source, staged.chain_folder(folder.name))
        for record in merge.records:
            write_once(staged.record_file(record.key), sealed(record.stored))
        for file, attempt in merge.attempts.items():
            write_once(_attempt_file(file, staged), attempt)
        for folder in merge.chains:  # all is checked and on this disk; from here on files are only renamed
            with new_folder(store.chain_folder(folder.name), *LAST) as copy:
                move(staged.chain_folder(folder.name), copy)
        for file in merge.attempts:
            move_once(_attempt_file(file, staged), _attempt_file(file, store))
        for record in merge.records:
            move_once(staged.record_file(record.key), store.record_file(record.key))


@contextmanager
def _staged(store: Store) -> Iterator[Store]:
    """Yield an empty store inside a store, on the same disk and hidden; it is deleted at the end."""
    folder = temporary_path(store.path / "merge")
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_chain(folder: Path, source: Path, target: Path | None) -> None:
    """Copy the files of a chain that have known names, and check what was copied.

    Args:
        folder: The chain's folder.
        source: The store that it is in.
        target: Where to; None only checks.

    Raises:
        StoreError: A file is missing, damaged or no regular file.
    """
    summary = _copy_texts(folder, source, target)
    _copy_tensors(folder / WEIGHTS, summary["weights_sha256"], source, target)
    for epoch, digest in summary.get("epochs", {}).items():
        path = epoch_weights(folder, int(epoch))
        _copy_tensors(path, digest, source, target / EPOCHS if target else None)
    for key in names_in(folder / "embeddings", below=source):
        embeddings = folder / "embeddings" / key
        if is_digest(key) and EMBEDDED in names_in(embeddings, below=source):
            copy = target / "embeddings" / key if target else None
            done = embedded_of(_copy_json(embeddings / EMBEDDED, source, copy), embeddings / EMBEDDED)
            for split, digest in done["digests"].items():
                _copy_tensors(embeddings / f"{split}.safetensors", digest, source, copy)


def _copy_texts(folder: Path, source: Path, target: Path | None) -> Mapping[str, Any]:
    """Copy what a chain's folder holds in JSON, in the form in which it is there, and return its summary."""
    names = names_in(folder, below=source)
    if CHAIN in names:
        return chain_of(_copy_json(folder / CHAIN, source, target), folder / CHAIN, folder.name)[1]
    recipe_of(_copy_json(folder / RECIPE, source, target), folder / RECIPE, folder.name)
    summary = unsealed(_copy_json(folder / SUMMARY, source, target), folder / SUMMARY)
    if LOG in names:
        _copy_log(folder / LOG, source, target)
    return summary_of(summary, folder / SUMMARY)


def _copy_json(path: Path, source: Path, target: Path | None) -> dict[str, Any]:
    """Copy a JSON file into a folder, and return its content."""
    content = read_regular(path, below=source)
    if target is not None:
        write_bytes(target / path.name, content)
    return parse_json(content, path)


def _copy_log(path: Path, source: Path, target: Path | None) -> None:
    """Copy the log of a training into a folder; each line is a JSON object, the last one may be half of it."""
    content = read_regular(path, below=source)
    for line in content.split(b"\n")[:-1]:
        parse_json(line, path)
    if target is not None:
        write_bytes(target / path.name, content)


def _copy_tensors(path: Path, digest: str, source: Path, target: Path | None) -> None:
    """Copy a safetensors file into a folder; StoreError if its SHA-256 is another one, or it cannot be opened."""
    if target is not None:
        make_folder(target)
    copy = target / path.name if target else None
    if copy_regular(path, copy, below=source) != digest:
        raise StoreError(f"{path} is damaged; delete {path.parent} and merge again.")
    if not holds_tensors(copy or path):
        raise StoreError(f"{path} is no safetensors file; delete {path.parent} and merge again.")


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


def _records(source: Path) -> Iterator[tuple[Path, Record]]:
    """Yield file and record of all records of a store, of a published board or of a folder of records.

    Raises:
        RequestError: There are none, and the folder is no store.
    """
    inside = names_in(source, below=source)
    if is_store := MARKER in inside:
        Store(source)  # checks the format
        folders = [source / "cells" / name for name in names_in(source / "cells", below=source) if len(name) == 2]
    else:
        folders = [source / "records" if "records" in inside else source]
    found = False
    for folder in folders:
        for name in names_in(folder, below=source):
            if name.endswith(".json"):
                found = True
                record = record_of(read_json(folder / name, below=source), folder / name)
                _check_finite(record.stored, folder / name)
                yield folder / name, record
    if not found and not is_store:
        raise no_records(source)


def _finished_chains(source: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield folder and summary of finished trainings; StoreError where a folder's name is not the key of its recipe."""
    for key in names_in(source / "chains", below=source):
        folder = source / "chains" / key
        if is_digest(key) and any(name in LAST for name in names_in(folder, below=source)):
            yield folder, _copy_texts(folder, source, None)


def _attempts(source: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield file and content of a store's attempts; the folder of a published board has none."""
    if MARKER not in names_in(source, below=source):
        return
    for key in names_in(source / "attempts", below=source):
        if not is_digest(key):
            continue
        folder, taken = source / "attempts" / key, set()
        for name in names_in(folder, below=source):
            if name.startswith(".") or not name.endswith(".json"):
                continue
            file = folder / name
            attempt = attempt_of(read_json(file, below=source), file)
            _check_finite(attempt, file)
            document = attempt.get("doc")  # attempts of older code may lack it
            is_of_key = attempt["key"] == key and (document is None or key_of(document) == key)
            if not is_of_key or not is_file_name(name) or name.casefold() in taken:
                raise StoreError(f"{file} is not what its key says: it was edited or damaged; move it away.")
            taken.add(name.casefold())
            yield file, attempt


def _check_finite(value: Mapping[str, Any], file: Path) -> None:
    """Raise StoreError for NaN and infinity, which JSON does not have and no file of ours holds."""
    try:
        sealed(value)
    except StoreError as error:
        raise StoreError(f"{file} holds a number that is not finite, so it cannot be copied; move it away.") from error


def _attempt_file(file: Path, store: Store) -> Path:
    """Return the path of another store's attempt in ours: the same key and name."""
    return store.path / "attempts" / file.parent.name / file.name
