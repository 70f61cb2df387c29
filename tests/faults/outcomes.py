"""Judge a store after a fault: does it equal an undisturbed one, did the run exit as it should, what to do next?"""

import hashlib
import json
import re
import shutil
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.store.chain_files import read_finished_log
from bench_core.store.store import MARKER, read_record
from tests.faults.runs import BETWEEN_PHASES, NEW_PROCESS, PHASES

Contents = dict[str, Any]

RECOVERED = "recovered"
REFUSED = "refused, then recovered"
NOT_SURVIVED = "not survived"

PARENT = "`--jobs 2`, parent process"
CHILD = "`--jobs 2`, process of a chain"


@dataclass
class SharedResult:
    """Outcome of the stores of one plan and one engine.

    Attributes:
        chains: Chains that are trained in one store.
        stores: Number of stores.
        signals: Signals that struck, by name.
        trainings: Trainings that began, in all stores.
        cut_short: How many of these a signal ended before their end.
        both: Times that a chain was trained by two at once, since the first one slept.
        equal: Stores that equal the undisturbed one, and in which nothing else was wrong.
    """

    chains: int = 0
    stores: int = 0
    signals: Counter[str] = field(default_factory=Counter)
    trainings: int = 0
    cut_short: int = 0
    both: int = 0
    equal: int = 0


def contents(store: Path) -> Contents:
    """Return everything that must be equal in an undisturbed store and in one that has recovered, by name.

    Rows without times, weights and embeddings by digest, and logs without times.
    """
    result: Contents = {}
    for path in _published(store, "cells/*/*.json"):
        record = read_record(path).stored
        result[f"row {path.stem}"] = {k: v for k, v in record.items() if k not in ("provenance", "cost")}
    for path in _published(store, "chains/*/**/*.safetensors"):
        result[str(path.relative_to(store))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in _published(store, "chains/*/chain.json"):
        times = ("seconds", "images_per_s", "peak_memory_gib")
        lines = [{k: v for k, v in line.items() if k not in times} for line in read_finished_log(path.parent)]
        result[str(path.relative_to(store))] = lines
    return result


def _published(store: Path, pattern: str) -> list[Path]:
    """Return the files that `bench` reads; those that a killed process half wrote begin with a dot."""
    return [p for p in store.glob(pattern) if not any(part.startswith(".") for part in p.relative_to(store).parts)]


def wrong_rows(store: Path, expected: Contents) -> list[str]:
    """Return the rows of a store that `bench` accepts and that differ."""
    try:
        actual = contents(store)
    except StoreError:  # damaged, and refused as it should be
        return []
    return [name for name in actual if name.startswith("row") and actual[name] != expected.get(name)]


def differences(store: Path, expected: Contents) -> list[str]:
    """Return the rows and files that are lost, doubled or changed."""
    actual = contents(store)
    return [name for name in sorted({*actual, *expected}) if actual.get(name) != expected.get(name)]


def leftovers(store: Path, kinds: Collection[str] = ()) -> list[str]:
    """Return the attempts and checkpoint folders that should be gone once a stopped run has finished.

    Args:
        store: The store.
        kinds: Kinds of attempts that a parent has recorded as it should, as the process of a chain was killed.
    """
    attempts = [path for path in _published(store, "attempts/*/*") if json.loads(path.read_text())["kind"] not in kinds]
    return [str(path.relative_to(store)) for path in (*attempts, *store.glob("chains/*.under-way"))]


def exit_fault(hit: str, code: int, text: str) -> str:
    """Return what is wrong with the exit of a run that a signal hit, or "".

    Before the process handles signals, a signal ends it as it ends any process.

    Args:
        hit: Signal and phase, "SIGTERM: training".
        code: The exit code, negative for a signal.
        text: Everything that the run printed.
    """
    name, _, phase = hit.partition(": ")
    number = signal.Signals[name]
    allowed = {{"SIGKILL": -9, "SIGINT": 130}.get(name, 75)}
    last_phase = list(PHASES)[-1]
    if phase in (NEW_PROCESS, BETWEEN_PHASES, last_phase):  # it may have finished, or may not handle signals yet
        allowed |= {0, -number, 1} if name == "SIGINT" else {0, -number}
    if code not in allowed or ("Traceback" in text and phase != NEW_PROCESS):
        return f"exit code {code}: {text[-2000:]}"
    return ""


def exit_fault_of_parallel_run(hit: str, code: int, text: str, orphans: int) -> str:
    """Return what is wrong with the exit of a run with `--jobs 2`, or ""; `orphans` chains outlived its parent."""
    name, _, target = hit.partition(": ")
    if orphans and not (name == "SIGKILL" and target.startswith(PARENT)):
        return f"{orphans} processes were orphaned: {text[-2000:]}"
    if target.startswith(CHILD):  # exit code 0: the chain had nothing left to do
        wrong = code != 0 and not (code == 1 and "killed by SIGKILL" in text)
    else:
        wrong = bool(exit_fault(f"{name}: {BETWEEN_PHASES}", code, text))
    return f"exit code {code}: {text[-2000:]}" if wrong or "Traceback" in text else ""


def follow_advice(text: str, store: Path) -> bool:
    """Do what an error message says to do; return False where it says nothing that can be done."""
    move = re.search(rf"({store}\S*) (?:cannot be read|holds no|is no|has format).*move it away", text)
    delete = re.search(rf"delete ({store}\S+) and run again", text)
    delete_checkpoints = re.search(rf"checkpoints in ({store}\S+) do not fit.*Delete that folder", text)
    write_marker = re.search(rf"write (\{{.*\}}) into ({store}\S+)\.", text)
    if write_marker:
        (store / MARKER).write_text(write_marker[1])
    elif delete:
        shutil.rmtree(delete[1])
    elif delete_checkpoints:
        shutil.rmtree(delete_checkpoints[1])
    elif move:
        Path(move[1]).unlink()
    elif "this bench reads" in text:  # a flipped digit in the marker: no message can know that it is no other format
        (store / MARKER).write_text('{"format": 1}')
    else:
        return False
    return True
