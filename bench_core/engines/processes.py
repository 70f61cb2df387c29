"""The engine that runs each chain in its own process, several at a time: a crash, leak or hang ends one chain only."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from bench_core.engines.child_process import POLL_S, ChildProcess, Ended
from bench_core.engines.resources import process_environments
from bench_core.errors import RequestError
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.running.failures import UnfinishedCell, attempt, failed_cells, unfinished_cell
from bench_core.running.kept_epochs import check_kept_epochs
from bench_core.running.pending import FailedTrainings, missing, to_run, to_train
from bench_core.running.progress import NoProgress, Progress, task_line
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.running.small_batches import refuse_small_batches
from bench_core.store import Store
from bench_core.store.store import PREEMPTED
from bench_core.training.stopping import CALL_AGAIN, SIGNALS

STOP_CODES = (CALL_AGAIN, 130, *(-number for number in SIGNALS))  # exit codes of `bench run` after a stop signal
ERROR_CODES = (1, 2)  # its exit codes after an error; the last line that it printed then gives the reason
_KILLED, _ERROR, _TIMEOUT = "killed", "error", "timeout"  # kinds of attempts


@dataclass
class ChainProcess:
    """A chain that runs in its own process. After a crash in a task, another process runs the tasks after it.

    Attributes:
        number: Place of the chain in the queue, from 1.
        chain: The chain.
        cells: Cells that its process shall run.
        last_attempts: Key of each of these cells -> file of its last attempt when the process began, or None. A newer
            file shows that the process has recorded a failure.
        task: Name of the task that the process began last; None while it trains or embeds.
        seconds: Time that earlier processes of this chain took.
        unfinished: Cells that did not finish.
    """

    number: int
    chain: Chain
    cells: list[Cell]
    last_attempts: dict[str, object] = field(default_factory=dict)
    task: str | None = None
    seconds: float = 0.0
    unfinished: list[UnfinishedCell] = field(default_factory=list)


def run_in_processes(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    command: Sequence[str],
    progress: Progress | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> list[UnfinishedCell]:
    """Run the missing cells of a plan, each chain in its own process.

    Args:
        plan: Its cells that have no record are run.
        store: Store of the records; the processes create it.
        setting: `jobs`, `time_limit` and `stop` are used here. The other settings reach the processes as options of
            `command`.
        command: Command that runs the whole request. `--only-chain KEY` is added for one chain, and
            `--without-cell KEY` for each cell that shall not be tried again.
        progress: Shows the lines that the processes print, and is closed at the end; None shows nothing.
        on_start: Called once a process has made the store, or at once where it is there.

    Returns:
        The cells that did not finish; each has an attempt in the store that says why. Those of kind "preempted" have
        not failed.

    Raises:
        RequestError: Batches are too small for a method, or the first process to end reports that the request is
            wrong; nothing was run.
        Stopped: A stop signal came. The processes got it too, and have saved checkpoints.
    """
    progress = progress or NoProgress()
    queue = [ChainProcess(number, chain, cells) for number, (chain, cells) in enumerate(to_run(plan, store), 1)]
    try:
        for item in queue:
            check_kept_epochs(item.chain, item.cells, store, setting.keep_every)
        refuse_small_batches(needed for item in queue for needed in to_train(item.chain, store))
        _Scheduler(store, setting, command, progress, queue).run(on_start)
    finally:
        progress.close()
    return [cell for chain_process in queue for cell in chain_process.unfinished]


class _Scheduler:
    """Starts the processes of the chains, and records the failures that a process could not record.

    Attributes:
        waiting: Chains that have no process yet, in their order.
        running: Slot (0 to jobs - 1) -> a chain and its process.
        environments: Environment variables of each slot: its share of the cores, and its GPU.
        threads: Number of threads of each process, for the records.
        failed_trainings: Trainings that failed in this run; what starts from them is not tried.
        request_is_accepted: True once a process has ended without rejecting the request.
    """

    def __init__(
        self,
        store: Store,
        setting: RunSetting,
        command: Sequence[str],
        progress: Progress,
        queue: Sequence[ChainProcess],
    ) -> None:
        self.store, self.setting, self.command, self.progress = store, setting, command, progress
        self.total = len(queue)
        self.waiting = list(queue)
        self.running: dict[int, tuple[ChainProcess, ChildProcess]] = {}
        self.environments = process_environments(setting.jobs, setting.device)
        self.threads = int(self.environments[0].get("OMP_NUM_THREADS", torch.get_num_threads()))
        self.failed_trainings = FailedTrainings(store)
        self.request_is_accepted = False

    def run(self, on_start: Callable[[], None]) -> None:
        """Run all chains. After a stop signal no more are started, and the running processes are stopped."""
        stop, started = self.setting.stop, False
        with stop.deferred():
            try:
                while self.running or (self.waiting and not stop.is_requested()):
                    if not stop.is_requested():
                        self.fill_slots()
                    if not started and self.store.exists():
                        started = True
                        on_start()
                    self.poll()
                    time.sleep(POLL_S)
            finally:
                for _, process in self.running.values():
                    process.kill()

    def fill_slots(self) -> None:
        """Start a chain in each free slot, as far as there are chains that can start now."""
        for slot in range(self.setting.jobs):
            if slot in self.running:
                continue
            chain_process = self.next_chain()
            if chain_process is None:
                return
            self.waiting.remove(chain_process)
            if not self.record_failed_source(chain_process):
                self.running[slot] = chain_process, self.start(chain_process, slot)

    def next_chain(self) -> ChainProcess | None:
        """Return the first waiting chain that needs no training that is running now; each training is done once."""
        running_chains = [chain_process.chain for chain_process, _ in self.running.values()]
        running_keys = {chain.key for chain in running_chains}
        trainings = {needed.key for chain in running_chains for needed in to_train(chain, self.store)}
        for chain_process in self.waiting:
            lineage = {ancestor.key for ancestor in chain_process.chain.lineage}
            if chain_process.chain.key not in running_keys and trainings.isdisjoint(lineage):
                return chain_process
        return None

    def poll(self) -> None:
        """Settle the chains whose process has ended. A chain that has untried cells left is next in the queue."""
        stopping = self.setting.stop.is_requested
        for slot, (chain_process, process) in list(self.running.items()):
            if ended := process.poll(stopping()):
                del self.running[slot]
                if not stopping() and self.settle(chain_process, ended):
                    self.waiting.insert(0, chain_process)

    def record_failed_source(self, chain_process: ChainProcess) -> bool:
        """Record the chain's cells as failed if a training that it needs failed in this run; return True if so."""
        reason = self.failed_trainings.reason_to_skip(chain_process.chain)
        if reason is None:
            return False
        self.progress.chain(chain_process.number, self.total, chain_process.chain.label)
        self.record(chain_process, chain_process.cells, *reason, [], 0.0)
        chain_process.unfinished += self.unfinished(chain_process.cells)
        return True

    def start(self, chain_process: ChainProcess, slot: int) -> ChildProcess:
        """Start a process for the cells of a chain."""
        chain, cells = chain_process.chain, chain_process.cells
        if chain_process.seconds == 0:
            self.progress.chain(chain_process.number, self.total, chain.label)
        else:
            self.log(chain_process, f"  continue with {', '.join(cell.task.name for cell in cells)}")
        chain_process.last_attempts = {cell.key: self.store.last_attempt(cell.key) for cell in cells}
        chain_process.task = None
        tasks = {task_line(cell.task.name): cell.task.name for cell in cells}

        def on_line(line: str) -> None:
            chain_process.task = tasks.get(line, chain_process.task)
            self.log(chain_process, line)

        command = [*self.command, "--only-chain", chain.key]
        for cell in missing(chain, self.store):
            if cell.key not in chain_process.last_attempts:
                command += ["--without-cell", cell.key]
        time_limit = self.setting.time_limit
        if time_limit is not None:
            time_limit -= chain_process.seconds
        return ChildProcess(command, on_line, time_limit, environment=self.environments[slot])

    def settle(self, chain_process: ChainProcess, ended: Ended) -> bool:
        """Record failures that the ended process could not record.

        If the process ended while a task ran, that task alone has failed, and the cells after it are untried.

        Returns:
            True if another process shall run the untried cells. They are then the cells of `chain_process`.

        Raises:
            RequestError: It is the first process to end, and it reports that the request is wrong.
        """
        kind, error = failure_reason(ended, self.setting.time_limit)
        if ended.code == 2 and kind == _ERROR and chain_process.task is None and not self.request_is_accepted:
            raise RequestError(error)
        self.request_is_accepted = True
        no_record = [cell for cell in chain_process.cells if self.store.record(cell.key) is None]
        unexplained = [
            cell for cell in no_record if self.store.last_attempt(cell.key) == chain_process.last_attempts[cell.key]
        ]
        failed = unexplained
        if chain_process.task is not None and kind != PREEMPTED:
            failed = [cell for cell in unexplained if cell.task.name == chain_process.task]
        if ended.timed_out and not failed:  # it ended between two tasks
            failed = unexplained
        if unexplained:
            self.record(chain_process, failed, kind, error, ended.last_lines, ended.seconds)
        untried = [cell for cell in unexplained if cell not in failed]
        chain_process.unfinished += self.unfinished([cell for cell in no_record if cell not in untried])
        chain_process.cells = untried
        chain_process.seconds += ended.seconds
        for cell in failed_cells(chain_process.unfinished):
            self.failed_trainings.note(chain_process.chain, cell.kind, cell.error)
        if self.setting.jobs > 1 and not no_record:
            self.log(chain_process, "done")
        return bool(untried) and not ended.timed_out

    def record(
        self,
        chain_process: ChainProcess,
        cells: Sequence[Cell],
        kind: str,
        error: str,
        last_lines: Sequence[str],
        seconds: float,
    ) -> None:
        """Write attempts for cells whose process ended without writing them."""
        if kind != PREEMPTED:
            error = self.failed_trainings.note(chain_process.chain, kind, error)
        where = {**provenance(torch.device("cpu")), "device": self.setting.device, "threads": self.threads}
        for cell in cells:
            self.store.add_attempt(attempt(cell, kind, error, last_lines, seconds, where))
        self.log(chain_process, f"  {kind}: {error}")

    def unfinished(self, cells: Sequence[Cell]) -> list[UnfinishedCell]:
        """Read the last attempt of each cell that has one."""
        paths = [(cell, self.store.last_attempt(cell.key)) for cell in cells]
        return [unfinished_cell(cell, path) for cell, path in paths if path is not None]

    def log(self, chain_process: ChainProcess, line: str) -> None:
        """Show a line of a chain, with the chain's name in front if several run at the same time."""
        self.progress.log(line if self.setting.jobs == 1 else f"{chain_process.chain.label}: {line.strip()}")


def failure_reason(ended: Ended, time_limit: float | None) -> tuple[str, str]:
    """Return kind and reason of the failure of a process that has recorded none."""
    if ended.timed_out:
        return _TIMEOUT, f"not done within {time_limit:g} s; run again to resume from its last checkpoint"
    if ended.code in STOP_CODES:
        return PREEMPTED, "its process got a stop signal; run again to resume from its last checkpoint"
    last = next((line for line in reversed(ended.last_lines) if line.strip()), " ")
    if ended.code in ERROR_CODES and not last.startswith(" "):  # an indented line is progress and no reason
        return _ERROR, last.removeprefix("Error: ")
    if ended.code == -signal.SIGKILL:
        return _KILLED, "its process was killed by SIGKILL; if nobody did that, the machine's memory ran out"
    if ended.code < 0:
        return _KILLED, f"its process was killed by {signal.Signals(-ended.code).name}"
    return _KILLED, f"its process ended with exit code {ended.code} and printed no reason"
