"""The cells of many that are done or have failed, asked for in few operations on the file server.

A run asks this of all its cells when it begins. Nothing is read here but names; a damaged record counts as done, and
whoever reads it says what is wrong.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench_core.files import paths_in
from bench_core.store.chain_files import is_finished
from bench_core.store.store import Store, latest_attempts, read_attempt

_FEW = 4  # cells of one folder: asked one by one; of more, the folder is listed


def done_keys(store: Store, keys: Iterable[str]) -> set[str]:
    """Return those of these cells that have a record."""
    of_folder: dict[Path, dict[str, str]] = {}
    for key in keys:
        path = store.record_file(key)
        of_folder.setdefault(path.parent, {})[path.name] = key
    done: set[str] = set()
    for folder, key_of_name in of_folder.items():
        if len(key_of_name) <= _FEW:
            done |= {key for name, key in key_of_name.items() if (folder / name).is_file()}
            continue
        done |= {key_of_name[path.name] for path in paths_in(folder) if path.name in key_of_name}
    return done


def trained_keys(store: Store, keys: Iterable[str]) -> set[str]:
    """Return those of these chains that are trained, as far as the names of their folders tell."""
    of_folder: dict[Path, set[str]] = {}
    for key in keys:
        of_folder.setdefault(store.chain_folder(key).parent, set()).add(key)
    trained: set[str] = set()
    for folder, asked in of_folder.items():
        if len(asked) <= _FEW:
            trained |= {key for key in asked if is_finished(folder / key)}
        else:
            trained |= asked & {path.name for path in paths_in(folder)}
    return trained


def last_attempt_files(store: Store, keys: Iterable[str]) -> dict[str, Path | None]:
    """Return key -> file of the last attempt that did not finish, of each of these cells; None where there is none."""
    asked = list(keys)
    tried = set(asked)
    if len(asked) > _FEW:
        tried = {path.name for path in paths_in(store.path / "attempts")}
    return {key: store.last_attempt(key) if key in tried else None for key in asked}


def last_attempts(store: Store, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Read the last attempt on each of these cells that was tried and did not finish."""
    return [read_attempt(path) for path in last_attempt_files(store, keys).values() if path]


def failed_cells(store: Store, keys: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return key -> last attempt, for those of these cells whose last attempt failed; as `latest_attempts`."""
    return latest_attempts(last_attempts(store, keys))
