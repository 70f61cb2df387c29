"""Columns computed from other columns (mean, mean rank, coverage), cost, and the row of chance levels."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from bench_core.reports.tables.cells import NO_VALUES, ColumnValues, SeedValues, fill, show
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, TableCell
from bench_core.reports.tables.statistics import average_ranks
from bench_core.store.record import Record, RecordScore

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


def counted_columns(columns: Sequence[ColumnValues]) -> list[ColumnValues]:
    """Return the columns that count for mean and mean rank.

    A task that some row skips does not: what a method cannot do by its nature (decode, say) is no defect of it. Nor
    does one in which no row is ranked, as where the task measures no quality or all its records are stale.
    """
    counted = []
    for values in columns:
        skipped = any(values.rows[label].state == "skipped" for label in values.candidates)
        if values.ranked and not skipped:
            counted.append(values)
    return counted


def mean_over_tasks(counted: Sequence[ColumnValues]) -> Filled | None:
    """Return the mean over tasks of (score - chance) / (best - chance): 0 is chance, 1 the best possible.

    A row that lacks a task, or a seed of it, is blank.

    Args:
        counted: The columns that count.

    Returns:
        None where no row has such a mean, as where a task has no chance level or no best value.
    """
    if not counted:
        return None
    seeds = sorted(set.intersection(*(set(values.seeds) for values in counted)))
    complete = set.intersection(*(set(values.complete) for values in counted))
    means = dict.fromkeys(counted[0].rows, NO_VALUES)
    for label in complete:
        by_task = [_relative(values.rows[label].scores) for values in counted]
        if seeds and all(seed in relative for relative in by_task for seed in seeds):
            means[label] = SeedValues({seed: fmean(relative[seed] for relative in by_task) for seed in seeds})
    if not any(row.values for row in means.values()):
        return None
    column = Column(name="mean", kind="mean", unit="fraction", higher_is_better=True)
    return fill(ColumnValues(column, means, counted[0].candidates, seeds, digits=counted[0].digits))


def _relative(scores: Mapping[int, RecordScore]) -> dict[int, float]:
    """Return seed -> how far a score is on the way from chance to the best value, where it names both."""
    relative = {}
    for seed, score in scores.items():
        best = score.best
        if best is None and score.unit == "fraction" and score.higher_is_better:
            best = 1.0
        if score.value is None or score.chance is None or best is None or best == score.chance:
            continue
        if (best > score.chance) == score.higher_is_better:
            relative[seed] = (score.value - score.chance) / (best - score.chance)
    return relative


def ranks_of(counted: Sequence[ColumnValues]) -> dict[str, dict[str, float]]:
    """Return row -> family -> the mean of its ranks on the family's tasks, by mean over seeds.

    Args:
        counted: The columns that count. A row that is not ranked in one of them is left out, so that each task ranks
            the same rows.
    """
    if not counted:
        return {}
    complete = [label for label in counted[0].candidates if all(label in values.ranked for values in counted)]
    ranks: dict[str, dict[str, list[float]]] = {label: {} for label in complete}
    for values in counted:
        means = [values.mean(label) for label in complete]
        by_row = average_ranks(means, bool(values.column.higher_is_better))
        for label, rank in zip(complete, by_row, strict=True):
            ranks[label].setdefault(values.column.family, []).append(rank)
    return {label: {family: fmean(ranks) for family, ranks in row.items()} for label, row in ranks.items()}


def mean_rank(counted: Sequence[ColumnValues]) -> Filled:
    """Return the mean of `ranks_of` over families; rows without ranks are blank."""
    means = {label: fmean(row.values()) for label, row in ranks_of(counted).items()}
    cells = {label: TableCell(text=f"{mean:.2f}", mean=mean) for label, mean in means.items()}
    return Column(name="mean rank", kind="rank", higher_is_better=False), cells


def family_ranks(counted: Sequence[ColumnValues]) -> list[Filled]:
    """Return a column for each family, with the mean of each row's ranks on its tasks; none where nothing is ranked."""
    ranks = ranks_of(counted)
    filled = []
    for family in dict.fromkeys(family for of_row in ranks.values() for family in of_row):
        cells = {label: TableCell(text=f"{row[family]:.2f}", mean=row[family]) for label, row in ranks.items()}
        name = f"rank in {family.rpartition('/')[2]}"
        filled.append((Column(name=name, kind="family_rank", family=family, higher_is_better=False), cells))
    return filled


def coverage(columns: Sequence[ColumnValues], rows: Iterable[str]) -> Filled:
    """Return the number of tasks that each row has: "3/4"."""
    cells = {}
    for label in rows:
        have = sum(bool(values.rows[label].values) for values in columns)
        cells[label] = TableCell(text=f"{have}/{len(columns)}", mean=float(have))
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


def chance(columns: Sequence[ColumnValues]) -> list[TableCell]:
    """Return the chance level of each task; a range where the records disagree, blank where they have none.

    The digits after the point are those of the column's scores.
    """
    cells = []
    for values in columns:
        unit, levels = values.column.unit, set()
        for row in values.rows.values():
            levels |= {float(score.chance) for score in row.scores.values() if score.chance is not None}
        digits = values.shown_digits
        shown = list(dict.fromkeys(show(level, unit, digits) for level in sorted(levels)))
        if len(shown) > 1:
            cells.append(TableCell(text=f"{shown[0]}–{shown[-1]}"))  # noqa: RUF001  # an en dash is meant
        else:
            cells.append(TableCell(text=shown[0], mean=fmean(levels)) if shown else TableCell(state="missing"))
    return cells
