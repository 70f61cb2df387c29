"""Cells of task columns: entries -> values by seed -> mean, interval, bold, text."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean
from typing import Any

from bench_core.evaluation.intervals import item_interval, t_halfwidth
from bench_core.reports.tables.entries import Entry, State
from bench_core.reports.tables.model import Column, TableCell
from bench_core.reports.tables.statistics import FEWEST_SEEDS, best_group
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
        scores: Seed -> the score that has the value; empty in a column that is computed from others.
        records: Seed -> the record that has the value, from which results of the test items are read where needed.
        stale: Seed -> value of an old record, for seeds without a value.
    """

    values: Mapping[int, float]
    state: State = "done"
    reason: str = ""
    scores: Mapping[int, RecordScore] = field(default_factory=dict)
    records: Mapping[int, Record] = field(default_factory=dict)
    stale: Mapping[int, float] = field(default_factory=dict)

    @property
    def caveat(self) -> str:
        """The caveats of the values: what a reader must know."""
        scores = self.scores.values()
        unranked = [] if all(score.ranks for score in scores) else ["not ranked"]
        return "; ".join(filter(None, dict.fromkeys([*(score.caveat for score in scores), *unranked])))


NO_VALUES = SeedValues({}, "missing")


@dataclass(frozen=True)
class ColumnValues:
    """Values of all rows in one column, and who is ranked in it.

    Attributes:
        column: The column.
        rows: Row -> values.
        candidates: The rows that may be ranked: `may_rank`.
        seeds: The seeds that a row needs here, and that count.
        networks: The rows that are one network each, which need no further seeds.
        digits: Digits after the point; None for as many as the column needs.
    """

    column: Column
    rows: Mapping[str, SeedValues]
    candidates: Sequence[str]
    seeds: Sequence[int]
    networks: Container[str] = ()
    digits: int | None = None

    @cached_property
    def complete(self) -> list[str]:
        """The rows that have every seed of the column, measured as the other rows' are."""
        if not self.seeds:
            return []
        complete = []
        for label, row in self.rows.items():
            alike = all(score.ranks for score in row.scores.values())
            if alike and all(seed in row.values for seed in self.seeds):
                complete.append(label)
        return complete

    @cached_property
    def shown_digits(self) -> int | None:
        """Digits after the point of all cells; None for scientific notation."""
        return decimals(self.column.unit, shown_values(self.rows.values())) if self.digits is None else self.digits

    @cached_property
    def ranked(self) -> list[str]:
        """The rows that are ranked here; none where the task measures no quality, or no value is better."""
        return [label for label in self.complete if label in self.candidates and self.column.can_rank]

    def counted(self, label: str) -> dict[int, float]:
        """Return a row's values at the seeds of the column; all its values if it has none of them."""
        values = self.rows[label].values
        return {seed: values[seed] for seed in self.seeds if seed in values} or dict(sorted(values.items()))

    def mean(self, label: str) -> float:
        """Return the mean of a row that has values, over the seeds that count."""
        return fmean(self.counted(label).values())


def column_values(column: Column, rows: Mapping[str, Sequence[Entry]], candidates: Sequence[str]) -> ColumnValues:
    """Collect the values of all rows in one task's column, and the seeds that count.

    Args:
        column: The column.
        rows: Row -> its entries; those of other tasks are left out.
        candidates: The rows that may be ranked.

    Returns:
        Its seeds are those that the board or the request asks for. Without one they are the set of seeds that most
        rows have, the larger one of two.
    """
    by_row = {label: seed_values(entries, column) for label, entries in rows.items()}
    asked = set()
    for entries in rows.values():
        asked |= {entry.seed for entry in entries if entry.planned and entry.names["task"] == column.task}
    networks = {label for label, entries in rows.items() if any(entry.is_one_network for entry in entries)}
    sets = Counter(tuple(sorted(row.values)) for label, row in by_row.items() if row.values and label not in networks)
    sets = sets or Counter(tuple(sorted(row.values)) for row in by_row.values() if row.values)
    most = min(sets, key=lambda seeds: (-sets[seeds], -len(seeds), seeds), default=())
    return ColumnValues(column, by_row, candidates, sorted(asked) if asked else most, networks)


def score_of(record: Record, column: Column) -> RecordScore | None:
    """Return the record's score with the metric, unit and direction of a column, or None."""
    score = record.scores.get(column.metric)
    if score is None or (score.unit, score.higher_is_better) != (column.unit, column.higher_is_better):
        return None
    return score


