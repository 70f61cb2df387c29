"""The work of one Slurm element, inside `bench run --element KEY`: it watches the process that runs the chain.

The process may crash, run out of memory or hang; the failure is recorded all the same, as `--isolate` does it. An
element trains no chain but its own: one whose source is not trained says so and ends.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from bench_core.engines.child_process import POLL_S, ChildProcess, Ended
from bench_core.engines.failure_reason import failure_reason
from bench_core.engines.processes import run_in_processes
from bench_core.errors import RequestError
from bench_core.planning.chains import Cell, Chain, Plan, narrowed
from bench_core.running.failures import UnfinishedCell, attempt, failed_cells, unfinished_cell
from bench_core.running.pending import is_trained, missing, to_train
from bench_core.running.progress import Progress
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.slurm_jobs import (
    EVALUATE,
    SOURCE,
    TRAIN,
    failed_training,
    forget_failed_training,
    note_failed_training,
)
from bench_core.store.store import PREEMPTED


def find_chain(plan: Plan, key: str) -> Chain:
    """Return the chain of a key, among those of a plan and those that they need.

    Raises:
        RequestError: There is none.
    """
    for chain in (*plan.chains, *(link for asked in plan.chains for link in asked.lineage)):
        if chain.key == key:
            return chain
    raise RequestError(
        f"chain {key[:12]} is not in this request any more: code or data changed since it was submitted; give the same "
        "command again."
    )


def run_element(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    command: Sequence[str],
    progress: Progress,
    *,
    key: str,
    part: str,
    gives_up: str | None = None,
) -> list[UnfinishedCell]:
    """Do the work of one element.

    Args:
        plan: The whole request.
        store: Store of the records.
        setting: As for `run_in_processes`, which gets one chain.
        command: Command that runs the whole request.
        progress: Shows the lines of the process.
        key: Key of the chain.
        part: Part of the work on it, see `SubmittedElement`.
        gives_up: Reason why the element ends for good; then nothing is run and the reason is recorded.

    Returns:
        The cells that did not finish.
    """
    chain = find_chain(plan, key)
    work = _ElementWork(chain, store, setting, part)
    if gives_up is not None:
        return work.fail("timeout", gives_up)
    lacking = [link for link in to_train(chain, store) if link.key != key or part == EVALUATE]
    if lacking:
        return work.lack(lacking[0])
    if part in (TRAIN, SOURCE):
        return work.train(command, progress)
    one = narrowed(plan, lambda other, _: other.key == key)
    unfinished = run_in_processes(one, store, replace(setting, isolate=True, jobs=1), command, progress)
    failed = failed_cells(unfinished)
    if failed and not is_trained(chain, store):
        note_failed_training(store, key, failed[0].kind, failed[0].error)
    return unfinished


class _ElementWork:
    """The chain of an element, and how failures of its training are recorded."""

    def __init__(self, chain: Chain, store: Store, setting: RunSetting, part: str) -> None:
        self.chain, self.store, self.setting, self.part = chain, store, setting, part

    @property
    def cells(self) -> list[Cell]:
        """The cells that the request lacks of this chain; none of a chain that only others need."""
        return [] if self.part == SOURCE else missing(self.chain, self.store)

    def train(self, command: Sequence[str], progress: Progress) -> list[UnfinishedCell]:
        """Train the chain in a process of its own, and record why that failed."""
        forget_failed_training(self.store, self.chain.key)
        ended = self._watch(ChildProcess([*command, "--only-chain", self.chain.key], progress.log))
        self.setting.stop.raise_if_requested()
        if is_trained(self.chain, self.store) and ended.code == 0:
            return []
        if noted := failed_training(self.store, self.chain.key):  # the process could say why
            return self.fail(*noted, ended)
        return self.fail(*failure_reason(ended, None), ended)

    def _watch(self, process: ChildProcess) -> Ended:
        stop = self.setting.stop
        try:
            with stop.deferred():
                while (ended := process.poll(stop.is_requested())) is None:
                    time.sleep(POLL_S)
        finally:
            process.kill()
        return ended

    def lack(self, source: Chain) -> list[UnfinishedCell]:
        """Record that a training is missing for which this element has waited."""
        if source.key == self.chain.key:  # its own training, in another element, which has recorded why it failed
            if failed_training(self.store, source.key):
                return self._unfinished(self.cells)
            return self.fail(PREEMPTED, "it is not trained: its training was cancelled; give the same command again")
        prefix = f"its source chain ({source.label})"
        kind, error = failed_training(self.store, source.key) or (PREEMPTED, "")
        if kind == PREEMPTED:
            return self.fail(kind, f"{prefix} is not trained: it was cancelled; give the same command again")
        return self.fail(kind, f"{prefix} failed: {error}")

    def fail(self, kind: str, error: str, ended: Ended | None = None) -> list[UnfinishedCell]:
        """Record an attempt for each cell, and the failure of the training for the elements that wait for it."""
        if kind != PREEMPTED and not is_trained(self.chain, self.store):
            note_failed_training(self.store, self.chain.key, kind, error)
        where = {**provenance(torch.device("cpu"), self.setting.command), "device": self.setting.device}
        cells, seconds = self.cells, ended.seconds if ended else 0.0
        for cell in cells:
            self.store.add_attempt(attempt(cell, kind, error, ended.last_lines if ended else [], seconds, where))
        return self._unfinished(cells)

    def _unfinished(self, cells: Sequence[Cell]) -> list[UnfinishedCell]:
        paths = [(cell, self.store.last_attempt(cell.key)) for cell in cells]
        return [unfinished_cell(cell, path) for cell, path in paths if path is not None]
