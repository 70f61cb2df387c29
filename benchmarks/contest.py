"""Contests: contenders do the same work in turns in one process, and their times are compared.

    contenders = [Contender("ours", ours), Contender("POT", pot)]
    main("sinkhorn", lambda: [Contest("Sinkhorn-Knopp, 50,000 x 128", contenders, [Goal("ours", "POT", 2.0)])])

Turns are interleaved, so that other work of the machine slows all contenders alike. A ratio is taken within each
round, and the median over rounds is the result. Ratios are of CPU seconds over all threads of the process: on a
shared machine wall time is noise.
"""

import argparse
import ctypes
import gc
import json
import math
import resource
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from bench_core.devices import peak_memory_gib, reset_peak_memory
from bench_core.running.provenance import provenance

RESULTS = Path(__file__).with_name("results")
PEERS = ("lightly", "kornia", "POT", "scikit-learn", "faiss-cpu", "numpy", "webdataset")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a contest.

    Attributes:
        name: Name in the table.
        run: Does the work once; its result is dropped.
        share: Part of the work that `run` does, where all of it would take too long; its times are divided by this.
        facts: Facts known without a clock, each in a column of its own; all contenders of a contest have the same.
    """

    name: str
    run: Callable[[], Any]
    share: float = 1.0
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """Least ratio of CPU seconds that is aimed at: those of `theirs` over those of `ours`."""

    ours: str
    theirs: str
    ratio: float


@dataclass(frozen=True)
class Budget:
    """CPU seconds that the contender `way` may take at most beyond those of the contender `beyond`."""

    way: str
    beyond: str
    seconds: float


@dataclass(frozen=True)
class Contest:
    """Contenders that do one work, and what is expected of them.

    Attributes:
        work: The work, as a title.
        contenders: They run in turns.
        goals: Ratios of CPU seconds that are aimed at.
        notes: Lines under the table: what was checked, and what limits the speed.
        sizes: Size of each contender's work, where contenders are one work of growing size. The page then gives the
            exponent of its cost.
        base: Name of the contender by whose CPU seconds all are divided in a further column; "" for no such column.
        budgets: Differences of CPU seconds that are allowed.
        measure: Function of the number of rounds that measures contenders which are parts of one run and cannot take
            turns; None measures them in turns.
    """

    work: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    sizes: Sequence[float] = ()
    base: str = ""
    budgets: Sequence[Budget] = ()
    measure: Callable[[int], "list[Timing]"] | None = None


@dataclass
class Timing:
    """Times of one contender, one value for each round, and its peak memory.

    Attributes:
        name: The contender's name.
        share: Its share of the work; times are already divided by it.
        cpu_s: CPU seconds over all threads.
        wall_s: Wall seconds.
        peak_mib: Peak memory of the warm-up beyond what the process held before, in MiB; None where it is unknown.
        facts: The contender's facts.
    """

    name: str
    share: float
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    peak_mib: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def measure(contenders: Sequence[Contender], rounds: int) -> list[Timing]:
    """Run each contender once to warm up and read its peak memory, then in rounds that begin with another one each."""
    timings = [Timing(contender.name, contender.share, facts=contender.facts) for contender in contenders]
    for contender, timing in zip(contenders, timings, strict=True):
        timing.peak_mib = _peak_mib(contender.run)
    for first in range(rounds):
        for turn in range(len(contenders)):
            index = (first + turn) % len(contenders)
            cpu, wall = seconds(contenders[index].run)
            timings[index].cpu_s.append(cpu / contenders[index].share)
            timings[index].wall_s.append(wall / contenders[index].share)
    return timings


def ratios(timings: Sequence[Timing], goal: Goal) -> list[float]:
    """Return CPU seconds of theirs over ours, one value for each round."""
    by_name = {timing.name: timing.cpu_s for timing in timings}
    return [theirs / ours for theirs, ours in zip(by_name[goal.theirs], by_name[goal.ours], strict=True)]


def excess(timings: Sequence[Timing], budget: Budget) -> list[float]:
    """Return the CPU seconds of a budget's contender beyond those of the other one, one value for each round."""
    by_name = {timing.name: timing.cpu_s for timing in timings}
    return [whole - part for whole, part in zip(by_name[budget.way], by_name[budget.beyond], strict=True)]


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds over log size by least squares: 1 is linear."""
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def main(script: str, contests: Callable[[], Sequence[Contest]], *, rounds: int = 7, threads: int = 1) -> None:
    """Run a script's command line: measure its contests, print them, and write them with `--save`.

    Args:
        script: Name of the module.
        contests: Makes the contests, once the number of threads is set.
        rounds: Default of `--rounds`.
        threads: Default of `--threads`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{script}")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds of each contest (default {rounds})")
    parser.add_argument("--threads", type=int, default=threads, help=f"threads of every library (default {threads})")
    parser.add_argument("--save", action="store_true", help=f"write results/{script}.json; README.md is made from it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = []
    with threadpool_limits(options.threads):  # of NumPy, faiss and scikit-learn, where the script has imported them
        for contest in contests():
            timings = (contest.measure or partial(measure, contest.contenders))(options.rounds)
            results.append(result(contest, timings))
            print(as_text(results[-1]), flush=True)
    if options.save:
        save(script, results)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, over all threads, and of the processes that it has waited for."""
    return time.process_time() + _children_cpu_s()


def _children_cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def result(contest: Contest, timings: Sequence[Timing]) -> dict[str, Any]:
    """Return the results of a contest as plain values for JSON."""
    goals = [asdict(goal) | {"ratios": ratios(timings, goal)} for goal in contest.goals]
    budgets = [asdict(budget) | {"excess": excess(timings, budget)} for budget in contest.budgets]
    rounds = zip(*(timing.cpu_s for timing in timings), strict=True)
    return {
        "work": contest.work,
        "ways": [asdict(timing) for timing in timings],
        "base": contest.base,
        "goals": goals,
        "budgets": budgets,
        "exponents": [exponent(contest.sizes, seconds) for seconds in rounds] if contest.sizes else [],
        "notes": list(contest.notes),
    }


def save(script: str, results: Sequence[dict[str, Any]]) -> None:
    """Write the results of a script with their provenance to its file."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "provenance": provenance(_CPU, shlex.join(["python", "-m", f"benchmarks.{script}", *sys.argv[1:]])),
        "packages": {name: version(name) for name in PEERS},
        "contests": results,
    }
    (RESULTS / f"{script}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def as_text(contest: dict[str, Any]) -> str:
    """Return a contest as Markdown: its table, a line for each goal and budget, the exponent of its cost, its notes."""
    contenders, base = contest["ways"], contest.get("base", "")
    columns = [
        "contender",
        "CPU s",
        "wall s",
        "peak MiB",
        *([f"CPU s / {base}'s"] if base else []),
        *contenders[0].get("facts", ()),
    ]
    lines = [f"### {contest['work']}", "", f"| {' | '.join(columns)} |", f"|:--{'|--:' * (len(columns) - 1)}|"]
    for contender in contenders:
        name, share = contender["name"], contender["share"]
        cells = [name if share == 1 else f"{name} (from {share:.3g} of the work)"]
        cells += [f"{median(contender['cpu_s']):.4g}", f"{median(contender['wall_s']):.4g}"]
        cells.append("" if contender["peak_mib"] is None else f"{contender['peak_mib']:.0f}")
        if base:
            base_seconds = next(one["cpu_s"] for one in contenders if one["name"] == base)
            cells.append(f"{median(a / b for a, b in zip(contender['cpu_s'], base_seconds, strict=True)):.3g}")
        lines.append(f"| {' | '.join([*cells, *contender.get('facts', {}).values()])} |")
    lines.append("")
    for goal in contest["goals"]:
        values = goal["ratios"]
        reached = "reached" if median(values) >= goal["ratio"] else "NOT reached"
        lines.append(
            f"- {goal['theirs']} / {goal['ours']}: **{median(values):.3g}x** ({min(values):.3g} to {max(values):.3g} "
            f"in {len(values)} rounds); goal {goal['ratio']:g}x: {reached}"
        )
    for budget in contest.get("budgets", []):
        values = budget["excess"]
        kept = "kept" if median(values) <= budget["seconds"] else "NOT kept"
        lines.append(
            f"- {budget['way']} beyond {budget['beyond']}: **{median(values):.3g} s** ({min(values):.3g} to "
            f"{max(values):.3g} in {len(values)} rounds); budget {budget['seconds']:g} s: {kept}"
        )
    if powers := contest.get("exponents"):
        lines.append(
            f"- CPU seconds grow as size to the power **{median(powers):.2f}** ({min(powers):.2f} to {max(powers):.2f} "
            f"in {len(powers)} rounds)"
        )
    lines += [f"- {note}" for note in contest["notes"]]
    return "\n".join([*lines, ""])


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Return the CPU seconds of all threads and the wall seconds of a call, after collecting earlier garbage."""
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    run()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def _peak_mib(run: Callable[[], Any]) -> float | None:
    """Return the peak memory of a call in MiB beyond what the process held before; None where it is unknown."""
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries return memory on their own, or never
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    reset_peak_memory(_CPU)
    children, before = _children_cpu_s(), peak_memory_gib(_CPU)
    run()
    after = peak_memory_gib(_CPU)
    in_children = _children_cpu_s() > children  # the memory was another process's
    return None if in_children or before is None or after is None else 1024 * (after - before)
