"""Entries -> honest comparisons: two rows paired by seed and by test item, or all rows by their mean ranks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench_core.errors import RequestError, UnknownNameError
from bench_core.evaluation.statistics import LEVEL
from bench_core.reports.comparison.by_item import Kept, OverItems, kept_items, over_items, why_not
from bench_core.reports.tables.build import task_columns, uses_labels
from bench_core.reports.tables.cells import Found, find
from bench_core.reports.tables.entries import Entry, distinct
from bench_core.reports.tables.model import Column
from bench_core.reports.tables.statistics import Paired, critical_difference, friedman, holm, paired
from bench_core.reports.tables.summary_columns import ranks_of

MIN_TASKS, MIN_ROWS = 5, 3  # for a critical difference


@dataclass(frozen=True)
class Line:
    """One task of two rows.

    Attributes:
        column: Task, metric, unit, direction.
        means: Of both rows over the seeds that both have.
        paired: First minus second.
        items: The same by test item, where both rows keep results of each.
        p: Of `paired`, after Holm for all lines of the comparison.
        p_items: Of `items`, likewise.
        verdict: In words; what seeds do not tell of the methods, items cannot tell either.
    """

    dataset: str
    encoder: str
    column: Column
    means: tuple[float, float] | None
    paired: Paired
    items: OverItems | None = None
    p: float | None = None
    p_items: float | None = None
    verdict: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two rows on every task that both have; `notes` say what is not in it."""

    first: str
    second: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """All rows of one data set and encoder by their mean ranks.

    Attributes:
        rows: (name, mean rank), the best first.
        tasks: Number that ranks are of.
        critical: Difference of mean ranks that tells two rows apart; None where there is none.
        friedman: p of no difference among all rows; None likewise.
        reason: Why there is none.
    """

    dataset: str
    encoder: str
    rows: tuple[tuple[str, float], ...]
    tasks: int
    critical: float | None = None
    friedman: float | None = None
    reason: str = ""

    def told_from_best(self, rank: float) -> bool:
        """Whether a row with this mean rank is worse than the best, and not by chance."""
        if self.critical is None or self.friedman is None or self.friedman >= 1 - LEVEL:
            return False
        return rank - self.rows[0][1] >= self.critical


def compare(entries: Iterable[Entry], first: str, second: str, *, every: bool = False) -> Comparison:
    """Two rows, paired by seed and by item, on each task's first metric.

    Args:
        entries: As for `build`.
        first: A row as the table names it.
        second: Another.
        every: All metrics of each task.

    Raises:
        UnknownNameError: No row has this name.
        RequestError: The names are one, or the rows have no task in common.
    """
    if first == second:
        raise RequestError(f"{first!r} is compared with itself; name two rows.")
    groups = _groups(entries)
    known = {entry.names["method"] for group in groups.values() for entry in group}
    for name in (first, second):
        if name not in known:
            raise UnknownNameError("row", name, known)
    lines, left_out, labelled = list[Line](), dict[str, None](), dict[str, None]()
    for (dataset, encoder), group in groups.items():
        own = {name: [entry for entry in group if entry.names["method"] == name] for name in (first, second)}
        labelled |= {name: None for name, rows in own.items() if any(map(uses_labels, rows))}
        for column in task_columns([*own[first], *own[second]], None, every=every):
            values = [find(own[name], column).values for name in (first, second)]
            where = f"{column.name} on {dataset}, {encoder}"
            if all(values):
                kept = [kept_items(own[name], column) for name in (first, second)]
                lines.append(_line(dataset, encoder, column, values, kept))
                if reason := why_not(kept[0], kept[1], values[0].keys() & values[1].keys()):
                    left_out[f"{where} is not compared by item: {reason}"] = None
            elif any(values):
                left_out[f"{first if values[0] else second} alone has {where}"] = None
    if not lines:
        raise RequestError(f"{first} and {second} have no task in common; `bench table` shows what each has.")
    notes = [*left_out, *(f"{name} is trained with labels" for name in labelled)]
    return Comparison(first, second, tuple(_judged(lines, first, second)), tuple(notes))


