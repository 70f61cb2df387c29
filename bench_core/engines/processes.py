"""A process for each chain, several at once: what crashes, leaks, hangs or leaves ends one chain only."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from bench_core.engines.child_process import LOOK_S, Child, Ended
from bench_core.engines.resources import places
from bench_core.errors import RequestError, shown
from bench_core.planning.plan import Cell, Chain, Plan
from bench_core.running.failures import Failure, attempt, failure
from bench_core.running.pending import Broken, missing, to_run, to_train
from bench_core.running.progress import Progress, Silent, begins
from bench_core.running.provenance import provenance
from bench_core.store import Store
from bench_core.store.store import PREEMPTED
from bench_core.training.stopping import CALL_AGAIN, SIGNALS, Stop

if TYPE_CHECKING:
    pass


_TOLD = (CALL_AGAIN, 130, *(-number for number in SIGNALS))  # as `bench run` leaves when it is told to stop
_SAYS_WHY = (1, 2)  # as it leaves after an error of its own
_KILLED, _ERROR, _LATE = "killed", "error", "timeout"


@dataclass(frozen=True)
class Apart:
    """How chains run apart.

    Attributes:
        command: To run one chain it is followed by `--only-chain KEY`, and `--without-cell KEY` for cells left out.
        device: For the records; this process leaves it alone, so that its memory is all the chains'.
        limit: Seconds that a chain may take in one run, its process's start included; None is any.
        stop: Whether this process was told to stop.
        jobs: Chains at once.
    """

    command: Sequence[str]
    device: str
    limit: float | None
    stop: Stop
    jobs: int = 1


@dataclass
class Turn:
    """A chain's turn: one process, or another one for what was not tried when the first crashed.

    Attributes:
        cells: That are to be done yet.
        before: The last attempt on each of them when the process began.
        task: That the process began last.
        seconds: That processes before it ran.
        failures: The cells that did not finish.
    """

    number: int
    chain: Chain
    cells: list[Cell]
    before: dict[str, object] = field(default_factory=dict)
    task: str | None = None
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def run_apart(plan: Plan, store: Store, how: Apart, progress: Progress | None = None) -> list[Failure]:
    """Run what is missing, each chain in a process of its own.

    Returns:
        The cells that did not finish, as the store's attempts say; those of kind "preempted" have not failed.

    Raises:
        RequestError: The first process to end says that the request is wrong; nothing was run.
        Stopped: This process was told to stop; the chains under way were told so, too.
    """
    turns = [Turn(number, chain, cells) for number, (chain, cells) in enumerate(to_run(plan, store), 1)]
    if turns:
        store.create()
    _Engine(store, how, progress or Silent(), turns).run()
    return [one for turn in turns for one in turn.failures]


class _Engine:
    """Starts the chains' processes and puts on record what they left unsaid."""

    def __init__(self, store: Store, how: Apart, progress: Progress, turns: Sequence[Turn]) -> None:
        self.store, self.how, self.progress, self.total = store, how, progress, len(turns)
        self.waiting = list(turns)
        self.running: dict[int, tuple[Turn, Child]] = {}  # by place
        self.places = places(how.jobs, how.device)
        self.threads = int(self.places[0].get("OMP_NUM_THREADS", torch.get_num_threads()))
        self.broken = Broken(store)
        self.settled = False  # whether a process has ended that took the request

    def run(self) -> None:
        """All turns; once this process is told to stop, no more are begun, and those under way are told so."""
        with self.how.stop.held():
            try:
                while self.running or (self.waiting and not self.how.stop.asked()):
                    if not self.how.stop.asked():
                        self.fill()
                    self.look()
                    time.sleep(LOOK_S)
            finally:
                for _, child in self.running.values():
                    child.end()

    def fill(self) -> None:
        """Begin a turn in each place that is free, as far as there are turns that need not wait."""
        for place in range(self.how.jobs):
            if place not in self.running and (turn := self.next()):
                self.waiting.remove(turn)
                if not self.is_broken(turn):
                    self.running[place] = turn, self.start(turn, place)

    def next(self) -> Turn | None:
        """The first that needs nothing trained which is being trained: that is done once."""
        chains = [turn.chain for turn, _ in self.running.values()]
        taken = {one.key for chain in chains for one in to_train(chain, self.store)}
        themselves = {chain.key for chain in chains}
        for turn in self.waiting:
            if turn.chain.key not in themselves and taken.isdisjoint(one.key for one in turn.chain.lineage):
                return turn
        return None

    def look(self) -> None:
        """Settle the turns whose process has ended."""
        for place, (turn, child) in list(self.running.items()):
            if ended := child.look(self.how.stop.asked()):
                del self.running[place]
                if not self.how.stop.asked() and self.settle(turn, ended):
                    self.waiting.insert(0, turn)

    def is_broken(self, turn: Turn) -> bool:
        """Whether what the chain starts from failed in this run; then that is on record."""
        why = self.broken.why(turn.chain)
        if why is None:
            return False
        self.progress.chain(turn.number, self.total, turn.chain.label)
        self._record(turn, turn.cells, *why, [], 0.0)
        turn.failures += self._failures(turn.cells)
        return True

    def start(self, turn: Turn, place: int) -> Child:
        """Its process."""
        if turn.seconds == 0:
            self.progress.chain(turn.number, self.total, turn.chain.label)
        else:
            self._say(turn, f"  goes on with {', '.join(cell.task.name for cell in turn.cells)}")
        turn.before = {cell.key: self.store.last_attempt(cell.key) for cell in turn.cells}
        turn.task = None
        tasks = {begins(cell.task.name): cell.task.name for cell in turn.cells}

        def hear(line: str) -> None:
            turn.task = tasks.get(line, turn.task)
            self._say(turn, line)

        words = [*self.how.command, "--only-chain", turn.chain.key]
        for cell in missing(turn.chain, self.store):
            if cell.key not in turn.before:
                words += ["--without-cell", cell.key]
        limit = self.how.limit and self.how.limit - turn.seconds
        return Child(words, hear, limit, environment=self.places[place])

    def settle(self, turn: Turn, ended: Ended) -> bool:
        """Put on record what its process could not; whether another one shall go on with cells that were not tried."""
        kind, error = reason(ended, self.how.limit)
        if ended.code == 2 and kind == _ERROR and turn.task is None and not self.settled:
            raise RequestError(error)
        self.settled = True
        left = [cell for cell in turn.cells if self.store.record(cell.key) is None]
        silent = [cell for cell in left if self.store.last_attempt(cell.key) == turn.before[cell.key]]
        alone = turn.task is not None and kind in (_KILLED, _ERROR, _LATE)  # the task that ended it is to blame
        blamed = [cell for cell in silent if cell.task.name == turn.task] if alone else silent
        if ended.late:
            blamed = blamed or silent  # between two tasks
        if silent:
            self._record(turn, blamed, kind, error, ended.said, ended.seconds)
        untried = [cell for cell in silent if cell not in blamed]
        turn.failures += self._failures([cell for cell in left if cell not in untried])
        turn.cells, turn.seconds = untried, turn.seconds + ended.seconds
        for one in turn.failures:
            if one.kind != PREEMPTED:
                self.broken.note(turn.chain, one.kind, one.error)
        if self.how.jobs > 1 and not left:
            self._say(turn, "done")
        return bool(untried) and not ended.late

    def _record(
        self, turn: Turn, cells: Sequence[Cell], kind: str, error: str, said: Sequence[str], seconds: float
    ) -> None:
        """Attempts on cells by a process that could not write them itself."""
        if kind != PREEMPTED:
            error = self.broken.note(turn.chain, kind, error)
        here = {**provenance(torch.device("cpu")), "device": self.how.device, "threads": self.threads}
        for cell in cells:
            self.store.add_attempt(attempt(cell, kind, error, said, seconds, here))
        self._say(turn, f"  {kind}: {error}")

    def _failures(self, cells: Sequence[Cell]) -> list[Failure]:
        """Of cells that have an attempt, what the last one says."""
        return [failure(cell, log) for cell in cells if (log := self.store.last_attempt(cell.key))]

    def _say(self, turn: Turn, line: str) -> None:
        """A line of a chain; where others run beside it, it says whose it is."""
        self.progress.say(line if self.how.jobs == 1 else f"{turn.chain.label}: {line.strip()}")


