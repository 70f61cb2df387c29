"""Entries -> comparisons: two rows paired by seed and by test item, or all rows by their mean ranks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench_core.errors import RequestError, UnknownNameError
from bench_core.evaluation.intervals import LEVEL
from bench_core.reports.comparison.by_item import OverItems, items_by_seed, not_pairable, over_items
from bench_core.reports.tables.build import may_rank, uses_labels
from bench_core.reports.tables.cells import ColumnValues, column_values
from bench_core.reports.tables.columns import task_columns
from bench_core.reports.tables.entries import Entry, by_row, by_table, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.model import Column
from bench_core.reports.tables.statistics import (
    FEWEST_SEEDS,
    Paired,
    critical_difference,
    friedman,
    holm,
    paired,
)
from bench_core.reports.tables.summary_columns import counted_columns, ranks_of

MIN_FAMILIES, MIN_ROWS = 5, 3  # for a critical difference


@dataclass(frozen=True)
class Line:
    """Two rows on one metric of one task.

    Attributes:
        dataset: Label of the dataset.
        encoder: Label of the encoder.
        column: Task, metric, unit, direction.
        table_seeds: The number of seeds that a row needs in the table's column.
        not_ranked: Those of the two rows that the table does not rank in this column, though it ranks others.
        table_first: The one that is ahead over the seeds of the table's column; empty where one lacks a seed.
        means: Means of both rows over the seeds that both have.
        paired: First minus second, paired by seed.
        items: First minus second, paired by test item, where both rows keep the results of each.
        p: p-value of `paired`, after Holm for all lines of the comparison.
        p_items: p-value of `items`, after Holm for all lines of the comparison.
        verdict: The result in words. What seeds cannot tell of the methods, items cannot tell either.
    """

    dataset: str
    encoder: str
    column: Column
    table_seeds: int
    not_ranked: tuple[str, ...]
    table_first: str
    means: tuple[float, float] | None
    paired: Paired
    items: OverItems | None = None
    p: float | None = None
    p_items: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class ComparedTable:
    """The rows of one dataset and encoder, as they are compared.

    Attributes:
        dataset: Label of the dataset.
        encoder: Label of the encoder.
        rows: Row -> its entries.
        columns: All rows in each column, as the table has them.
    """

    dataset: str
    encoder: str
    rows: Mapping[str, Sequence[Entry]]
    columns: Sequence[ColumnValues]


# A table, a column, two rows and the seeds that both have -> the comparison by test item, or why there is none.
PairItems = Callable[[ComparedTable, Column, str, str, Sequence[int]], tuple[OverItems | None, str]]


@dataclass(frozen=True)
class Comparison:
    """Two rows on every task that both have; `notes` name what is left out."""

    first: str
    second: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """All rows of one dataset and encoder by their mean ranks.

    Attributes:
        dataset: Label of the dataset.
        encoder: Label of the encoder.
        rows: (name, mean rank), the best first.
        families: The families of tasks that the ranks are a mean over.
        critical: Least difference of mean ranks that counts; None where there is none.
        friedman: p-value of no difference among all rows; None like `critical`.
        reason: Why there is no critical difference.
    """

    dataset: str
    encoder: str
    rows: tuple[tuple[str, float], ...]
    families: tuple[str, ...]
    critical: float | None = None
    friedman: float | None = None
    reason: str = ""

    def told_from_best(self, rank: float) -> bool:
        """Return whether a row with this mean rank is worse than the best, and not by chance."""
        if self.critical is None or self.friedman is None or self.friedman >= 1 - LEVEL:
            return False
        return rank - self.rows[0][1] >= self.critical


def compare(entries: Iterable[Entry], first: str, second: str, *, all_metrics: bool = False) -> Comparison:
    """Compare two rows, paired by seed and by item, on each task's first metric.

    Args:
        entries: Entries as for `build`.
        first: A row as the table names it.
        second: Another row.
        all_metrics: Compare them on all metrics of each task.

    Raises:
        UnknownNameError: No row has this name.
        RequestError: Both names are equal, or the rows have no task in common.
    """
    return compare_in(compared_tables(entries, all_metrics=all_metrics), first, second, pair_items)


def compared_tables(entries: Iterable[Entry], *, all_metrics: bool = False) -> list[ComparedTable]:
    """Collect what rows are compared by, once for all pairs of them.

    Args:
        entries: Entries as for `build`.
        all_metrics: Take all metrics of each task; by default its first one.
    """
    tables = []
    for (dataset, encoder), group in by_table(with_distinct_names(in_one_entry(list(entries)))).items():
        rows = by_row(group)
        candidates = _candidates(rows)
        columns = [column_values(column, rows, candidates) for column in task_columns(group, all_metrics=all_metrics)]
        tables.append(ComparedTable(dataset, encoder, rows, columns))
    return tables


def compare_in(tables: Sequence[ComparedTable], first: str, second: str, by_item: PairItems) -> Comparison:
    """Compare two rows of tables that are read already; `compare` says how and what is raised.

    Args:
        tables: All tables of a board or a store.
        first: A row.
        second: Another row.
        by_item: Gives the comparison by test item: `pair_items`, or one that has computed that of many pairs at once.
    """
    if first == second:
        raise RequestError(f"{first!r} is compared with itself; name two rows.")
    known = {name for table in tables for name in table.rows}
    for name in (first, second):
        if name not in known:
            raise UnknownNameError("row", name, known)
    lines: list[Line] = []
    notes: dict[str, None] = {}
    with_labels: dict[str, None] = {}
    networks: dict[str, None] = {}
    for table in tables:
        pair = {name: table.rows.get(name, []) for name in (first, second)}
        with_labels |= {name: None for name, row in pair.items() if any(map(uses_labels, row))}
        networks |= {name: None for name, row in pair.items() if any(entry.is_one_network for entry in row)}
        for values in table.columns:
            line, of_column = _compare_column(table, values, first, second, by_item)
            if line:
                lines.append(line)
            notes |= dict.fromkeys(of_column)
    if not lines:
        of_pair = [entry for table in tables for name in (first, second) for entry in table.rows.get(name, [])]
        stale = any(entry.state == "stale" for entry in of_pair)
        which = "no task in common that is not stale: run it again" if stale else "no task in common"
        raise RequestError(f"{first} and {second} have {which}; `bench table` shows what each has.")
    label_notes = [f"{name} is trained with labels" for name in with_labels]
    label_notes += [f"{name} is one network: nothing can be said of other trainings of it" for name in networks]
    return Comparison(first, second, tuple(_with_verdicts(lines, first, second)), (*notes, *label_notes))


def pair_items(
    table: ComparedTable, column: Column, first: str, second: str, seeds: Sequence[int]
) -> tuple[OverItems | None, str]:
    """Compare two rows by test item in one column, at these seeds; or say why they cannot be paired."""
    of_first, of_second = (items_by_seed(table.rows[name], column) for name in (first, second))
    return over_items(of_first, of_second, seeds), not_pairable(of_first, of_second, seeds)


def rank_rows(entries: Iterable[Entry]) -> list[Ranking]:
    """Rank all rows on each task's first metric, for each dataset and encoder; rows with labels are left out.

    Demsar's datasets are families of tasks here, so that several readings of one thing count once. They share one
    training of each row, so they are less independent than he asks.
    """
    rankings = []
    for table in compared_tables(entries):
        rankings.append(_ranking(table.dataset, table.encoder, ranks_of(counted_columns(table.columns))))
    return rankings


def _candidates(rows: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Return the rows that may be ranked: those that are trained without labels, by seeds."""
    return [label for label, row in rows.items() if may_rank(row)]


