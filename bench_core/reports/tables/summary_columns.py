"""Columns made of others (mean, mean rank, coverage), cost, and the row of chance levels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from bench_core.reports.tables.cells import NOTHING, Found, decimals, fill, score_of, show
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Cell, Column
from bench_core.reports.tables.statistics import average_ranks

Filled = tuple[Column, dict[str, Cell]]

COSTS: tuple[tuple[str, str, bool, str, str, int], ...] = (
    # name, unit, direction, part of the record, field, digits after the point
    ("pretrain", "s", False, "cost", "pretrain_s", 1),
    ("images/s", "", True, "cost", "images_per_s", 0),
    ("peak memory", "GiB", False, "cost", "peak_memory_gib", 2),
    ("parameters", "", False, "facts", "parameters", 0),
)


def mean_over_tasks(
    columns: Sequence[Column], found: Sequence[Mapping[str, Found]], ranked: Sequence[str]
) -> Filled | None:
    """The strict mean: over the seeds that have every task, blank where there are none.

    Args:
        columns: Of tasks.
        found: For each of them, row -> values.
        ranked: The rows that may be best.

    Returns:
        None where the tasks have no common scale: only fractions of which more is better have a mean.
    """
    if not columns or any((c.unit, c.higher_is_better) != ("fraction", True) for c in columns):
        return None
    means: dict[str, Found] = {}
    for label in found[0]:
        values = [by_row[label].values for by_row in found]
        common = sorted(set.intersection(*(set(v) for v in values)))
        means[label] = Found({s: fmean(v[s] for v in values) for s in common}) if common else NOTHING
    column = Column(name="mean", kind="mean", unit="fraction", higher_is_better=True)
    return fill(column, means, ranked)


def ranks_of(
    columns: Sequence[Column], found: Sequence[Mapping[str, Found]], ranked: Sequence[str]
) -> dict[str, list[float]]:
    """Row -> its rank by mean over seeds on each task that no row skips, of the rows that have all of these.

    What a method cannot do by its nature (decode, say) is no defect of it, so such a task ranks nobody. Rows that miss
    another one are out of everybody's ranks, so that each task ranks the same rows.
    """
    counted = [
        (column, by_row)
        for column, by_row in zip(columns, found, strict=True)
        if all(by_row[label].state != "skipped" for label in ranked)
    ]
    complete = [label for label in ranked if counted and all(by_row[label].values for _, by_row in counted)]
    ranks: dict[str, list[float]] = {label: [] for label in complete}
    for column, by_row in counted:
        means = [fmean(by_row[label].values.values()) for label in complete]
        for label, rank in zip(complete, average_ranks(means, bool(column.higher_is_better)), strict=True):
            ranks[label].append(rank)
    return ranks


def mean_rank(columns: Sequence[Column], found: Sequence[Mapping[str, Found]], ranked: Sequence[str]) -> Filled:
    """Mean of `ranks_of`; the other rows stay blank."""
    ranks = ranks_of(columns, found, ranked)
    cells = {label: Cell(text=f"{fmean(own):.2f}", mean=fmean(own)) for label, own in ranks.items()}
    return Column(name="mean rank", kind="rank", higher_is_better=False), cells


def coverage(found: Sequence[Mapping[str, Found]], rows: Iterable[str]) -> Filled:
    """How many of the tasks a row has: "3/4"."""
    cells = {}
    for label in rows:
        have = sum(bool(by_row[label].values) for by_row in found)
        cells[label] = Cell(text=f"{have}/{len(found)}", mean=float(have))
    return Column(name="tasks", kind="coverage", higher_is_better=True), cells


def cost(entries: Mapping[str, Sequence[Entry]]) -> list[Filled]:
    """What a row cost: the median over seeds (of a seed's several records, their median)."""
    filled = []
    for name, unit, higher_is_better, part, field, digits in COSTS:
        cells = {}
        for label, own in entries.items():
            by_seed: dict[int, list[float]] = {}
            for entry in own:
                value = _number((entry.record or {}).get(part), field)
                if entry.state == "done" and value is not None:
                    by_seed.setdefault(entry.seed, []).append(value)
            if by_seed:
                middle = median(median(values) for values in by_seed.values())
                cells[label] = Cell(text=f"{middle:.{digits}f}", mean=middle, n=len(by_seed))
        column = Column(name=name, kind="cost", unit=unit, higher_is_better=higher_is_better)
        filled.append((column, cells))
    return filled


def _number(part: Any, field: str) -> float | None:
    value = (part or {}).get(field)
    return float(value) if value is not None and math.isfinite(value) else None


def chance(columns: Sequence[Column], entries: Sequence[Entry], found: Sequence[Mapping[str, Found]]) -> list[Cell]:
    """The chance level of each task; a range where the records disagree, blank where they do not say.

    Digits are those of the column's scores.
    """
    cells = []
    for column, by_row in zip(columns, found, strict=True):
        levels = set()
        for entry in entries:
            if entry.state == "done" and entry.record is not None and entry.names["task"] == column.task:
                score = score_of(entry.record, column)
                if score is not None and score.get("chance") is not None:
                    levels.add(float(score["chance"]))
        digits = decimals(column.unit, [v for f in by_row.values() for v in f.values.values()])
        shown = list(dict.fromkeys(show(level, column.unit, digits) for level in sorted(levels)))
        if len(shown) > 1:
            cells.append(Cell(text=f"{shown[0]}–{shown[-1]}"))  # noqa: RUF001  # an en dash is meant
        else:
            cells.append(Cell(text=shown[0], mean=fmean(levels)) if shown else Cell(state="missing"))
    return cells


def mean_chance(cells: Sequence[Cell]) -> Cell:
    """Of fractions; blank where one is unknown."""
    levels = [cell.mean for cell in cells if cell.mean is not None]
    if not cells or len(levels) < len(cells):
        return Cell()
    return Cell(text=show(fmean(levels), "fraction", 1), mean=fmean(levels))
