"""Attempts that did not finish: why, the last lines of the log, the seconds; one file for each cell in the store."""

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch

from bench_core.errors import TrainingError
from bench_core.planning.chains import Cell, Chain
from bench_core.store.store import FORMAT, PREEMPTED, read_attempt

OUT_OF_MEMORY = "oom"  # kind of an attempt
FAILURES = (Exception, SystemExit)  # a plugin that calls exit() has failed; a stop signal raises neither of them
_LOG_TAIL = 120  # lines of an attempt's log
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)


@dataclass(frozen=True)
class UnfinishedCell:
    """A cell that did not finish.

    Attributes:
        names: Names of dataset, encoder, method and task.
        seed: Seed of the chain.
        kind: error, nan, oom, timeout or killed; or preempted, which is no failure: the same command resumes it.
        error: The reason in one line.
        log: File of the attempt, which holds the last lines of the log.
    """

    names: Mapping[str, str]
    seed: int
    kind: str
    error: str
    log: Path


def attempt(
    cell: Cell, kind: str, error: str, log: Sequence[str], seconds: float, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the JSON object of an attempt, for `Store.add_attempt`.

    Args:
        cell: The cell that did not finish.
        kind: See `UnfinishedCell`.
        error: The reason, for people.
        log: Lines of the log, of which the last are kept; of a Python error the traceback and the last lines of the
            training's log.
        seconds: How long the attempt ran; it ends now.
        provenance: Code, machine and command.
    """
    return {
        "format": FORMAT,
        "key": cell.key,
        "doc": cell.document,
        "names": dict(cell.names),
        "kind": kind,
        "error": _whole(" ".join(error.split())),
        "log_tail": list(map(_whole, log[-_LOG_TAIL:])),
        "started": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(),
        "seconds": round(seconds, 3),
        "provenance": provenance,
    }


def _whole(text: str) -> str:
    r"""Spell out half characters, which no file can hold; they stand for bytes of a file's name that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def attempt_of(
    error: BaseException, chain: Chain, cell: Cell, seconds: float, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the attempt that ended with an error; if memory ran out, its reason names the settings to lower."""
    reason, kind = f"{type(error).__name__}: {error}", "error"
    if isinstance(error, TrainingError):
        reason, kind = str(error), "nan"
    elif _is_out_of_memory(error):
        reason, kind = f"{memory_advice(chain, cell)} {error}", OUT_OF_MEMORY
    log = "".join(traceback.format_exception(error)).splitlines()
    return attempt(cell, kind, reason, log, seconds, provenance)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def memory_advice(chain: Chain, cell: Cell) -> str:
    """Name the settings that lower the use of memory, with their present values."""
    settings = [f"--batch-size below {chain.recipe.batch_size}"]
    if chain.precision == "fp32":
        settings.append("--precision bf16")
    show = f"see `bench show {cell.names['method']}`, `bench show {cell.task.name}`"
    settings.append(f"or --set NAME.PARAM=VALUE ({show})")
    return f"memory ran out; try {', '.join(settings)}: another experiment, so the same for all rows that compare."


def unfinished_cell(cell: Cell, log: Path) -> UnfinishedCell:
    """Read why a cell did not finish from the file of its attempt."""
    attempt = read_attempt(log)
    return UnfinishedCell(cell.names, cell.seed, attempt.get("kind") or "error", attempt.get("error") or "", log)


def describe(unfinished: Sequence[UnfinishedCell]) -> list[str]:
    """Return one line for each chain and reason: "digits/convnet/nac/knn,linear seed 0: nan: ... (log: ...)"."""
    groups: dict[tuple[str, int, str, str], list[UnfinishedCell]] = {}
    for cell in unfinished:
        chain = "/".join(cell.names[axis] for axis in ("dataset", "encoder", "method"))
        chain += f" fold {cell.names['fold']}" if "fold" in cell.names else ""
        groups.setdefault((chain, cell.seed, cell.kind, cell.error), []).append(cell)
    lines = []
    for (chain, seed, kind, error), cells in groups.items():
        tasks = ",".join(cell.names["task"] for cell in cells)
        lines.append(f"{chain}/{tasks} seed {seed}: {kind}: {error} (log: {cells[-1].log})")
    return lines


def failed_cells(unfinished: Sequence[UnfinishedCell]) -> list[UnfinishedCell]:
    """Return the cells that failed, without those that were only preempted."""
    return [cell for cell in unfinished if cell.kind != PREEMPTED]