def rank_rows(entries: Iterable[Entry]) -> list[Ranking]:
    """Mean ranks over each task's first metric, one ranking for each data set and encoder; rows with labels have none.

    Demsar's data sets are tasks here. They share one training of each row, so they are less independent than he asks.
    """
    rankings = []
    for (dataset, encoder), group in _groups(entries).items():
        rows: dict[str, list[Entry]] = {}
        for entry in group:
            rows.setdefault(entry.names["method"], []).append(entry)
        ranked = [label for label, own in rows.items() if not any(map(uses_labels, own))]
        columns = task_columns(group, None, every=False)
        found: list[Mapping[str, Found]] = [{label: find(rows[label], c) for label in ranked} for c in columns]
        ranks = ranks_of(columns, found, ranked)
        rankings.append(_ranking(dataset, encoder, ranks))
    return rankings


def _groups(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """By data set and encoder, under names that tell different things apart."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in distinct(list(entries)):
        groups.setdefault((entry.names["dataset"], entry.names["encoder"]), []).append(entry)
    return groups


def _line(
    dataset: str,
    encoder: str,
    column: Column,
    values: Sequence[Mapping[int, float]],
    kept: Sequence[Mapping[int, Kept]],
) -> Line:
    first, second = values
    common = sorted(first.keys() & second.keys())
    means = (fmean(first[s] for s in common), fmean(second[s] for s in common)) if common else None
    return Line(dataset, encoder, column, means, paired(first, second), over_items(kept[0], kept[1], common))


def _judged(lines: Sequence[Line], first: str, second: str) -> list[Line]:
    """With p after Holm for all that can be tested, over seeds and over items, and what follows from it."""
    over_seeds = _adjusted([line.paired.p for line in lines])
    by_item = _adjusted([line.items.p if line.items else None for line in lines])
    judged = []
    for line, p, p_items in zip(lines, over_seeds, by_item, strict=True):
        judged.append(replace(line, p=p, p_items=p_items, verdict=_verdict(line, p, p_items, first, second)))
    return judged


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    """After Holm, each in its place."""
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _verdict(line: Line, p: float | None, p_items: float | None, first: str, second: str) -> str:
    found, items_differ = line.paired, p_items is not None and p_items < 1 - LEVEL
    if not found.seeds:
        return "no seed in common: nothing can be said"
    if found.seeds == 1:
        return f"one seed: {'these two networks differ, of the methods ' if items_differ else ''}nothing can be said"
    if p is None or found.p is None:
        return "the same at every seed" if not found.mean else "the same difference at every seed: nothing can be said"
    if p < 1 - LEVEL:
        higher, lower = (first, second) if (found.mean or 0.0) > 0 else (second, first)
        better = f"{higher if line.column.higher_is_better else lower} better"
        return better if items_differ or line.items is None else f"{better} on these test items, others may differ"
    if found.p < 1 - LEVEL:
        return "cannot be told apart among so many comparisons"
    return "cannot be told apart"


def _ranking(dataset: str, encoder: str, ranks: Mapping[str, Sequence[float]]) -> Ranking:
    rows = tuple(sorted(((label, fmean(own)) for label, own in ranks.items()), key=lambda row: (row[1], row[0])))
    tasks = len(next(iter(ranks.values()), ()))
    if len(rows) < MIN_ROWS or tasks < MIN_TASKS:
        reason = f"{MIN_ROWS} rows and {MIN_TASKS} tasks are needed, these are {len(rows)} rows that have {tasks} tasks"
        return Ranking(dataset, encoder, rows, tasks, reason=reason)
    p, critical = friedman(list(ranks.values())), critical_difference(len(rows), tasks)
    return Ranking(dataset, encoder, rows, tasks, critical, p)
