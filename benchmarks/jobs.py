"""Measure the main job of the README one by one and side by side: `python -m benchmarks.jobs --rounds 3 [--save]`.

All are whole commands in processes of their own, as a person types them, without a warm-up: a round takes minutes. The
machine must be free, or wall seconds mean nothing.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from benchmarks.contest import Budget, Contender, Contest, Goal, Timing, main, seconds

MAIN_JOB = ("--methods", "nac,sela", "--tasks", "linear,retrieval,hashing")
NOTHING, ONE, AUTO, LONGEST = "python alone", "--jobs 1", "--jobs auto", "nac alone, the longest chain"


def contests(job: Sequence[str] = MAIN_JOB, longest: str = "nac") -> list[Contest]:
    """Return two contests over the same runs: one of CPU seconds, one of wall seconds.

    Args:
        job: Options of `bench run` that choose what is run.
        longest: The method whose chain takes longest.
    """
    alone = [*job[:1], longest, *job[2:]]
    contenders = [
        Contender(NOTHING, partial(_run, [sys.executable, "-c", "pass"])),
        Contender(ONE, partial(bench, [*job, "--jobs", "1"])),
        Contender(AUTO, partial(bench, [*job, "--jobs", "auto"])),
        Contender(LONGEST, partial(bench, [*alone, "--jobs", "1"])),
    ]
    measured = cache(partial(without_warm_up, contenders))
    typed = f"`bench run {' '.join(job)}`, on the CPU"
    return [
        Contest(
            "The main job, whole commands",
            contenders,
            budgets=[Budget(ONE, NOTHING, 130.0), Budget(AUTO, NOTHING, 145.0)],
            notes=[typed, "each chain has the threads that its step can use: here one"],
            measure=measured,
        ),
        Contest(
            "The same in wall seconds, which stand in both columns",
            contenders,
            goals=[Goal(AUTO, LONGEST, 1 / 1.2)],
            notes=["the goal: at most 1.2 times the longest chain with its start, on two free cores"],
            measure=partial(in_wall_seconds, measured),
        ),
    ]


def bench(options: Sequence[str]) -> None:
    """Run `bench run` on the CPU into a store that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as store:
        _run([sys.executable, "-m", "bench_core", "run", *options, "--device", "cpu", "--store", store, "--quiet"])


def without_warm_up(contenders: Sequence[Contender], rounds: int) -> list[Timing]:
    """Run contenders in turns; each run is a process of its own, for which another one before it warms up nothing."""
    timings = [Timing(contender.name, contender.share) for contender in contenders]
    for _ in range(rounds):
        for contender, timing in zip(contenders, timings, strict=True):
            cpu, wall = seconds(contender.run)
            timing.cpu_s.append(cpu)
            timing.wall_s.append(wall)
    return timings


def in_wall_seconds(measured: Callable[[int], list[Timing]], rounds: int) -> list[Timing]:
    """Return timings with their wall seconds in the place of CPU seconds, so that goals are ratios of these."""
    return [replace(timing, cpu_s=timing.wall_s) for timing in measured(rounds)]


def _run(command: Sequence[str]) -> None:
    """Run a command with the threads that it chooses itself."""
    environment: Mapping[str, str] = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main("jobs", contests, rounds=3)
