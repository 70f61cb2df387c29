"""What a failure leaves behind: why, what it said last, how long it ran; one file a cell in the store's attempts."""

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch

from bench_core.errors import TrainingError
from bench_core.files import read_json
from bench_core.planning.plan import Cell, Chain
from bench_core.store.store import FORMAT, PREEMPTED

FAILURES = (Exception, SystemExit)  # a plugin that calls exit() has failed; being told to stop is none of them
_TAIL = 60  # lines of an attempt's log
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """A cell that did not finish.

    Attributes:
        kind: error, nan, oom, timeout, killed; or preempted, which is no failure: the same command goes on.
        error: Why, one line.
        log: The file that says more.
    """

    names: Mapping[str, str]
    seed: int
    kind: str
    error: str
    log: Path


def attempt(
    cell: Cell, kind: str, error: str, log: Sequence[str], seconds: float, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """What `Store.add_attempt` keeps.

    Args:
        cell: The one that did not finish.
        kind: See `Failure`.
        error: Why, for people.
        log: What was said last; of a Python error its traceback and the last lines of the training's log.
        seconds: It ran, until now.
        provenance: Where.
    """
    return {
        "format": FORMAT,
        "key": cell.key,
        "doc": cell.document,
        "names": dict(cell.names),
        "kind": kind,
        "error": " ".join(error.split()),
        "log_tail": list(log[-_TAIL:]),
        "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(),
        "seconds": round(seconds, 3),
        "provenance": provenance,
    }


def attempt_of(
    error: BaseException, chain: Chain, cell: Cell, seconds: float, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The attempt that ended with this error; of memory that ran out it says what to lower."""
    reason, kind = f"{type(error).__name__}: {error}", "error"
    if isinstance(error, TrainingError):
        reason, kind = str(error), "nan"
    elif isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    ):
        reason, kind = f"{to_lower(chain, cell)} {error}", "oom"
    log = "".join(traceback.format_exception(error)).splitlines()
    return attempt(cell, kind, reason, log, seconds, provenance)


def to_lower(chain: Chain, cell: Cell) -> str:
    """Memory ran out: what takes less of it, with what it is now."""
    ways = [f"--batch-size below {chain.recipe.batch_size}"]
    if chain.precision == "fp32":
        ways.append("--precision bf16")
    ways.append(f"or --set NAME.PARAM=VALUE (see `bench show {cell.names['method']}`, `bench show {cell.task.name}`)")
    return f"memory ran out; try {', '.join(ways)}: another experiment, so the same for all rows that compare."


def failure(cell: Cell, log: Path) -> Failure:
    """What the file of an attempt says."""
    said = read_json(log)
    return Failure(cell.names, cell.seed, said["kind"], said["error"], log)


def describe(failures: Sequence[Failure]) -> list[str]:
    """One line a reason: a chain whose cells all failed by one is one line; with the file that says more."""
    together: dict[tuple[str, ...], list[Failure]] = {}
    for one in failures:
        where = "/".join(one.names[k] for k in ("dataset", "encoder", "method"))
        together.setdefault((where, str(one.seed), one.kind, one.error), []).append(one)
    return [
        f"{where}/{','.join(one.names['task'] for one in own)} seed {seed}: {kind}: {error} (log: {own[-1].log})"
        for (where, seed, kind, error), own in together.items()
    ]


def unfinished(failures: Sequence[Failure]) -> list[Failure]:
    """Those that failed, without those that were only preempted."""
    return [one for one in failures if one.kind != PREEMPTED]
