"""The engine that runs each chain in its own process, several at a time: a crash, leak or hang ends one chain only."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from bench_core.engines.child_process import POLL_S, ChildProcess, Ended
from bench_core.engines.command_line import with_device
from bench_core.engines.failure_reason import ERROR, failure_reason
from bench_core.engines.resources import (
    Alone,
    Machine,
    Place,
    find_place,
    killed_for_memory,
    memory_kills,
    this_machine,
)
from bench_core.engines.sizes import Sizes
from bench_core.errors import RequestError
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.running.estimates import Outlook, about
from bench_core.running.failures import OUT_OF_MEMORY, UnfinishedCell, attempt, failed_cells, unfinished_cell
from bench_core.running.kept_epochs import check_kept_epochs
from bench_core.running.pending import FailedTrainings, missing, to_run, to_train
from bench_core.running.progress import NoProgress, Progress, read_first_step, task_line
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.running.shared_queue import OthersWork, waiting_line
from bench_core.running.small_batches import has_small_batches, refuse_small_batches
from bench_core.running.threads import threads_here
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.store.store import PREEMPTED, read_attempt

_LOOK_AGAIN_S = 2.0  # from one look at the waiting chains to the next, while nothing ends
_LOOKED_AT = 32  # chains of the queue at which a look at the work of others ends
_SHOW_AGAIN_S = 60.0  # from one word on the time of all chains to the next


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
        place: Number of the device on which it runs, or ran last.
        beside: Whether it has shared its device, or the machine, with another chain since it began there.
        alone: What it has for itself, because it ran out of memory beside another.
        memory_kills: How many processes the system had ended for their memory when it began; None where unknown.
    """

    number: int
    chain: Chain
    cells: list[Cell]
    last_attempts: dict[str, object] = field(default_factory=dict)
    task: str | None = None
    seconds: float = 0.0
    unfinished: list[UnfinishedCell] = field(default_factory=list)
    place: int = 0
    beside: Alone = Alone.NOTHING
    alone: Alone = Alone.NOTHING
    memory_kills: int | None = None