def reason(ended: Ended, limit: float | None) -> tuple[str, str]:
    """Kind and words of what a process left unsaid."""
    if ended.late:
        return _LATE, f"not done within {limit:g} s; run again to go on from its last checkpoint"
    if ended.code in _TOLD:
        return PREEMPTED, "its process was told to stop; run again to go on from its last checkpoint"
    last = next((line for line in reversed(ended.said) if line.strip()), " ")
    if ended.code in _SAYS_WHY and not last.startswith(" "):  # a line of its progress, or none, is no reason
        return _ERROR, last.removeprefix("Error: ")
    if ended.code == -signal.SIGKILL:
        return _KILLED, "its process was killed by SIGKILL; if nobody did that, the machine's memory ran out"
    if ended.code < 0:
        return _KILLED, f"its process was killed by {signal.Signals(-ended.code).name}"
    return _KILLED, f"its process left with exit code {ended.code} and did not say why"


def check_engine(*, isolate: bool, jobs: int, time_limit: float | None) -> bool:
    """Whether chains run in processes of their own; RequestError where what is asked of them does not fit."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise RequestError(f"jobs must be a whole number from 1, got {shown(jobs)}.")
    is_number = isinstance(time_limit, int | float) and not isinstance(time_limit, bool)
    if time_limit is not None and not (is_number and time_limit > 0):
        raise RequestError(f"time_limit must be seconds above 0, got {shown(time_limit)}.")
    if time_limit is not None and not isolate and jobs == 1:
        raise RequestError("time_limit needs isolate or jobs above 1: only a process of its own can be ended.")
    return isolate or jobs > 1
