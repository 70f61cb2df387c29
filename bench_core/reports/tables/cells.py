"""Cells of task columns: entries -> values by seed -> mean, interval, bold, text."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench_core.evaluation.intervals import t_halfwidth
from bench_core.reports.tables.entries import Entry, State
from bench_core.reports.tables.model import Column, TableCell
from bench_core.reports.tables.statistics import best_group
from bench_core.store.record import Record, RecordScore

_SHOWN: dict[State, str] = {"done": "", "skipped": "–", "failed": "failed", "stale": "stale", "missing": ""}  # noqa: RUF001  # an en dash is meant
_TROUBLE: tuple[State, ...] = ("failed", "stale", "skipped")  # the worst first

_Cause = tuple[State, str]  # state and reason


@dataclass(frozen=True)
class SeedValues:
    """Values of one row in one column, before they become a cell.

    Attributes:
        values: Seed -> value.
        state: "done" where there is any value.
        reason: What happened to seeds without one.
    """

    values: Mapping[int, float]
    state: State = "done"
    reason: str = ""


NO_VALUES = SeedValues({}, "missing")


def score_of(record: Record, column: Column) -> RecordScore | None:
    """Return the record's score with the metric, unit and direction of a column, or None."""
    score = record.scores.get(column.metric)
    if score is None or (score.unit, score.higher_is_better) != (column.unit, column.higher_is_better):
        return None
    return score


def seed_values(entries: Iterable[Entry], column: Column) -> SeedValues:
    """Collect the values of one row in one task's column, and the reasons for those that are missing."""
    values: dict[int, float] = {}
    trouble: dict[_Cause, list[int]] = {}
    for entry in entries:
        if entry.names["task"] != column.task:
            continue
        state, reason = entry.state, entry.reason or "no reason on record"
        if entry.finished_record:
            score = score_of(entry.finished_record, column)
            if score is None:
                state, reason = "skipped", f"does not report {column.metric}"
            elif score.value is None or not math.isfinite(score.value):
                state, reason = "failed", f"{column.metric} is not finite"
            else:
                values[entry.seed] = float(score.value)
        if state in _TROUBLE:
            trouble.setdefault((state, reason), []).append(entry.seed)
    without: dict[_Cause, list[int]] = {}
    for cause, seeds in trouble.items():
        if left := [seed for seed in sorted(set(seeds)) if seed not in values]:
            without[cause] = left
    if values or not without:
        return SeedValues(values, "done" if values else "missing", _explain(without))
    worst = min((state for state, _ in without), key=_TROUBLE.index)
    if len(without) > 1:
        return SeedValues({}, worst, _explain(without))
    [(_, only_reason)] = without
    return SeedValues({}, worst, only_reason)


def _explain(trouble: Mapping[_Cause, Sequence[int]]) -> str:
    """Say for which seeds there is no value, and why: "seeds 3, 4 failed: oom"."""
    return "; ".join(
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))} {state}: {reason}"
        for (state, reason), seeds in trouble.items()
    )


def fill(
    column: Column, values: Mapping[str, SeedValues], ranked: Sequence[str]
) -> tuple[Column, dict[str, TableCell]]:
    """Make the cells of a whole column.

    Args:
        column: Its number of seeds is filled in.
        values: Row -> values.
        ranked: The rows that may be best.

    Returns:
        The column, and row -> cell.
    """
    counts = Counter(len(row.values) for row in values.values() if row.values)
    seeds = max(counts, key=lambda n: (counts[n], n), default=0)
    digits = decimals(column.unit, all_values(values))
    bold = best_group({label: values[label].values for label in ranked}, bool(column.higher_is_better))
    cells = {}
    for label, row in values.items():
        cells[label] = replace(_cell(row, column.unit, digits, seeds), bold=label in bold)
    return replace(column, seeds=seeds), cells


def all_values(values: Mapping[str, SeedValues]) -> list[float]:
    """Return the values of all rows and seeds of a column."""
    return [value for row in values.values() for value in row.values.values()]


def _cell(row: SeedValues, unit: str, digits: int | None, seeds: int) -> TableCell:
    if not row.values:
        return TableCell(text=_SHOWN[row.state], state=row.state, reason=row.reason)
    values = [row.values[seed] for seed in sorted(row.values)]
    mean, half = fmean(values), t_halfwidth(values)
    text = show(mean, unit, digits)
    if half is not None:
        text += f" ± {show(half, unit, digits)}"
    if len(values) != seeds:
        text += f" (n = {len(values)})"
    return TableCell(text=text, mean=mean, halfwidth=half, n=len(values), reason=row.reason)


def decimals(unit: str, values: Iterable[float]) -> int | None:
    """Return the digits after the point for a column: one for per cent, else four figures of the largest value.

    None stands for scientific notation, where the largest is below 1e-4.
    """
    if unit == "fraction":
        return 1
    largest = max((abs(value) for value in values), default=0.0)
    if largest == 0:
        return 1
    return None if largest < 1e-4 else max(0, 3 - math.floor(math.log10(largest)))


def show(value: float, unit: str, digits: int | None) -> str:
    """Format a number for people; a fraction as per cent, without the sign."""
    shown = 100 * value if unit == "fraction" else value
    text = f"{shown:.3g}" if digits is None else f"{shown:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
