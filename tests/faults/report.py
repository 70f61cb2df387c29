"""Write the outcomes of a campaign as Markdown tables."""

import os
import platform
import signal
from collections import Counter
from collections.abc import Iterator, Mapping

import torch

from bench_core.running.provenance import provenance
from tests.faults.io_tally import COLUMNS, Tally
from tests.faults.outcomes import NOT_SURVIVED, RECOVERED, REFUSED
from tests.faults.stopped_runs import SIGNALS

Outcomes = Mapping[str, Counter[str]]


def split_by_kind(outcomes: Outcomes) -> dict[str, Outcomes]:
    """Return the outcomes of stopped runs and of all other faults, by the marker of their part of the page."""
    stopped = {fault: counts for fault, counts in outcomes.items() if fault.startswith("SIG")}
    return {"stopped": stopped, "others": {fault: c for fault, c in outcomes.items() if fault not in stopped}}


def stopped_runs_table(outcomes: Outcomes) -> Iterator[str]:
    """Yield the lines of the table of stopped runs: a row for each phase, a column for each signal."""
    names = [signal.Signals(number).name for number in dict.fromkeys(SIGNALS)]
    yield f"Runs that were stopped: {sum(map(Counter.total, outcomes.values()))}.\n"
    yield f"| phase | {' | '.join(names)} | survived |"
    yield f"|:--|{'--:|' * (len(names) + 1)}"
    for phase in sorted({fault.partition(": ")[2] for fault in outcomes}):
        counts = [outcomes.get(f"{name}: {phase}", Counter()) for name in names]
        total = sum(map(Counter.total, counts))
        lost = sum(count[NOT_SURVIVED] for count in counts)
        yield f"| {phase} | {' | '.join(str(c.total()) for c in counts)} | {total - lost} of {total} |"


def other_faults_table(outcomes: Outcomes) -> Iterator[str]:
    """Yield the lines of the table of all other faults: a row for each."""
    yield f"Other faults: {sum(map(Counter.total, outcomes.values()))}.\n"
    yield f"| fault | tries | {RECOVERED} | {REFUSED} | survived |"
    yield "|:--|--:|--:|--:|--:|"
    for fault, counts in outcomes.items():
        tries = counts.total()
        yield (
            f"| {fault} | {tries} | {counts[RECOVERED]} | {counts[REFUSED]} | {tries - counts[NOT_SURVIVED]} of "
            f"{tries} |"
        )


def io_faults_table(tallies: Mapping[str, Tally]) -> Iterator[str]:
    """Yield the lines of the table of operations on files that failed: a row for each command."""
    yield f"Operations on files that failed: {sum(tally.injected.total() for tally in tallies.values())}.\n"
    yield f"| command | operations | {' | '.join(COLUMNS)} | ended with an error | survived |"
    yield f"|:--|{'--:|' * (len(COLUMNS) + 3)}"
    for command, tally in tallies.items():
        tries = tally.injected.total()
        injected = " | ".join(str(tally.injected[column]) for column in COLUMNS)
        survived = f"{tries - tally.lost} of {tries}"
        yield f"| {command} | {tally.operations} | {injected} | {tally.refused} | {survived} |"
    errors = sum((tally.errors for tally in tallies.values()), Counter[str]())
    yield f"\nErrors: {', '.join(f'{count} {error}' for error, count in sorted(errors.items()))}."


def circumstances(command: str, seconds: float) -> str:
    """Return a line with the command, its duration, the machine and the versions."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"\n`{command}`, {seconds / 60:.0f} minutes on {cores} cores of {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"bench {provenance(torch.device('cpu'), None)['bench']}."
    )