def run_in_processes(
    plan: Plan,
    store: Store,
    setting: RunSetting,
    command: Sequence[str],
    progress: Progress | None = None,
    on_start: Callable[[], None] = lambda: None,
    machine: Machine | None = None,
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
        machine: Cores, memory and devices that the chains share; None looks what this machine has.

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
        small = (item.chain for item in queue if has_small_batches(item.chain))
        refuse_small_batches(needed for chain in small for needed in to_train(chain, store))
        _Scheduler(store, setting, command, progress, queue, machine).run(on_start)
    finally:
        progress.close()
    return [cell for chain_process in queue for cell in chain_process.unfinished]


class _Scheduler:
    """Starts the processes of the chains, and records the failures that a process could not record.

    Attributes:
        waiting: Chains that have no process yet, in their order.
        running: Number of a chain -> the chain and its process.
        machine: Cores, memory and devices that the chains share.
        sizes: What each chain takes of these.
        failed_trainings: Trainings that failed in this run; what starts from them is not tried.
        request_is_accepted: True once a process has ended without rejecting the request.
        look_at: When waiting chains are looked at again, if nothing has ended before.
        show_at: When it is said how long all chains take, if none has ended before.
    """

    def __init__(
        self,
        store: Store,
        setting: RunSetting,
        command: Sequence[str],
        progress: Progress,
        queue: Sequence[ChainProcess],
        machine: Machine | None,
    ) -> None:
        self.store, self.setting, self.command, self.progress = store, setting, command, progress
        self.total = len(queue)
        self.waiting = list(queue)
        self.running: dict[int, tuple[ChainProcess, ChildProcess]] = {}
        self.machine = machine or this_machine(setting.device, 1 if setting.ranks == "auto" else setting.ranks)
        self.outlook = Outlook(store)
        self.sizes = Sizes(self.outlook, setting, self.machine)
        self.failed_trainings = FailedTrainings(store)
        cells = (cell for chain_process in queue for cell in chain_process.cells)
        self.others = OthersWork(cells, store, self.failed_trainings)
        self.claims = Claims(store.path, setting.claim_beat, setting.claim_stale)
        self.waits_for: list[str] = []
        self.request_is_accepted = False
        self.look_at = 0.0
        self.show_at = time.monotonic() + _SHOW_AGAIN_S

    @property
    def several(self) -> bool:
        """True if chains run at the same time."""
        return self.setting.jobs != 1

    def run(self, on_start: Callable[[], None]) -> None:
        """Run all chains. After a stop signal no more are started, and the running processes are stopped."""
        stop, started = self.setting.stop, False
        if self.setting.jobs == "auto":
            self.progress.log(self.machine.line())
        with stop.deferred():
            try:
                while self.running or (self.waiting and not stop.is_requested()):
                    if not stop.is_requested():
                        self.fill_slots()
                    if not started and self.store.exists():
                        started = True
                        on_start()
                    self.poll()
                    if self.several and time.monotonic() > self.show_at:
                        self.show_overall()
                    time.sleep(POLL_S)
            finally:
                for _, process in self.running.values():
                    process.kill()

    def fill_slots(self) -> None:
        """Start chains as long as there is one that can start now, and a place for it."""
        if time.monotonic() < self.look_at:
            return
        self.drop_what_others_did()
        while found := self.next_chain():
            chain_process, place = found
            self.waiting.remove(chain_process)
            if not self.record_failed_source(chain_process):
                self.running[chain_process.number] = chain_process, self.start(chain_process, place)
        self.look_at = time.monotonic() + _LOOK_AGAIN_S

    def next_chain(self) -> tuple[ChainProcess, int] | None:
        """Return the first waiting chain that can start now, and the number of its device.

        It needs no training that is running now, as each training is done once, and it fits beside the running chains.
        """
        running_chains = [chain_process.chain for chain_process, _ in self.running.values()]
        running_keys = {chain.key for chain in running_chains}
        trainings = {needed.key for chain in running_chains for needed in to_train(chain, self.store)}
        waits_for: dict[str, str] = {}
        for chain_process in self.waiting:
            place = self.place_of(chain_process)
            lineage = {ancestor.key for ancestor in chain_process.chain.lineage}
            if place is None or chain_process.chain.key in running_keys or not trainings.isdisjoint(lineage):
                continue
            if not (held := self.held_by_others(chain_process.chain)):
                return chain_process, place
            waits_for |= held
        if not self.running:
            before, self.waits_for = self.waits_for, [*waits_for.values()]
            for line in self.waits_for:
                if line not in before:
                    self.progress.log(line)
        return None

    def held_by_others(self, chain: Chain) -> dict[str, str]:
        """Return key -> line for people, of the chain and what it needs, as far as other runs work on it."""
        links = {link.key: link for link in (*to_train(chain, self.store), chain)}
        holders = {key: self.claims.holder(key) for key in links if not self.claims.free(key)}
        return {key: waiting_line(links[key].label, holder) for key, holder in holders.items() if holder}

    def drop_what_others_did(self) -> None:
        """Take chains and cells out of the queue that other runs on the same store have finished or failed.

        Only the first chains that are left are looked at, as those behind them do not start now.
        """
        left = 0
        for chain_process in list(self.waiting):
            if left == _LOOKED_AT:
                return
            left += 1
            chain_process.cells, failed = self.others.look(chain_process.chain, chain_process.cells)
            chain_process.unfinished += failed
            if not chain_process.cells:
                left -= 1
                self.waiting.remove(chain_process)
                self.log(chain_process, "  failed in another run" if failed else "  done by another run")

    def place_of(self, chain_process: ChainProcess) -> int | None:
        """Return the number of the device on which a chain can run now, or None."""
        running = [(self.sizes.needs(other.chain, other.alone), other.place) for other, _ in self.running.values()]
        most = None if self.setting.jobs == "auto" else self.setting.jobs
        if most is not None and len(running) >= most:
            return None
        needs = self.sizes.needs(chain_process.chain, chain_process.alone)
        return find_place(needs, running, self.machine, self.sizes.device_gib, most)

    def poll(self) -> None:
        """Settle the chains whose process has ended. A chain that has untried cells left is next in the queue."""
        stopping = self.setting.stop.is_requested
        for slot, (chain_process, process) in list(self.running.items()):
            if ended := process.poll(stopping()):
                del self.running[slot]
                self.look_at = 0.0
                if stopping():
                    continue
                if self.settle(chain_process, ended):
                    self.waiting.insert(0, chain_process)
                elif self.several:
                    self.progress.ended(chain_process.chain.label)
                    self.show_overall()

    def show_overall(self) -> None:
        """Say how many chains have ended, and how long all others take."""
        self.show_at = time.monotonic() + _SHOW_AGAIN_S
        others = [*self.waiting, *(other for other, _ in self.running.values())]
        seconds = self.outlook.rest(other.chain for other in others)
        left = about(seconds, max(1, min(len(others), len(self.running) + 1))) if others and seconds.total else ""
        self.progress.overall(self.total - len(others), self.total, left)

    def record_failed_source(self, chain_process: ChainProcess) -> bool:
        """Record the chain's cells as failed if a training that it needs failed in this run; return True if so."""
        reason = self.failed_trainings.reason_to_skip(chain_process.chain)
        if reason is None:
            return False
        self.progress.chain(chain_process.number, self.total, chain_process.chain.label)
        self.record(chain_process, chain_process.cells, *reason, [], 0.0)
        chain_process.unfinished += self.unfinished(chain_process.cells)
        return True

    def start(self, chain_process: ChainProcess, number: int) -> ChildProcess:
        """Start a process for the cells of a chain on a device."""
        chain, cells = chain_process.chain, chain_process.cells
        if chain_process.seconds == 0:
            self.progress.chain(chain_process.number, self.total, chain.label)
        else:
            self.log(chain_process, f"  continue with {', '.join(cell.task.name for cell in cells)}")
        chain_process.last_attempts = {cell.key: self.store.last_attempt(cell.key) for cell in cells}
        chain_process.task = None
        self.note_neighbours(chain_process, number)
        tasks = {task_line(cell.task.name): cell.task.name for cell in cells}

        def on_line(line: str) -> None:
            if memory := read_first_step(line):
                self.sizes.note_first_step(chain, number, *memory)
                self.look_at = 0.0
                return
            chain_process.task = tasks.get(line, chain_process.task)
            self.log(chain_process, line)

        place: Place = self.machine.places[number]
        command = [*with_device(self.command, place.device), "--only-chain", chain.key]
        for cell in missing(chain, self.store):
            if cell.key not in chain_process.last_attempts:
                command += ["--without-cell", cell.key]
        time_limit = self.setting.time_limit
        if time_limit is not None:
            time_limit -= chain_process.seconds
        return ChildProcess(command, on_line, time_limit, environment=place.environment)

    def note_neighbours(self, chain_process: ChainProcess, number: int) -> None:
        """Note with whom a chain that starts on a device shares it, or the machine."""
        chain_process.place, chain_process.beside = number, Alone.NOTHING
        chain_process.memory_kills = memory_kills()
        for other, _ in self.running.values():
            shared = Alone.DEVICE if other.place == number else Alone.MACHINE
            for each in (chain_process, other):
                each.beside = shared if each.beside is Alone.NOTHING else min(each.beside, shared)

    def settle(self, chain_process: ChainProcess, ended: Ended) -> bool:
        """Record failures that the ended process could not record.

        If the process ended while a task ran, that task alone has failed, and the cells after it are untried.

        Returns:
            True if another process shall run the untried cells. They are then the cells of `chain_process`.

        Raises:
            RequestError: It is the first process to end, and it reports that the request is wrong.
        """
        self.others.know(chain_process.cells)
        kind, error = failure_reason(ended, self.setting.time_limit)
        if ended.code == 2 and kind == ERROR and chain_process.task is None and not self.request_is_accepted:
            raise RequestError(error)
        self.request_is_accepted = True
        for finished in chain_process.cells:
            self.outlook.add(finished)
        no_record = [cell for cell in chain_process.cells if self.store.record(cell.key) is None]
        unexplained = [
            cell for cell in no_record if self.store.last_attempt(cell.key) == chain_process.last_attempts[cell.key]
        ]
        if again := self.cells_to_try_alone(chain_process, ended, no_record):
            chain_process.unfinished += self.unfinished([cell for cell in no_record if cell not in again])
            chain_process.cells = again
            chain_process.seconds += ended.seconds
            self.log(chain_process, "  memory ran out beside another chain; it is tried once more, alone")
            return True
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
        if self.several and not no_record:
            self.log(chain_process, "done")
        return bool(untried) and not ended.timed_out

    def cells_to_try_alone(self, chain_process: ChainProcess, ended: Ended, no_record: Sequence[Cell]) -> list[Cell]:
        """Return the cells of a chain that ran out of memory beside another, if it is the first time; or none.

        After SIGKILL, by which a system takes back memory, the chain then has the machine for itself, else its device.
        """
        if chain_process.alone or not chain_process.beside or ended.timed_out:
            return []
        newest = {cell.key: self.store.last_attempt(cell.key) for cell in no_record}
        unexplained = [cell for cell in no_record if newest[cell.key] == chain_process.last_attempts[cell.key]]
        if ended.code == -signal.SIGKILL and killed_for_memory(chain_process.memory_kills):
            chain_process.alone = Alone.MACHINE
            return unexplained
        files = [(cell, newest[cell.key]) for cell in no_record if cell not in unexplained]
        failed = [cell for cell, file in files if file and read_attempt(file).get("kind") == OUT_OF_MEMORY]
        own_memory = self.machine.places[chain_process.place].has_own_memory
        if not failed or (own_memory and chain_process.beside is not Alone.DEVICE):
            return []
        chain_process.alone = Alone.DEVICE if own_memory else Alone.MACHINE
        return [*failed, *unexplained]

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
        threads = threads_here(chain_process.chain)
        where = {**provenance(torch.device("cpu")), "device": self.setting.device, "threads": threads}
        for cell in cells:
            self.store.add_attempt(attempt(cell, kind, error, last_lines, seconds, where))
        self.log(chain_process, f"  {kind}: {error}")

    def unfinished(self, cells: Sequence[Cell]) -> list[UnfinishedCell]:
        """Read the last attempt of each cell that has one."""
        paths = [(cell, self.store.last_attempt(cell.key)) for cell in cells]
        return [unfinished_cell(cell, path) for cell, path in paths if path is not None]

    def log(self, chain_process: ChainProcess, line: str) -> None:
        """Show a line of a chain, as one of several if several run at the same time."""
        if self.several:
            self.progress.of_chain(chain_process.chain.label, line)
        else:
            self.progress.log(line)
