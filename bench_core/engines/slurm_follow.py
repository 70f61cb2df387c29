"""Follows elements in Slurm from the machine that submitted them: progress lines, and what did not finish.

Everything is read off the store: logs of chains, records, attempts; Slurm is asked which elements are in its queue.
submitit is not asked: its results never come for an element that was killed, where no accounting says so.
"""

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench_core.engines.slurm import Submission
from bench_core.planning.chains import Cell, Plan
from bench_core.running.failures import UnfinishedCell, attempt, unfinished_cell
from bench_core.running.pending import missing
from bench_core.running.progress import Progress
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.done_cells import done_keys
from bench_core.store.slurm_jobs import SlurmError, SubmittedElement, log_file, queued_elements
from bench_core.store.store import PREEMPTED

LOOK_S = 2.0  # between two looks at the logs
ASK_S = 20.0  # between two questions to Slurm, whose controller serves a whole cluster
_LATE_S = 5.0  # for files of other machines to be seen here
_LAST_LINES = 120
_NOTE = re.compile(r"^== [0-9: -]+ UTC: ")  # before what an element says of itself; the lines are shown as they come
_KINDS = {"CANCELLED": PREEMPTED, "PREEMPTED": PREEMPTED, "OUT_OF_MEMORY": "oom", "TIMEOUT": "timeout"}


def ended_state(job: str) -> str:
    """Ask Slurm how an element ended: COMPLETED, FAILED, CANCELLED, OUT_OF_MEMORY, ...; "" where it forgot."""
    command = ["scontrol", "--oneliner", "show", "job", job]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if match := re.search(r"\bJobState=(\w+)", done.stdout):
            return match[1]
    return ""


@dataclass
class _Tail:
    """The part of a log that was not shown yet."""

    path: Path
    offset: int = 0
    rest: bytes = b""
    lines: list[str] = field(default_factory=list)

    def skip(self) -> None:
        """Leave out what is there now."""
        with suppress(OSError):
            self.offset = self.path.stat().st_size

    def new_lines(self) -> list[str]:
        """Return the whole lines that were added; a log that cannot be read now is read later."""
        try:
            if self.path.stat().st_size <= self.offset:
                return []
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read()
        except OSError:
            return []
        self.offset += len(content)
        *whole, self.rest = (self.rest + content).split(b"\n")
        lines = [line.decode("utf-8", "replace") for line in whole]
        self.lines = [*self.lines, *lines][-_LAST_LINES:]
        return lines


def follow(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    submission: Submission,
    progress: Progress,
    tails: Mapping[str, "_Tail"],
    before: Mapping[str, Path | None],
) -> list[UnfinishedCell]:
    """Show what the elements of a submission do until all have ended.

    Args:
        plan: The request.
        store: Store of the records.
        setting: `stop` is used here: a signal ends the following, and the elements go on.
        submission: The elements.
        progress: Shows the lines of the logs.
        tails: Log -> what of it is shown, see `tails_of`.
        before: Key of each cell -> its last attempt when the elements were submitted.

    Returns:
        The cells that did not finish; each has an attempt in the store that says why.
    """
    elements = submission.elements
    labels = {element.log: element.label for _, element in elements}
    asked = float("-inf")
    left = {job for job, _ in elements}
    while left and _lacks_any(plan, store):
        setting.stop.raise_if_requested()
        _show(tails, labels, progress)
        if time.monotonic() - asked >= ASK_S:
            asked = time.monotonic()
            try:
                left &= {element.job for element in queued_elements(store)}
            except SlurmError as error:
                progress.log(f"{error}")
        time.sleep(LOOK_S * (1 + len(tails) // 200) if left else 0)
    if _lacks_any(plan, store):
        time.sleep(_LATE_S)
    _show(tails, labels, progress)
    return _unfinished(plan, store, setting, elements, tails, before)


def tails_of(store: Store, submission: Submission) -> dict[str, "_Tail"]:
    """Return log -> its tail, for all elements; what earlier elements wrote is not shown."""
    tails = {element.log: _Tail(log_file(store, element)) for _, element in submission.elements}
    for tail in tails.values():
        tail.skip()
    return tails


def last_attempts(plan: Plan, store: Store) -> dict[str, Path | None]:
    """Return key of each missing cell of a plan -> its last attempt."""
    return {cell.key: store.last_attempt(cell.key) for chain in plan.chains for cell in missing(chain, store)}


def _lacks_any(plan: Plan, store: Store) -> bool:
    keys = {cell.key for cell in plan.cells if cell.skip is None}
    return len(done_keys(store, keys)) < len(keys)


def _show(tails: Mapping[str, _Tail], labels: Mapping[str, str], progress: Progress) -> None:
    for log, tail in tails.items():
        for line in tail.new_lines():
            if line.strip():
                progress.log(f"{labels[log]}: {_NOTE.sub('', line.strip())}")


def _unfinished(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    elements: Sequence[tuple[str, SubmittedElement]],
    tails: Mapping[str, _Tail],
    before: Mapping[str, Path | None],
) -> list[UnfinishedCell]:
    """Return the cells without a record; of those whose elements could not say why, record what Slurm says."""
    jobs = {element.chain: (job, element) for job, element in elements}
    unfinished = []
    for chain in plan.chains:
        cells = missing(chain, store)
        unexplained = [cell for cell in cells if store.last_attempt(cell.key) == before.get(cell.key)]
        if unexplained and chain.key in jobs:
            _record_end(unexplained, *jobs[chain.key], store, setting, tails)
        for cell in cells:
            if (path := store.last_attempt(cell.key)) is not None:
                unfinished.append(unfinished_cell(cell, path))
    return unfinished


def _record_end(
    cells: Sequence[Cell],
    job: str,
    element: SubmittedElement,
    store: Store,
    setting: RunSetting,
    tails: Mapping[str, _Tail],
) -> None:
    """Record attempts of cells whose element ended without a word."""
    state = ended_state(job)
    kind = _KINDS.get(state, "killed")
    error = f"its element in Slurm (job {job}) ended{f' as {state}' if state else ''} without a result"
    if kind == PREEMPTED:
        error += "; give the same command again"
    else:
        error += f"; its log is {log_file(store, element)}"
    where = {**provenance(torch.device("cpu"), setting.command), "device": setting.device}
    for cell in cells:
        store.add_attempt(attempt(cell, kind, error, tails[element.log].lines, 0.0, where))
