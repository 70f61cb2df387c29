"""Measure what the harness costs beside training and metrics: `python -m benchmarks.overhead [--save]`, needs MNIST.

The command line runs on the board `mnist`, in this process and into a new store each time. Clocks around the training
steps, the method's `embed` and the tasks' `evaluate` measure the arithmetic. Everything else is the harness: the plan
and its digests, reading and moving data, the log, files that are written and read again, the table and the page. Facts
that a process caches (commit, versions) are cleared before each run. The import of libraries is not included. The
second contest measures it, and `python -m benchmarks.startup` measures its parts.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

from click.testing import CliRunner

from bench_core import devices
from bench_core.cli.group import main as bench
from bench_core.plugins import load_plugins
from bench_core.running import provenance
from bench_core.training import pretrain
from benchmarks.contest import Contender, Contest, Goal, Timing, cpu_seconds, main

F = TypeVar("F", bound=Callable[..., Any])
TASKS = ("linear", "knn", "retrieval")
WHOLE, ARITHMETIC = "whole run", "training and metrics"


@dataclass
class Clock:
    """Sums of CPU and wall seconds spent in marked calls, by name."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Add the time spent inside this context to a name."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + cpu_seconds() - cpu
            self.wall_s[name] = self.wall_s.get(name, 0.0) + time.perf_counter() - wall

    def around(self, name: str, function: F) -> Any:
        """Return the function with the time of its calls added to a name."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.running(name):
                return function(*args, **kwargs)

        return timed


def contests() -> list[Contest]:
    """Return three contests: overhead, imports and growth.

    Overhead is measured at a third of the board's budget, so that costs of a whole run weigh three times as much.
    """
    return [share("mnist", epochs=10), imports("mnist", epochs=1), growth("digits", epochs=3, seeds=(1, 8))]


def share(board: str, epochs: int) -> Contest:
    """Return the contest of a whole run against its arithmetic."""
    return Contest(
        f"Harness overhead: SimCLR on the board {board}, {epochs} epochs, one seed",
        [],
        [Goal(WHOLE, ARITHMETIC, 0.98)],
        [
            f"`bench run {' '.join(_arguments(board, epochs))} --methods simclr --tasks {','.join(TASKS)}`",
            "arithmetic: training steps (views, both passes, optimiser), the method's `embed`, the tasks' `evaluate`",
        ],
        measure=partial(parts, board, epochs),
    )


def imports(board: str, epochs: int) -> Contest:
    """Return the contest of a run in this process against one in a new process, which imports everything."""
    arguments = _arguments(board, epochs)
    contenders = [Contender("in a process that has run it before", partial(run, arguments))]
    contenders.append(Contender("in a process of its own", partial(run_in_new_process, arguments)))
    notes = [
        "the difference is torch, its compiler, which torch imports for the first optimiser, scipy, faiss and caches"
    ]
    return Contest(f"The same run of {epochs} epoch, with imports and without", contenders, notes=notes)


def growth(board: str, epochs: int, seeds: Sequence[int]) -> Contest:
    """Return the contest of the same run for more and more seeds."""
    contenders = [
        Contender(f"{n} seeds", partial(run, ["--board", board, "--epochs", str(epochs), "--seeds", _first(n)]))
        for n in seeds
    ]
    return Contest(f"Growth with seeds: runs of SimCLR on the board {board}, {epochs} epochs", contenders, sizes=seeds)


def parts(board: str, epochs: int, rounds: int) -> list[Timing]:
    """Measure the parts of so many runs, after a warm-up of one epoch."""
    run(_arguments(board, 1))
    arguments = _arguments(board, epochs)
    timings: dict[str, Timing] = {}
    for _ in range(rounds):
        clock = Clock()
        with clocks(clock), clock.running(WHOLE):
            run(arguments)
        for seconds in (clock.cpu_s, clock.wall_s):
            seconds[ARITHMETIC] = sum(value for name, value in seconds.items() if name != WHOLE)
        for name in clock.cpu_s:
            timing = timings.setdefault(name, Timing(name, 1.0))
            timing.cpu_s.append(clock.cpu_s[name])
            timing.wall_s.append(clock.wall_s[name])
    return [timings[name] for name in sorted(timings, key=lambda name: (name != WHOLE, name != ARITHMETIC, name))]


def run(arguments: Sequence[str]) -> None:
    """Run `bench run` of SimCLR in this process into a temporary store."""
    provenance._commit.cache_clear()
    provenance._version.cache_clear()
    devices._processor.cache_clear()
    with tempfile.TemporaryDirectory() as store:
        done = CliRunner().invoke(bench, _command(arguments, store), catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)


def run_in_new_process(arguments: Sequence[str]) -> None:
    """Run the same in a new process, as a person types it."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "bench_core", *_command(arguments, store), "--quiet"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _arguments(board: str, epochs: int) -> list[str]:
    return ["--board", board, "--epochs", str(epochs), "--seeds", "0"]


def _command(arguments: Sequence[str], store: str) -> list[str]:
    return ["run", "--methods", "simclr", "--tasks", ",".join(TASKS), "--device", "cpu", "--store", store, *arguments]


@contextmanager
def clocks(clock: Clock) -> Iterator[None]:
    """Measure everything inside this context that is arithmetic."""
    registry = load_plugins()
    method = registry.get("objective", "simclr").cls
    marked = [(pretrain, "train_step", "training steps"), (method, "embed", "embedding")]
    marked += [(registry.get("evaluator", task).cls, "evaluate", f"task {task}") for task in TASKS]
    patches = [patch.object(owner, name, clock.around(what, getattr(owner, name))) for owner, name, what in marked]
    for patched in patches:
        patched.start()
    try:
        yield
    finally:
        for patched in patches:
            patched.stop()


def _first(count: int) -> str:
    return ",".join(map(str, range(count)))


if __name__ == "__main__":
    main("overhead", contests, rounds=3)
