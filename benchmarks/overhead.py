"""What the harness takes beside training and metrics: `python -m benchmarks.overhead [--save]`, needs MNIST.

The command line itself runs, on the board `mnist`, in this process and into a new store each time; clocks around the
training steps, the method's `embed` and the tasks' `evaluate` tell what is arithmetic. All else is the harness: the
plan and its digests, reading and moving data, the log, what is written and read again, the table and the page. What is
remembered within a process (commit, versions) is forgotten before each run. The import of libraries is no part of it;
the second contest has it, and `python -m benchmarks.startup` what it is made of.
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
from benchmarks.contest import Contest, Goal, Took, Way, cpu_seconds, main

F = TypeVar("F", bound=Callable[..., Any])
TASKS = ("linear", "knn", "retrieval")
WHOLE, ARITHMETIC = "whole run", "training and metrics"


@dataclass
class Clock:
    """CPU and wall seconds within marked calls, by name."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Around one call."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        try:
            yield
        finally:
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + cpu_seconds() - cpu
            self.wall_s[name] = self.wall_s.get(name, 0.0) + time.perf_counter() - wall

    def around(self, name: str, function: F) -> Any:
        """The function, with its calls counted."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.running(name):
                return function(*args, **kwargs)

        return timed


def contests() -> list[Contest]:
    """A third of the board's budget, so that what is paid once weighs three times as much; imports; growth."""
    return [share("mnist", epochs=10), imports("mnist", epochs=1), growth("digits", epochs=3, seeds=(1, 8))]


def share(board: str, epochs: int) -> Contest:
    """What of a run is arithmetic."""
    return Contest(
        f"Harness overhead: SimCLR on the board {board}, {epochs} epochs, one seed",
        [],
        [Goal(WHOLE, ARITHMETIC, 0.98)],
        [
            f"`bench run {' '.join(_words(board, epochs))} --methods simclr --tasks {','.join(TASKS)}`",
            "arithmetic: training steps (views, both passes, optimiser), the method's `embed`, the tasks' `evaluate`",
        ],
        measure=partial(parts, board, epochs),
    )


def imports(board: str, epochs: int) -> Contest:
    """What a user waits for beside a run."""
    words = _words(board, epochs)
    ways = [Way("in a process that has run it before", partial(run, words))]
    ways.append(Way("in a process of its own", partial(run_apart, words)))
    notes = [
        "the difference is torch, its compiler, which torch imports for the first optimiser, scipy, faiss and caches"
    ]
    return Contest(f"The same run of {epochs} epoch, with imports and without", ways, notes=notes)


def growth(board: str, epochs: int, seeds: Sequence[int]) -> Contest:
    """The same run for more and more seeds."""
    ways = [
        Way(f"{n} seeds", partial(run, ["--board", board, "--epochs", str(epochs), "--seeds", _first(n)]))
        for n in seeds
    ]
    return Contest(f"Growth with seeds: runs of SimCLR on the board {board}, {epochs} epochs", ways, sizes=seeds)


def parts(board: str, epochs: int, rounds: int) -> list[Took]:
    """So many runs, each taken apart, after a warm-up of one epoch."""
    run(_words(board, 1))
    words = _words(board, epochs)
    took: dict[str, Took] = {}
    for _ in range(rounds):
        clock = Clock()
        with clocks(clock), clock.running(WHOLE):
            run(words)
        for seconds in (clock.cpu_s, clock.wall_s):
            seconds[ARITHMETIC] = sum(value for name, value in seconds.items() if name != WHOLE)
        for name in clock.cpu_s:
            one = took.setdefault(name, Took(name, 1.0))
            one.cpu_s.append(clock.cpu_s[name])
            one.wall_s.append(clock.wall_s[name])
    return [took[name] for name in sorted(took, key=lambda name: (name != WHOLE, name != ARITHMETIC, name))]


def run(words: Sequence[str]) -> None:
    """`bench run` of SimCLR into a store of its own, which goes."""
    provenance._commit.cache_clear()
    provenance._version.cache_clear()
    devices._processor.cache_clear()
    with tempfile.TemporaryDirectory() as store:
        done = CliRunner().invoke(bench, _command(words, store), catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)


def run_apart(words: Sequence[str]) -> None:
    """The same as a person types it."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "bench_core", *_command(words, store), "--quiet"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _words(board: str, epochs: int) -> list[str]:
    return ["--board", board, "--epochs", str(epochs), "--seeds", "0"]


def _command(words: Sequence[str], store: str) -> list[str]:
    return ["run", "--methods", "simclr", "--tasks", ",".join(TASKS), "--device", "cpu", "--store", store, *words]


@contextmanager
def clocks(clock: Clock) -> Iterator[None]:
    """A clock around all that is arithmetic."""
    registry = load_plugins()
    method = registry.get("objective", "simclr").cls
    marked = [(pretrain, "train_step", "training steps"), (method, "embed", "embedding")]
    marked += [(registry.get("evaluator", task).cls, "evaluate", f"task {task}") for task in TASKS]
    patches = [patch.object(owner, name, clock.around(what, getattr(owner, name))) for owner, name, what in marked]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _first(count: int) -> str:
    return ",".join(map(str, range(count)))


if __name__ == "__main__":
    main("overhead", contests, rounds=3)
