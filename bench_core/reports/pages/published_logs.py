"""Logs of trainings that are published beside a board's records: thinned, rounded, one small file for each chain.

leaderboards/<board>/logs/<chain key>.jsonl has a first line {"lines": 400, "columns": ["epoch", "loss", ...]}, which
says how many lines the whole log had, and below it a list of values for each line that is kept; missing values at the
end of a list are left out.

chain_log        the log of a chain in a store
published_log    the log of a chain in a board's folder
logs_to_publish  the files for the chains of some records
write_logs       writes them, and deletes those of trainings that are gone
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError, one_line
from bench_core.files import paths_in, write_bytes
from bench_core.keys import key_or_none
from bench_core.reports.pages.published_records import MergedRecords
from bench_core.store import Store
from bench_core.store.chain_files import is_finished, read_finished_log
from bench_core.store.record import Record
from bench_core.store.training_log import from_stored, storable

FOLDER = "logs"
MOST_LINES = 200
_DIGITS, _SPEED_DIGITS = 5, 3  # significant ones
_SPEED = ("images_per_s",)  # differs from run to run
_LEFT_OUT = ("step", "seconds", "peak_memory_gib")  # a record's cost has their sums
_LONGEST_TEXT = 500  # characters of a warning
_PATH = re.compile(r"(?<![\w./:])(?:[A-Za-z]:)?[\\/](?:[^\s\\/'\"]+[\\/])+([^\s\\/'\",;:)]*)")


@dataclass(frozen=True)
class ChainLog:
    """The log of a training, as far as it is kept.

    Attributes:
        lines: The lines that are kept, in their order.
        length: Lines of the whole log.
    """

    lines: Sequence[Mapping[str, Any]]
    length: int

    @property
    def epoch_lines(self) -> list[Mapping[str, Any]]:
        """The lines of epochs; the others say what came after the training."""
        return [line for line in self.lines if isinstance(line.get("epoch"), int)]


def chain_log(store: Store, chain: str) -> ChainLog | None:
    """Return the thinned log of a trained chain in a store; None where there is none, or nothing was trained.

    Raises:
        StoreError: Its file is damaged.
    """
    folder = store.chain_folder(chain)
    lines = read_finished_log(folder) if is_finished(folder) else []
    return ChainLog(thinned(lines), len(lines)) if lines else None


def published_log(board: Path, chain: str) -> ChainLog | None:
    """Return the log of a chain that a board's folder keeps; None where it keeps none.

    Raises:
        StoreError: Its file is damaged.
    """
    path = board / FOLDER / f"{chain}.jsonl"
    if not path.is_file():
        return None
    try:
        head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        columns, length = head["columns"], int(head["lines"])
        lines = [dict(zip(columns, from_stored(row), strict=False)) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(f"{path} is no published log: {one_line(str(error))}; delete it and publish again.") from None
    return ChainLog([{k: v for k, v in line.items() if v is not None} for line in lines], length)


def thinned(lines: Sequence[Mapping[str, Any]], most: int = MOST_LINES) -> list[Mapping[str, Any]]:
    """Return at most so many lines: the first, the last and those with warnings, then others at even distances."""
    if len(lines) <= most:
        return list(lines)
    ends = [0, len(lines) - 1]
    inner = range(1, len(lines) - 1)
    marked = [k for k in inner if lines[k].get("warnings") or "after_training" in lines[k]]
    kept = {*ends, *_evenly(marked, most - 2)}
    plain = [k for k in inner if k not in kept] if len(kept) < most else []
    return [lines[k] for k in sorted({*kept, *_evenly(plain, most - len(kept))})]


def logs_to_publish(store: Store, records: Iterable[Record]) -> dict[str, bytes]:
    """Return chain -> content of the file of its log, for the chains of these records whose log the store still has.

    Raises:
        StoreError: The file of a chain is damaged.
    """
    logs = {}
    for chain in sorted({_chain_of(record) for record in records}):
        if log := chain_log(store, chain):
            logs[chain] = _as_file(log)
    return logs


def write_logs(folder: Path, logs: Mapping[str, bytes], records: MergedRecords) -> None:
    """Write the logs of chains, and delete those of chains without a record, or of which another run has come.

    Args:
        folder: The folder of a board's logs; it is made with the first one.
        logs: From `logs_to_publish`.
        records: What becomes of the board's records.
    """
    kept = {_chain_of(record) for record in records.kept}
    renewed = {_chain_of(record) for record in records.renewed}
    for path in paths_in(folder, ".jsonl"):
        if path.stem not in kept or (path.stem in renewed and path.stem not in logs):
            path.unlink()
    for chain, content in logs.items():
        write_bytes(folder / f"{chain}.jsonl", content)


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    """Return so many of some numbers at even distances; all where there are no more."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[(2 * k + 1) * len(numbers) // (2 * count)] for k in range(count)]


def _chain_of(record: Record) -> str:
    """Return the key of a record's chain; "" where its document can have none."""
    return key_or_none(record.document.pretrain) or ""


def _as_file(log: ChainLog) -> bytes:
    """Return a log as a file; columns that most lines lack stand last, as their values are left out there."""
    names = dict.fromkeys(name for line in log.lines for name in line if name not in _LEFT_OUT)
    columns = sorted(names, key=lambda name: sum(name not in line for line in log.lines))
    rows = [[_rounded(line.get(name), name) for name in columns] for line in log.lines]
    for row in rows:
        while row and row[-1] is None:
            row.pop()
    parts = [{"lines": log.length, "columns": columns}, *storable(rows)]
    dumped = (json.dumps(part, ensure_ascii=False, separators=(",", ":"), allow_nan=False) for part in parts)
    return "".join(f"{line}\n" for line in dumped).encode()


def _rounded(value: Any, name: str = "") -> Any:
    """Return a value of a log with few digits, and its texts without the folders of this machine."""
    if isinstance(value, Mapping):
        return {inner: _rounded(item, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item, name) for item in value]
    if isinstance(value, float):
        short = float(f"{value:.{_SPEED_DIGITS if name in _SPEED else _DIGITS}g}")
        return int(short) if short.is_integer() else short
    if isinstance(value, str):
        return one_line(_PATH.sub(r"\1", value))[:_LONGEST_TEXT]
    return value
