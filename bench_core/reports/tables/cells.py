"""Cells of tasks: entries -> values by seed -> mean, interval, bold, text."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from bench_core.evaluation.statistics import t_halfwidth
from bench_core.reports.tables.entries import Entry, State
from bench_core.reports.tables.model import Cell, Column
from bench_core.reports.tables.statistics import best_group

_SHOWN: dict[State, str] = {"done": "", "skipped": "–", "failed": "failed", "stale": "stale", "missing": ""}  # noqa: RUF001  # an en dash is meant
_TROUBLE: tuple[State, ...] = ("failed", "stale", "skipped")


@dataclass(frozen=True)
class Found:
    """What the entries of one cell say.

    Attributes:
        values: Seed -> value.
        state: "done" where there is any value.
        reason: What happened to seeds without one.
    """

    values: Mapping[int, float]
    state: State = "done"
    reason: str = ""


NOTHING = Found({}, "missing")


def score_of(record: Mapping[str, Any], column: Column) -> Mapping[str, Any] | None:
    """The record's first score of this column's metric, unit and direction."""
    for score in record["scores"]:
        if (score["metric"], score["unit"], score["higher_is_better"]) == (
            column.metric,
            column.unit,
            column.higher_is_better,
        ):
            return dict(score)
    return None


def find(entries: Iterable[Entry], column: Column) -> Found:
    """The values of one row in one task's column, and what stands in place of those that are not there."""
    values: dict[int, float] = {}
    trouble: dict[tuple[State, str], list[int]] = {}
    for entry in entries:
        if entry.names["task"] != column.task:
            continue
        state, reason = entry.state, entry.reason or "no reason on record"
        if state == "done" and entry.record is not None:
            score = score_of(entry.record, column)
            if score is None:
                state, reason = "skipped", f"does not report {column.metric}"
            elif score["value"] is None or not math.isfinite(score["value"]):
                state, reason = "failed", f"{column.metric} is not finite"
            else:
                values[entry.seed] = float(score["value"])
        if state in _TROUBLE:
            trouble.setdefault((state, reason), []).append(entry.seed)
    left = {cause: [s for s in sorted(set(seeds)) if s not in values] for cause, seeds in trouble.items()}
    left = {cause: seeds for cause, seeds in left.items() if seeds}
    if values or not left:
        return Found(values, "done" if values else "missing", _explain(left))
    worst = min((state for state, _ in left), key=_TROUBLE.index)
    return Found({}, worst, _explain(left) if len(left) > 1 else next(iter(left))[1])


def _explain(trouble: Mapping[tuple[State, str], Sequence[int]]) -> str:
    """What happened to which seeds: "seeds 3, 4 failed: oom"."""
    return "; ".join(
        f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))} {state}: {reason}"
        for (state, reason), seeds in trouble.items()
    )


def fill(column: Column, found: Mapping[str, Found], ranked: Sequence[str]) -> tuple[Column, dict[str, Cell]]:
    """A whole column of numbers.

    Args:
        column: Its number of seeds is filled in.
        found: Row -> values.
        ranked: The rows that may be best.

    Returns:
        The column, and row -> cell.
    """
    counts = Counter(len(f.values) for f in found.values() if f.values)
    seeds = max(counts, key=lambda n: (counts[n], n), default=0)
    digits = decimals(column.unit, [v for f in found.values() for v in f.values.values()])
    bold = best_group({label: found[label].values for label in ranked}, bool(column.higher_is_better))
    cells = {label: replace(_cell(f, column.unit, digits, seeds), bold=label in bold) for label, f in found.items()}
    return replace(column, seeds=seeds), cells


def _cell(found: Found, unit: str, digits: int | None, seeds: int) -> Cell:
    if not found.values:
        return Cell(text=_SHOWN[found.state], state=found.state, reason=found.reason)
    values = [found.values[seed] for seed in sorted(found.values)]
    mean, half = fmean(values), t_halfwidth(values)
    text = show(mean, unit, digits)
    if half is not None:
        text += f" ± {show(half, unit, digits)}"
    if len(values) != seeds:
        text += f" (n = {len(values)})"
    return Cell(text=text, mean=mean, halfwidth=half, n=len(values), reason=found.reason)


def decimals(unit: str, values: Iterable[float]) -> int | None:
    """Digits after the point for a whole column: one of a per cent, else four figures of the largest value.

    None stands for scientific notation, where the largest is below 1e-4.
    """
    if unit == "fraction":
        return 1
    largest = max((abs(value) for value in values), default=0.0)
    if largest == 0:
        return 1
    return None if largest < 1e-4 else max(0, 3 - math.floor(math.log10(largest)))


def show(value: float, unit: str, digits: int | None) -> str:
    """A number as people read it; a fraction as per cent."""
    shown = 100 * value if unit == "fraction" else value
    text = f"{shown:.3g}" if digits is None else f"{shown:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
