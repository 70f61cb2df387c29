"""Contests: ways to do the same work, run in turns in one process, and what each took.

    contest = Contest("Sinkhorn-Knopp, 50,000 x 128", [Way("ours", ours), Way("POT", pot)], [Goal("ours", "POT", 2.0)])
    main("sinkhorn", [contest])

Turns are interleaved, so that what else the machine does hits all ways alike; a ratio is taken within each round, and
its median is the result. It is one of CPU seconds, over all threads of the process: on a shared machine wall time is
noise.
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
PEERS = ("lightly", "kornia", "POT", "scikit-learn", "faiss-cpu", "numpy")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        name: As the table names it.
        run: Does it once; what it returns is dropped.
        share: Part of the work that `run` does, where all of it would take too long; what it took is divided by that.
        facts: What is known of it without a clock, each in a column of its own; all ways of a contest have the same.
    """

    name: str
    run: Callable[[], Any]
    share: float = 1.0
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """How many times the CPU seconds of `ours` the other way should take, at least."""

    ours: str
    theirs: str
    ratio: float


@dataclass(frozen=True)
class Budget:
    """What `way` may take at most, in CPU seconds, beyond what `beyond` takes."""

    way: str
    beyond: str
    seconds: float


@dataclass(frozen=True)
class Contest:
    """Ways to do one work, and what is expected of them.

    Attributes:
        work: What is done, as a title.
        ways: Run in turns.
        goals: Ratios of their CPU seconds.
        notes: What was checked, and what binds.
        sizes: Of each way's work, where ways are the same work growing; the exponent of its cost is then given.
        base: The way by whose CPU seconds those of all are divided, in a column; "" for no such column.
        budgets: Differences of CPU seconds.
        measure: Measures so many rounds where ways are parts of one run and cannot take turns.
    """

    work: str
    ways: Sequence[Way]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    sizes: Sequence[float] = ()
    base: str = ""
    budgets: Sequence[Budget] = ()
    measure: Callable[[int], "list[Took]"] | None = None


@dataclass
class Took:
    """What a way took, a value a round; memory beyond what the process held before, of the warm-up round."""

    name: str
    share: float
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    peak_mib: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def measure(ways: Sequence[Way], rounds: int) -> list[Took]:
    """One warm-up of each way, whose peak memory is read, then the rounds; each round begins with another way."""
    took = [Took(way.name, way.share, facts=way.facts) for way in ways]
    for way, one in zip(ways, took, strict=True):
        one.peak_mib = _peak_mib(way.run)
    for turn in range(rounds):
        for place in range(len(ways)):
            index = (turn + place) % len(ways)
            cpu, wall = _seconds(ways[index].run)
            took[index].cpu_s.append(cpu / ways[index].share)
            took[index].wall_s.append(wall / ways[index].share)
    return took


def ratios(took: Sequence[Took], goal: Goal) -> list[float]:
    """Theirs over ours, a value a round."""
    by_name = {one.name: one.cpu_s for one in took}
    return [theirs / ours for theirs, ours in zip(by_name[goal.theirs], by_name[goal.ours], strict=True)]


def excess(took: Sequence[Took], budget: Budget) -> list[float]:
    """CPU seconds of the way less those of what it is compared with, a value a round."""
    by_name = {one.name: one.cpu_s for one in took}
    return [whole - part for whole, part in zip(by_name[budget.way], by_name[budget.beyond], strict=True)]


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of log seconds over log size, by least squares: 1 is linear."""
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def main(script: str, contests: Callable[[], Sequence[Contest]], *, rounds: int = 7, threads: int = 1) -> None:
    """The command line of a script: run its contests, print them, and keep them with `--save`.

    Args:
        script: Name of the module.
        contests: Makes them, once threads are set.
        rounds: Unless `--rounds` says otherwise.
        threads: Unless `--threads` says otherwise.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{script}")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"of each contest (default {rounds})")
    parser.add_argument("--threads", type=int, default=threads, help=f"of every library (default {threads})")
    parser.add_argument("--save", action="store_true", help=f"write results/{script}.json, of which README.md is made")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    results = []
    with threadpool_limits(asked.threads):  # of NumPy, faiss and scikit-learn, where the script has imported them
        for contest in contests():
            took = (contest.measure or partial(measure, contest.ways))(asked.rounds)
            results.append(result(contest, took))
            print(as_text(results[-1]), flush=True)
    if asked.save:
        save(script, results)


def cpu_seconds() -> float:
    """Of this process, all its threads, and of those processes that it waited for."""
    return time.process_time() + _children_s()


def _children_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def result(contest: Contest, took: Sequence[Took]) -> dict[str, Any]:
    """What is kept of a contest."""
    goals = [asdict(goal) | {"ratios": ratios(took, goal)} for goal in contest.goals]
    budgets = [asdict(budget) | {"excess": excess(took, budget)} for budget in contest.budgets]
    rounds = zip(*(one.cpu_s for one in took), strict=True)
    return {
        "work": contest.work,
        "ways": [asdict(one) for one in took],
        "base": contest.base,
        "goals": goals,
        "budgets": budgets,
        "exponents": [exponent(contest.sizes, seconds) for seconds in rounds] if contest.sizes else [],
        "notes": list(contest.notes),
    }


def save(script: str, results: Sequence[dict[str, Any]]) -> None:
    """Write what a script measured, with its provenance."""
    RESULTS.mkdir(exist_ok=True)
    content = {
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "provenance": provenance(_CPU, shlex.join(["python", "-m", f"benchmarks.{script}", *sys.argv[1:]])),
        "packages": {name: version(name) for name in PEERS},
        "contests": results,
    }
    (RESULTS / f"{script}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def as_text(contest: dict[str, Any]) -> str:
    """A contest as Markdown: a table of ways, a line a goal, the exponent of work that grows, its notes."""
    ways, base = contest["ways"], contest.get("base", "")
    columns = [
        "way",
        "CPU s",
        "wall s",
        "peak MiB",
        *([f"CPU s / {base}'s"] if base else []),
        *ways[0].get("facts", ()),
    ]
    lines = [f"### {contest['work']}", "", f"| {' | '.join(columns)} |", f"|:--{'|--:' * (len(columns) - 1)}|"]
    for way in ways:
        name = way["name"] if way["share"] == 1 else f"{way['name']} (from {way['share']:.3g} of the work)"
        cells = [name, f"{median(way['cpu_s']):.4g}", f"{median(way['wall_s']):.4g}"]
        cells.append("" if way["peak_mib"] is None else f"{way['peak_mib']:.0f}")
        if base:
            usual = next(other["cpu_s"] for other in ways if other["name"] == base)
            cells.append(f"{median(a / b for a, b in zip(way['cpu_s'], usual, strict=True)):.3g}")
        lines.append(f"| {' | '.join([*cells, *way.get('facts', {}).values()])} |")
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


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of all threads and wall seconds; garbage of what ran before is not among them."""
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    run()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def _peak_mib(run: Callable[[], Any]) -> float | None:
    gc.collect()
    with suppress(OSError, AttributeError):  # other C libraries give back by themselves, or not at all
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    reset_peak_memory(_CPU)
    children, before = _children_s(), peak_memory_gib(_CPU)
    run()
    after = peak_memory_gib(_CPU)
    elsewhere = _children_s() > children  # the memory was another process's
    return None if elsewhere or before is None or after is None else 1024 * (after - before)
