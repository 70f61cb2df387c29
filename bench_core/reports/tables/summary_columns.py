"""Columns computed from other columns (mean, mean rank, coverage), cost, and the row of chance levels."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench_core.reports.tables.cells import NO_VALUES, SeedValues, all_values, decimals, fill, score_of, show
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, TableCell
from bench_core.reports.tables.statistics import average_ranks
from bench_core.store.record import Record

Filled = tuple[Column, dict[str, TableCell]]  # a column, and row -> cell


@dataclass(frozen=True)
class CostColumn:
    """One column of cost.

    Attributes:
        column: Name, unit and direction.
        value: Reads the value from a record.
        digits: Digits after the point.
    """

    column: Column
    value: Callable[[Record], float | None]
    digits: int


COSTS = (
    CostColumn(
        Column(name="pretrain", kind="cost", unit="s", higher_is_better=False), lambda record: record.cost.pretrain_s, 1
    ),
    CostColumn(Column(name="images/s", kind="cost", higher_is_better=True), lambda record: record.cost.images_per_s, 0),
    CostColumn(
        Column(name="peak memory", kind="cost", unit="GiB", higher_is_better=False),
        lambda record: record.cost.peak_memory_gib,
        2,
    ),
    CostColumn(Column(name="parameters", kind="cost", higher_is_better=False), lambda record: record.parameters, 0),
)


def mean_over_tasks(
    columns: Sequence[Column], values: Sequence[Mapping[str, SeedValues]], ranked: Sequence[str]
) -> Filled | None:
    """Return the mean over all tasks, of the seeds that have every task; blank for a row without such a seed.

    Args:
        columns: Columns of tasks.
        values: For each of them, row -> values.
        ranked: The rows that may be best.

    Returns:
        None where the tasks have no common scale: only fractions of which more is better have a mean.
    """
    if not columns or any((column.unit, column.higher_is_better) != ("fraction", True) for column in columns):
        return None
    means: dict[str, SeedValues] = {}
    for label in values[0]:
        by_task = [column_values[label].values for column_values in values]
        common = sorted(set.intersection(*map(set, by_task)))
        mean_by_seed = {seed: fmean(by_seed[seed] for by_seed in by_task) for seed in common}
        means[label] = SeedValues(mean_by_seed) if common else NO_VALUES
    column = Column(name="mean", kind="mean", unit="fraction", higher_is_better=True)
    return fill(column, means, ranked)


def ranks_of(
    columns: Sequence[Column], values: Sequence[Mapping[str, SeedValues]], ranked: Sequence[str]
) -> dict[str, list[float]]:
    """Return row -> its rank on each task, by mean over seeds.

    A task that some row skips ranks nobody: what a method cannot do by its nature (decode, say) is no defect of it.
    A row that misses one of the other tasks is left out, so that each task ranks the same rows.
    """
    counted = []
    for column, column_values in zip(columns, values, strict=True):
        if all(column_values[label].state != "skipped" for label in ranked):
            counted.append((column, column_values))
    complete = []
    for label in ranked:
        if counted and all(column_values[label].values for _, column_values in counted):
            complete.append(label)
    ranks: dict[str, list[float]] = {label: [] for label in complete}
    for column, column_values in counted:
        means = [fmean(column_values[label].values.values()) for label in complete]
        for label, rank in zip(complete, average_ranks(means, bool(column.higher_is_better)), strict=True):
            ranks[label].append(rank)
    return ranks


def mean_rank(columns: Sequence[Column], values: Sequence[Mapping[str, SeedValues]], ranked: Sequence[str]) -> Filled:
    """Return the mean of `ranks_of`; rows without ranks are blank."""
    ranks = ranks_of(columns, values, ranked)
    cells = {label: TableCell(text=f"{fmean(row):.2f}", mean=fmean(row)) for label, row in ranks.items()}
    return Column(name="mean rank", kind="rank", higher_is_better=False), cells


def coverage(values: Sequence[Mapping[str, SeedValues]], rows: Iterable[str]) -> Filled:
    """Return the number of tasks that each row has: "3/4"."""
    cells = {}
    for label in rows:
        have = sum(bool(column_values[label].values) for column_values in values)
        cells[label] = TableCell(text=f"{have}/{len(values)}", mean=float(have))
    return Column(name="tasks", kind="coverage", higher_is_better=True), cells


def cost(rows: Mapping[str, Sequence[Entry]]) -> list[Filled]:
    """Return the columns of cost: the median over seeds (of a seed's several records, their median)."""
    filled = []
    for cost_column in COSTS:
        cells = {}
        for label, entries in rows.items():
            by_seed: dict[int, list[float]] = {}
            for entry in entries:
                value = cost_column.value(entry.finished_record) if entry.finished_record else None
                if value is not None and math.isfinite(value):
                    by_seed.setdefault(entry.seed, []).append(float(value))
            if by_seed:
                middle = median(median(values) for values in by_seed.values())
                cells[label] = TableCell(text=f"{middle:.{cost_column.digits}f}", mean=middle, n=len(by_seed))
        filled.append((cost_column.column, cells))
    return filled


def chance(
    columns: Sequence[Column], entries: Sequence[Entry], values: Sequence[Mapping[str, SeedValues]]
) -> list[TableCell]:
    """Return the chance level of each task; a range where the records disagree, blank where they have none.

    The digits after the point are those of the column's scores.
    """
    cells = []
    for column, column_values in zip(columns, values, strict=True):
        levels = set()
        for entry in entries:
            if entry.finished_record and entry.names["task"] == column.task:
                score = score_of(entry.finished_record, column)
                if score is not None and score.chance is not None:
                    levels.add(float(score.chance))
        digits = decimals(column.unit, all_values(column_values))
        shown = list(dict.fromkeys(show(level, column.unit, digits) for level in sorted(levels)))
        if len(shown) > 1:
            cells.append(TableCell(text=f"{shown[0]}–{shown[-1]}"))  # noqa: RUF001  # an en dash is meant
        else:
            cells.append(TableCell(text=shown[0], mean=fmean(levels)) if shown else TableCell(state="missing"))
    return cells


def mean_chance(cells: Sequence[TableCell]) -> TableCell:
    """Return the mean of chance levels that are fractions; blank where one is unknown."""
    levels = [cell.mean for cell in cells if cell.mean is not None]
    if not cells or len(levels) < len(cells):
        return TableCell()
    return TableCell(text=show(fmean(levels), "fraction", 1), mean=fmean(levels))
