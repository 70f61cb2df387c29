"""The logs of trainings as pages of cells show them: data for the curves, and a summary as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.reports.log_lines import log_lines
from bench_core.reports.pages.published_logs import ChainLog
from bench_core.store.log_numbers import log_numbers

_NO_COLUMN = ("epoch", "step", "seconds", "peak_memory_gib", "kept_epoch")
_DIGITS = 5  # significant ones


@dataclass(frozen=True)
class LogSummary:
    """The words of a page on a log, without a script.

    Attributes:
        name: Name of its data.
        address: Address of its data.
        length: Lines of the whole log.
        kept: Lines that are kept.
        ends: The first line, the last one, and what came after the training, as text.
        warnings: Epochs and text of each warning.
    """

    name: str
    address: str
    length: int
    kept: int
    ends: list[str]
    warnings: list[tuple[str, str]]


def summary_of(log: ChainLog, name: str, address: str) -> LogSummary:
    """Return the summary of a log.

    Args:
        log: The log; it has a line of an epoch.
        name: Name of its data.
        address: Address of its data.
    """
    epochs, after = log.epoch_lines, [line for line in log.lines if "after_training" in line]
    ends = [next(log_lines(line)) for line in [epochs[0], *epochs[1:][-1:], *after]]
    warnings: dict[str, list[int]] = {}
    for line in epochs:
        of_line = line.get("warnings") or []
        for warning in of_line if isinstance(of_line, list) else [of_line]:
            warnings.setdefault(str(warning), []).append(line["epoch"])
    said = [(_epochs(of_warning), text) for text, of_warning in warnings.items()]
    return LogSummary(name, address, log.length, len(log.lines), ends, said)


def log_data(log: ChainLog) -> dict[str, Any]:
    """Return a log as a table: the numbers of each epoch that is kept, the loss first."""
    lines = [(line["epoch"], dict(log_numbers(line))) for line in log.epoch_lines]
    names = dict.fromkeys(name for _, numbers in lines for name in numbers if name not in _NO_COLUMN)
    columns = sorted(names, key=lambda name: name != "loss")
    rows = [[epoch, *(_rounded(numbers.get(name)) for name in columns)] for epoch, numbers in lines]
    return {"columns": ["epoch", *columns], "rows": rows}


def _epochs(epochs: Sequence[int]) -> str:
    """Return which epochs had a warning: "epoch 3", or "5 of the lines kept, epochs 3 to 40"."""
    if len(epochs) == 1:
        return f"epoch {epochs[0]}"
    return f"{len(epochs)} of the lines kept, epochs {epochs[0]} to {epochs[-1]}"


def _rounded(value: float | None) -> float | int | None:
    if value is None or isinstance(value, int):
        return value
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short
