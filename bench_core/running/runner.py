"""The walk over a plan: chain after chain in this process, and what fails is on record.

(The module is not called `run`: `bench_core.run` is the function.)
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench_core.contracts import Dataset, Frozen, Split
from bench_core.devices import exact_float32
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.process_settings import restored
from bench_core.running.chain import Check, load_splits, pretrain_and_embed, train_if_needed, unchecked
from bench_core.running.estimates import Outlook, duration
from bench_core.running.evaluate import run_cell
from bench_core.running.failures import FAILURES, UnfinishedCell, attempt, attempt_of, unfinished_cell
from bench_core.running.kept_epochs import check_kept_epochs
from bench_core.running.pending import FailedTrainings, to_run, to_train
from bench_core.running.progress import NOTICED_S, NoProgress, Progress, task_line
from bench_core.running.provenance import command_line, provenance
from bench_core.running.setting import RunSetting
from bench_core.running.shared_queue import SharedQueue, Taken, Waiting
from bench_core.running.small_batches import has_small_batches, refuse_small_batches
from bench_core.running.threads import running_threads
from bench_core.store import Store
from bench_core.store.claims import Claims, LostClaim

_POLL_S = 1.0  # between two looks at claims of others, where there is nothing else to do


def run_plan(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    progress: Progress | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> list[UnfinishedCell]:
    """Run the missing cells of a plan in this process. Each finished cell is on disk before the next begins.

    Args:
        plan: Its cells that have no record are run; all else is left as it is.
        store: Store of the records. It is created once all data is known to be readable.
        setting: Device, checkpoints, workers.
        progress: Shows what is running, and is closed at the end, also after an error; None shows nothing.
        on_start: Called once the store is there and before the first chain begins; not where nothing is missing.

    Returns:
        The cells that failed; each has an attempt in the store that says why.

    Raises:
        RequestError: Data is missing, batches are too small for a method, or the store cannot be written; nothing was
            run, and no store created.
        Stopped: A stop signal came.
    """
    progress = progress or NoProgress()
    try:
        return _PlanRun(store, setting, progress).run(to_run(plan, store), on_start)
    finally:
        progress.close()


class _PlanRun:
    """One walk over a queue of chains, and what it has met so far.

    Attributes:
        failed: Cells that failed.
        failed_trainings: Trainings that failed; what starts from them is not tried.
        outlook: Estimates how long the rest takes.
        splits: Name of a dataset -> its splits; only one dataset is in memory at a time.
    """

    def __init__(self, store: Store, setting: RunSetting, progress: Progress) -> None:
        self.store, self.setting, self.progress = store, setting, progress
        self.failed: list[UnfinishedCell] = []
        self.failed_trainings = FailedTrainings(store)
        self.outlook = Outlook(store)
        self.loader: Dataset | None = None  # the dataset whose splits are in memory
        self.splits: Mapping[str, Split] = {}

    def run(self, queue: Sequence[tuple[Chain, Sequence[Cell]]], on_start: Callable[[], None]) -> list[UnfinishedCell]:
        """Run all chains of the queue, and return the cells that failed."""
        for chain, cells in queue:
            for cell in cells:
                chain.sources_of(cell)  # read now and kept: a file may be edited while the chains run
        for chain, cells in queue:
            check_kept_epochs(chain, cells, self.store, self.setting.keep_every)
        small = (chain for chain, _ in queue if has_small_batches(chain))
        refuse_small_batches(needed for chain in small for needed in to_train(chain, self.store))
        self.check_data(queue)
        if queue:
            self.store.create()
            on_start()
        command = self.setting.command or command_line()
        with Claims(self.store.path, self.setting.claim_beat, self.setting.claim_stale, command) as claims:
            self.run_shared(SharedQueue(queue, self.store, claims, self.failed_trainings))
        return self.failed

    def run_shared(self, queue: SharedQueue) -> None:
        """Run all chains of the queue but for what other processes on this store do meanwhile; wait for these."""
        shown: Waiting | None = None
        said: list[str] = []
        while queue.left:
            self.setting.stop.raise_if_requested()  # a signal whose Stopped was swallowed by a library's clean-up
            taken = queue.take()
            self.failed += queue.failures_elsewhere()
            if taken is None:
                before, said = said, queue.waiting_lines()
                for line in said:
                    if line not in before:
                        self.progress.log(line)
                time.sleep(min(_POLL_S, self.setting.claim_beat) if queue.left else 0)
                continue
            with taken.claim:
                if shown is not taken.waiting:
                    shown = taken.waiting
                    self.progress.chain(shown.number, queue.total, shown.chain.label)
                    left = [shown.chain, *(waiting.chain for waiting in queue.left if waiting is not shown)]
                    self.progress.later(self.outlook.later(left))
                try:
                    self.run_taken(taken, queue)
                except LostClaim:
                    self.progress.log("  another process has taken over: this one slept; what it did since is dropped")

    def run_taken(self, taken: Taken, queue: SharedQueue) -> None:
        """Train a source of a chain, or run the chain; its claim is held."""
        chain, check = taken.waiting.chain, taken.claim.check
        if taken.source is None:
            for epoch in dict.fromkeys(cell.epoch for cell in taken.waiting.cells):
                cells = [cell for cell in taken.waiting.cells if cell.epoch == epoch]
                with running_threads(chain, self.setting.threads):
                    self.run_chain(chain, cells, epoch, check)
            queue.left.remove(taken.waiting)
        elif not self.train_source(taken.source, taken.waiting, check):
            queue.left.remove(taken.waiting)

    def train_source(self, source: Chain, waiting: Waiting, check: Check) -> bool:
        """Train a chain that another one needs; return False if that failed, which fails all cells of the other."""
        began = time.perf_counter()
        try:
            splits = self.load(waiting.chain)
            with exact_float32(self.setting.torch_device), restored():
                train_if_needed(source, self.store, self.setting, splits["train"], self.progress, check)
        except FAILURES as error:
            check()
            for cell in waiting.cells:
                self.record_failure(waiting.chain, cell, error, began)
            self.progress.log(f"  failed: {self.failed[-1].error}")
            return False
        return True

    def check_data(self, queue: Sequence[tuple[Chain, Sequence[Cell]]]) -> None:
        """Load each dataset once, so that missing data ends the run before anything is trained.

        The dataset of the first chain is loaded last and is still in memory when that chain begins.
        """
        chains = {id(chain.loader): chain for chain, _ in reversed(queue)}
        for chain in chains.values():
            self.load(chain)

    def load(self, chain: Chain) -> Mapping[str, Split]:
        """Return the splits of a chain's dataset, read if it is not the one in memory."""
        if self.loader is not chain.loader:
            self.loader, self.splits = None, {}  # frees the dataset before
            self.splits = load_splits(chain, self.setting.data_cache)
            self.loader = chain.loader
        return self.splits

    def run_chain(self, chain: Chain, cells: Sequence[Cell], epoch: int | None, check: Check) -> None:
        """Pretrain and embed one chain, then run its tasks. An error in training fails all its cells.

        Args:
            chain: The chain.
            cells: Its cells on the same weights.
            epoch: The epoch after which these are taken; None for those that the training ends with.
            check: Raises LostClaim where another process has taken over.
        """
        if reason := self.failed_trainings.reason_to_skip(chain):
            where = provenance(self.setting.torch_device, self.setting.command)
            for cell in cells:
                path = self.store.add_attempt(attempt(cell, *reason, [], 0.0, where))
                self.failed.append(unfinished_cell(cell, path))
            self.progress.log(f"  failed: {self.failed[-1].error}")
            return
        began = time.perf_counter()
        try:
            splits = self.load(chain)
            with exact_float32(self.setting.torch_device), restored():
                frozen, summary = pretrain_and_embed(
                    chain, self.store, self.setting, splits, self.progress, epoch, check
                )
        except FAILURES as error:
            check()
            for cell in cells:
                self.record_failure(chain, cell, error, began)
            self.progress.log(f"  failed: {self.failed[-1].error}")
            return
        for cell in cells:
            self.setting.stop.raise_if_requested()
            check()
            self.run_task(chain, cell, frozen, summary, check)

    def run_task(
        self, chain: Chain, cell: Cell, frozen: Frozen, summary: Mapping[str, Any], check: Check = unchecked
    ) -> None:
        """Run the task of one cell. An error in it fails this cell alone."""
        began = time.perf_counter()
        try:
            self.progress.log(task_line(cell.task.name))
            self.progress.working(cell.task.name, self.outlook.of_task(chain, cell))
            with exact_float32(self.setting.torch_device):
                run_cell(chain, cell, frozen, summary, self.store, self.setting, check)
            if (seconds := time.perf_counter() - began) >= NOTICED_S:
                self.progress.log(f"    {cell.task.name} took {duration(seconds)}")
            self.outlook.add(cell)
        except FAILURES as error:
            check()
            self.record_failure(chain, cell, error, began)
            self.progress.log(f"  {cell.task.name} failed: {self.failed[-1].error}")

    def record_failure(self, chain: Chain, cell: Cell, error: BaseException, began: float) -> None:
        """Write an attempt that says why a cell failed; `began` is when it began, by `time.perf_counter`."""
        seconds = time.perf_counter() - began
        where = provenance(self.setting.torch_device, self.setting.command)
        failed = attempt_of(error, chain, cell, seconds, where)
        failed["error"] = self.failed_trainings.note(chain, failed["kind"], failed["error"])
        self.failed.append(unfinished_cell(cell, self.store.add_attempt(failed)))
