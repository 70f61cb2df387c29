"""A process for each chain: what crashes, leaks, hangs or leaves ends one chain only."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bench_core.attempts import Failure, attempt, failure
from bench_core.engines.watch import Ended, watch
from bench_core.errors import RequestError
from bench_core.plan import Plan
from bench_core.progress import Progress, Silent
from bench_core.provenance import provenance
from bench_core.stopping import CALL_AGAIN, SIGNALS, Stop
from bench_core.store import PREEMPTED, Store
from bench_core.todo import missing, to_run

_TOLD = (CALL_AGAIN, 130, *(-number for number in SIGNALS))  # as `bench run` leaves when it is told to stop
_SAYS_WHY = (1, 2)  # as it leaves after an error of its own


@dataclass(frozen=True)
class Apart:
    """How chains run apart.

    Attributes:
        command: To run one chain it is followed by `--only-chain KEY`.
        device: For the records; this process leaves it alone, so that its memory is all the chain's.
        limit: Seconds that a chain may take in one go, its process's start included; None is any.
        stop: Whether this process was told to stop.
    """

    command: Sequence[str]
    device: str
    limit: float | None
    stop: Stop


def run_apart(plan: Plan, store: Store, how: Apart, progress: Progress | None = None) -> list[Failure]:
    """Run what is missing, each chain in a process of its own.

    Returns:
        The cells that did not finish, as the store's attempts say; those of kind "preempted" have not failed.

    Raises:
        RequestError: The first process says that the request is wrong; nothing was run.
        Stopped: This process was told to stop; the chain under way was told so, too.
    """
    progress = progress or Silent()
    todo = to_run(plan, store)
    if todo:
        store.create()
    failures: list[Failure] = []
    for number, (chain, cells) in enumerate(todo, 1):
        progress.chain(number, len(todo), chain.label)
        before = {cell.key: store.last_attempt(cell.key) for cell in cells}
        ended = watch([*how.command, "--only-chain", chain.key], how.stop, progress.say, how.limit)
        kind, error = reason(ended, how.limit)
        if number == 1 and ended.code == 2 and not ended.late:
            raise RequestError(error)
        left = [(cell, store.last_attempt(cell.key)) for cell in missing(chain, store)]
        silent = [cell for cell, log in left if log is None or log == before[cell.key]]  # it could not say why itself
        here = {**provenance(torch.device("cpu")), "device": how.device} if silent else {}
        for cell in silent:
            store.add_attempt(attempt(cell, kind, error, ended.said, ended.seconds, here))
        if silent:
            progress.say(f"  {kind}: {error}")
        failures += [failure(cell, log) for cell, _ in left if (log := store.last_attempt(cell.key))]
    return failures


def reason(ended: Ended, limit: float | None) -> tuple[str, str]:
    """Kind and words of what a process left unsaid."""
    if ended.late:
        return "timeout", f"not done within {limit:g} s; run again to go on from its last checkpoint"
    if ended.code in _TOLD:
        return PREEMPTED, "its process was told to stop; run again to go on from its last checkpoint"
    last = next((line for line in reversed(ended.said) if line.strip()), "it said nothing")
    if ended.code in _SAYS_WHY:
        return "error", last.removeprefix("Error: ")
    if ended.code == -signal.SIGKILL:
        return "killed", "its process was killed by SIGKILL; if nobody did that, the machine's memory ran out"
    if ended.code < 0:
        return "killed", f"its process was killed by {signal.Signals(-ended.code).name}"
    return "killed", f"its process left with exit code {ended.code} and did not say why"
