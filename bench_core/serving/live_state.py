"""The state of what runs in a store, as JSON for the page "Live": asked for often, computed where something changed."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from bench_core.errors import BenchError, one_line
from bench_core.files import paths_in
from bench_core.reports.log_lines import log_lines
from bench_core.running.estimates import about, duration
from bench_core.running.planned import FILE, Planned, read_planned
from bench_core.running.status import ChainStatus, Status, others_under_way, source_lines, status, workers
from bench_core.store import Store
from bench_core.store.chain_files import LOG, read_recipe
from bench_core.store.claims import FOLDER
from bench_core.store.log_numbers import log_numbers
from bench_core.store.training_log import read_log
from bench_core.store.under_way import UNDER_WAY, is_being_trained

_MOST_CHAINS = 100  # of a run that the page lists; the others are counted
_MOST_TRAININGS = 12  # with curves
_MOST_CURVES = 6  # of a training
_MOST_POINTS = 200  # of a curve
_LAST_LINES = 12  # of a log
_OLDEST_S = 30.0  # age at which a state is computed again, though no file has changed: Slurm's queue has no file
_SHARE = 0.1  # of a core, at most, for the state of a store that changes all the time
_NO_CURVES = ("epoch", "step", "seconds", "images_per_s", "learning_rate", "peak_memory_gib", "stage", "kept_epoch")


class LiveState:
    """The state of a store as JSON, with a tag that changes when the state does."""

    def __init__(self, store: Path) -> None:
        """Name the store; it may not be there yet."""
        self._path = store
        self._lock = Lock()
        self._stamp: object = None
        self._next = self._oldest = 0.0
        self._content: dict[str, Any] = {}

    def answer(self, pages: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return the JSON and its tag.

        Args:
            pages: What is said beside it: when the pages were built.
        """
        with self._lock:
            began = time.monotonic()
            if began >= self._next:
                stamp = self._look()
                if stamp != self._stamp or began >= self._oldest:
                    self._content, self._stamp = self._state(), stamp
                    self._oldest = time.monotonic() + _OLDEST_S
                    self._next = time.monotonic() + (time.monotonic() - began) / _SHARE
        body = json.dumps({**self._content, "pages": pages}, allow_nan=False, ensure_ascii=False).encode()
        return body, hashlib.sha256(body).hexdigest()[:32]

    def _look(self) -> list[tuple[str, int, int]]:
        """Return names, sizes and dates of the files and folders that change with what runs."""
        chains = self._path / "chains"
        logs = [folder / LOG for folder in paths_in(chains, UNDER_WAY)]
        cells = self._path / "cells"
        found = [self._path / FILE, self._path / "attempts", chains, *logs, cells]
        found += [*paths_in(self._path / FOLDER), *paths_in(cells)]
        return list(_stamps(found))

    def _state(self) -> dict[str, Any]:
        try:
            store = Store(self._path)
            if not store.exists():
                return {"error": f"there is no store at {self._path} yet: it is made by `bench run`."}
            return state_of(store)
        except BenchError as error:
            return {"error": one_line(str(error))}


def state_of(store: Store) -> dict[str, Any]:
    """Return what runs in a store: the last run with its chains, others, and the trainings under way."""
    content = read_planned(store) or Planned("", 1, ())
    found = status(content, store)
    total = found.done + sum(chain.cells for chain in found.chains)
    jobs = max(1, min(found.jobs, len(found.chains)))
    return {
        "command": found.command,
        "goes_on": found.goes_on,
        "done": found.done,
        "total": total,
        "counts": {state: found.cells(state) for state in ("running", "failed", "left")},
        "left": about(found.seconds, jobs) if found.chains else "",
        "notes": [*source_lines(found.seconds), *([found.slurm_error] if found.slurm_error else [])],
        "chains": [_chain(chain) for chain in _in_order(found)[:_MOST_CHAINS]],
        "more_chains": max(0, len(found.chains) - _MOST_CHAINS),
        "others": others_under_way(content, store),
        "trainings": list(_trainings(store)),
    }


def _in_order(found: Status) -> list[ChainStatus]:
    order = ("running", "stopped", "failed", "left")
    return sorted(found.chains, key=lambda chain: order.index(chain.state))


def _chain(chain: ChainStatus) -> dict[str, Any]:
    return {
        "label": chain.label,
        "state": chain.state,
        "cells": chain.cells,
        "epoch": chain.epoch,
        "epochs": chain.epochs,
        "left": about(chain.seconds),
        "training_left": duration(chain.seconds.training) if chain.seconds.training else "",
        "note": "; ".join(filter(None, (chain.worker.words if chain.worker else "", chain.element, chain.note))),
    }


def _trainings(store: Store) -> Iterator[dict[str, Any]]:
    """Yield the trainings that go on, whatever started them, with their curves and the last lines of their logs."""
    working, count = workers(store), 0
    for folder in paths_in(store.path / "chains", UNDER_WAY):
        key = folder.name.removesuffix(UNDER_WAY)
        if not (key in working or is_being_trained(folder)) or count == _MOST_TRAININGS:
            continue
        try:
            recipe, lines = read_recipe(folder), read_log(folder / LOG)
        except (BenchError, OSError):  # it has just begun or ended
            continue
        count += 1
        epochs = (recipe["doc"].get("recipe") or {}).get("epochs")
        epochs = epochs if isinstance(epochs, int) else None
        done = [line["epoch"] for line in lines if isinstance(line.get("epoch"), int)]
        yield {
            "key": key,
            "label": str(recipe.get("label") or key),
            "epoch": done[-1] if done else 0,
            "epochs": epochs,
            "curves": curves(lines),
            "log": [text for line in lines[-_LAST_LINES:] for text in log_lines(line, epochs)][-_LAST_LINES:],
        }


def curves(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the curves of a log, the loss first: {"name": "loss", "points": [[1, 5.0], ...]}, thinned.

    The last point is always kept, and numbers that are not finite are left out.
    """
    points: dict[str, list[tuple[int, float]]] = {"loss": []}
    for line in lines:
        epoch = line.get("epoch")
        if isinstance(epoch, int):
            for name, value in log_numbers(line):
                if name not in _NO_CURVES:
                    points.setdefault(name, []).append((epoch, value))
    kept = [(name, values) for name, values in points.items() if values][:_MOST_CURVES]
    return [{"name": name, "points": _thinned(values)} for name, values in kept]


def _thinned(points: Sequence[tuple[int, float]]) -> list[list[float]]:
    step = -(-len(points) // _MOST_POINTS)
    return [[epoch, float(f"{value:.5g}")] for epoch, value in reversed(points[::-1][::step])]


def _stamps(paths: Sequence[Path]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        yield str(path), found.st_size, found.st_mtime_ns
