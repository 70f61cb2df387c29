"""A log of all trainings in a store that runs share, also of those in the processes that runs start.

    python -m tests.faults.trainings LOG run --methods moco ...

is `bench run --methods moco ...` and writes into the log; so a run with `--jobs 2` starts the processes of its chains.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench_core.cli import group
from bench_core.engines import child_process
from bench_core.planning.chains import Chain
from bench_core.running import chain
from bench_core.store.claim_holders import process_start

BEGIN, END = "begin", "end"


class Event(NamedTuple):
    """Beginning or end of a training.

    Attributes:
        seconds: When it was, by `time.monotonic`.
        what: `BEGIN`; `END`; or the name of the exception that cut the training short.
        key: Key of the chain.
        pid: The process that trains.
        parent: The run that started this process; 0 where it is a run itself.
        beside: Living processes in which a training of the chain has begun and not ended.
    """

    seconds: float
    what: str
    key: str
    pid: int
    parent: int
    beside: Sequence[int]


class TrainingLog:
    """A file to which every process writes when a training begins and how it ends."""

    def __init__(self, path: Path) -> None:
        """Wrap the function that trains, for this process, runs that are forked from it, and what these start."""
        self.path = path
        self._wrapped = chain._train, child_process.restart_command
        train: Callable[..., None] = chain._train

        def tracked(trained: Chain, *args: Any, **kwargs: Any) -> None:
            self._write(BEGIN, trained.key)
            try:
                train(trained, *args, **kwargs)
            except BaseException as error:
                self._write(type(error).__name__, trained.key)
                raise
            self._write(END, trained.key)

        vars(chain)["_train"] = tracked
        vars(child_process)["restart_command"] = lambda: [sys.executable, "-m", "tests.faults.trainings", str(path)]

    def restore(self) -> None:
        """Let runs that are forked afterwards write nothing."""
        vars(chain)["_train"], vars(child_process)["restart_command"] = self._wrapped

    def read(self) -> list[Event]:
        """Return all events in their order."""
        lines = self.path.read_text(encoding="ascii").splitlines() if self.path.exists() else []
        return [Event(*json.loads(line)) for line in lines]

    def _write(self, what: str, key: str) -> None:
        with self.path.open("a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            others = [other for other, end in trainings(self.read()) if not end and other.key == key]
            beside = [other.pid for other in others if process_start(other.pid) != "no process"]
            parent = int(os.environ.get("BENCH_STARTED_BY", 0))
            file.write(json.dumps(Event(time.monotonic(), what, key, os.getpid(), parent, beside)) + "\n")


def trainings(events: Sequence[Event]) -> list[tuple[Event, str]]:
    """Return the beginning of each training and how it ended, as in `Event.what`; "" where no end is known."""
    begun: dict[tuple[str, int], Event] = {}
    ended = []
    for event in events:
        if event.what == BEGIN:
            begun[event.key, event.pid] = event
        else:
            ended.append((begun.pop((event.key, event.pid)), event.what))
    return [*ended, *((beginning, "") for beginning in begun.values())]


def main() -> None:
    """Run `bench`, and write its trainings into the log that the first argument names."""
    TrainingLog(Path(sys.argv[1]))
    group.main(sys.argv[2:])


if __name__ == "__main__":
    main()