def seed_values(entries: Iterable[Entry], column: Column) -> SeedValues:
    """Collect the values of one row in one task's column, and the reasons for those that are missing."""
    scores: dict[int, RecordScore] = {}
    records: dict[int, Record] = {}
    stale: dict[int, float] = {}
    trouble: dict[_Cause, list[int]] = {}
    for entry in entries:
        if entry.names["task"] != column.task:
            continue
        state, reason = entry.state, entry.reason or "no reason on record"
        score = score_of(entry.record, column) if entry.record else None
        value = None if score is None or score.value is None or not math.isfinite(score.value) else float(score.value)
        if state == "stale" and value is not None:
            stale[entry.seed] = value
        if state == "done" and entry.record:
            if score is None:
                state, reason = "skipped", f"does not report {column.metric}"
            elif value is None:
                state, reason = "failed", f"{column.metric} is not finite"
            else:
                scores[entry.seed], records[entry.seed] = score, entry.record
        if state in _TROUBLE:
            trouble.setdefault((state, reason), []).append(entry.seed)
    without: dict[_Cause, list[int]] = {}
    for cause, seeds in trouble.items():
        if left := [seed for seed in sorted(set(seeds)) if seed not in scores]:
            without[cause] = left
    values = {seed: float(score.value or 0.0) for seed, score in scores.items()}
    if values or not without:
        return SeedValues(values, "done" if values else "missing", _explain(without), scores, records)
    state = "stale" if stale else min((state for state, _ in without), key=_TROUBLE.index)
    reason = _explain(without) if len(without) > 1 else next(iter(without))[1]
    return SeedValues({}, state, reason, stale=stale)


def _explain(trouble: Mapping[_Cause, Sequence[int]]) -> str:
    """Say for which seeds there is no value, and why: "seeds 3, 4 failed: oom"."""
    return "; ".join(f"{_seeds(seeds)} {state}: {reason}" for (state, reason), seeds in trouble.items())


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def fill(values: ColumnValues) -> tuple[Column, dict[str, TableCell]]:
    """Make the cells of a whole column: the column with its number of seeds, and row -> cell."""
    column, ranked = values.column, values.ranked
    digits = values.shown_digits
    by_seed = {label: values.counted(label) for label in ranked}
    bold = best_group(by_seed, bool(column.higher_is_better))
    cells = {}
    for label in values.rows:
        cells[label] = replace(_cell(values, label, digits), ranked=label in ranked, bold=label in bold)
    seeds = len(values.seeds) if any(row.values for row in values.rows.values()) else 0
    return replace(column, seeds=seeds), cells


def shown_values(rows: Iterable[SeedValues]) -> list[float]:
    """Return the values of all rows and seeds of a column; stale ones count where a row has no other."""
    return [value for row in rows for value in (row.values or row.stale).values()]


def _cell(values: ColumnValues, label: str, digits: int | None) -> TableCell:
    row, unit, needed = values.rows[label], values.column.unit, values.seeds
    if row.stale:
        text = f"{show(fmean(row.stale.values()), unit, digits)} (stale)"
        return TableCell(text=text, state=row.state, reason=row.reason)
    if not row.values:
        return TableCell(text=_SHOWN[row.state], state=row.state, reason=row.reason)
    counted = values.counted(label)
    cell = TableCell(mean=values.mean(label), n=len(counted), caveat=row.caveat, reason=row.reason)
    text = show(values.mean(label), unit, digits)
    if len(counted) >= FEWEST_SEEDS and (half := t_halfwidth(list(counted.values()))) is not None:
        text += f" ± {show(half, unit, digits)}"
        cell = replace(cell, halfwidth=half)
    elif len(counted) == 1 and (items := _items(values, label, *counted)):
        from bench_core.store.per_item import unpack_items

        low, high = item_interval(unpack_items(items))
        text += f" [{show(low, unit, digits)}, {show(high, unit, digits)}]"
        cell = replace(cell, low=low, high=high)
    if label in values.networks:
        return replace(cell, text=f"{text} †" if row.caveat else text)
    have = sum(seed in row.values for seed in needed)
    if have < len(needed):
        text += f" ({have} of {len(needed)} seeds)"
    if further := sorted(row.values.keys() - set(needed)):
        reason = f"{_seeds(further)} beyond those that most rows have ({', '.join(map(str, needed))})"
        cell = replace(cell, reason="; ".join(filter(None, [row.reason, reason])))
    return replace(cell, text=f"{text} †" if row.caveat else text)


def _items(values: ColumnValues, label: str, seed: int) -> Mapping[str, Any] | None:
    """Return the packed results of the test items of one value, where its record keeps them."""
    record = values.rows[label].records.get(seed)
    return record.items.get(values.column.metric) if record else None


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