def _compare_column(
    table: ComparedTable, values: ColumnValues, first: str, second: str, by_item: PairItems
) -> tuple[Line | None, list[str]]:
    """Compare two rows in one column.

    Returns:
        The line, without its verdict; None if a row has no values. And notes on what is left out, and on caveats.
    """
    column, pair = values.column, (first, second)
    first_values, second_values = (values.rows[name].values if name in values.rows else {} for name in pair)
    where = f"{column.name} on {table.dataset}, {table.encoder}"
    if not first_values or not second_values:
        has_values = first if first_values else second if second_values else None
        return None, [f"{has_values} alone has {where}"] if has_values else []
    seeds = sorted(first_values.keys() & second_values.keys())
    means = None
    if seeds:
        means = fmean(first_values[seed] for seed in seeds), fmean(second_values[seed] for seed in seeds)
    by_seed = paired(first_values, second_values)
    if by_seed.seeds < FEWEST_SEEDS:
        by_seed = Paired(by_seed.seeds, by_seed.mean)
    items, reason = by_item(table, column, first, second, seeds)
    line = Line(
        table.dataset,
        table.encoder,
        column,
        len(values.seeds),
        _not_ranked(values, pair),
        _table_first(values, pair),
        means,
        by_seed,
        items,
    )
    notes = [f"{where} is not compared by item: {reason}"] if reason else []
    caveats = {name: values.rows[name].caveat for name in pair}
    return line, [*notes, *(f"{name} in {where}: {caveat}" for name, caveat in caveats.items() if caveat)]


def _not_ranked(values: ColumnValues, pair: Iterable[str]) -> tuple[str, ...]:
    """Return those of two rows that the table does not rank, as they lack a seed or were measured otherwise."""
    if not values.column.can_rank:
        return ()
    return tuple(name for name in pair if name in values.candidates and name not in values.ranked)


def _table_first(values: ColumnValues, pair: Iterable[str]) -> str:
    """Return the one of two rows that is ahead over the seeds of the table's column; empty if one lacks a seed."""
    first, second = pair
    if not {first, second} <= set(values.complete) or values.mean(first) == values.mean(second):
        return ""
    first_ahead = (values.mean(first) > values.mean(second)) == values.column.higher_is_better
    return first if first_ahead else second


def _with_verdicts(lines: Sequence[Line], first: str, second: str) -> list[Line]:
    """Add p-values after Holm for all tests of the lines, over seeds and over items, and what follows from them."""
    over_seeds = _adjusted([line.paired.p for line in lines])
    by_item = _adjusted([line.items.p if line.items else None for line in lines])
    judged = []
    for line, p, p_items in zip(lines, over_seeds, by_item, strict=True):
        judged.append(replace(line, p=p, p_items=p_items, verdict=_verdict(line, p, p_items, first, second)))
    return judged


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values after Holm; None stays None."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _verdict(line: Line, p: float | None, p_items: float | None, first: str, second: str) -> str:
    by_seed, items_differ = line.paired, p_items is not None and p_items < 1 - LEVEL
    if not by_seed.seeds:
        return "no seed in common: nothing can be said"
    if by_seed.seeds == 1:
        return f"one seed: {'these two networks differ, of the methods ' if items_differ else ''}nothing can be said"
    if by_seed.seeds < FEWEST_SEEDS:
        return f"{by_seed.seeds} seeds: nothing can be said"
    if line.not_ranked:
        return f"not judged: the table does not rank {' and '.join(line.not_ranked)} here"
    if p is None or by_seed.p is None:
        if not by_seed.mean:
            return "the same at every seed"
        return "the same difference at every seed: nothing can be said"
    if p < 1 - LEVEL:
        higher, lower = (first, second) if (by_seed.mean or 0.0) > 0 else (second, first)
        if not line.column.can_rank:
            return f"{higher} higher"
        winner = higher if line.column.higher_is_better else lower
        if line.table_first not in (winner, ""):
            return f"not judged: over the {line.table_seeds} seeds of the table {line.table_first} is ahead"
        better = f"{winner} better"
        return better if items_differ or line.items is None else f"{better} on these test items, others may differ"
    if by_seed.p < 1 - LEVEL:
        return "cannot be told apart among so many comparisons"
    return "cannot be told apart"


def _ranking(dataset: str, encoder: str, ranks: Mapping[str, Mapping[str, float]]) -> Ranking:
    means = [(label, fmean(row.values())) for label, row in ranks.items()]
    rows = tuple(sorted(means, key=lambda row: (row[1], row[0])))
    families = tuple(next(iter(ranks.values()), {}))
    if len(rows) < MIN_ROWS or len(families) < MIN_FAMILIES:
        reason = (
            f"{MIN_ROWS} rows and {MIN_FAMILIES} families of tasks are needed, these are {len(rows)} rows that are "
            f"ranked in {len(families)} families"
        )
        return Ranking(dataset, encoder, rows, families, reason=reason)
    p, critical = (
        friedman([list(row.values()) for row in ranks.values()]),
        critical_difference(len(rows), len(families)),
    )
    return Ranking(dataset, encoder, rows, families, critical, p)
