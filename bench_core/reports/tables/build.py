"""Entries -> tables: rows are methods, columns are tasks, then columns computed from them, then cost."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench_core.errors import UnknownNameError
from bench_core.reports.tables.cells import column_values, fill, show
from bench_core.reports.tables.entries import Entry, by_row, by_table, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.footer import footer
from bench_core.reports.tables.model import Column, Row, Table, TableCell, plain_name
from bench_core.reports.tables.summary_columns import (
    Filled,
    chance,
    cost,
    counted_columns,
    coverage,
    mean_over_tasks,
    mean_rank,
)
from bench_core.store.record import Record, RecordScore

RowKind = Literal["labels", "method", "network"]


def build(
    entries: Iterable[Entry], *, metric: str | None = None, sort: str | None = None, task: str | None = None
) -> list[Table]:
    """Build one table for each pair of dataset and encoder, in the order of the entries.

    Args:
        entries: Entries of a plan, or of `entries_of`; tasks keep their order.
        metric: Shown instead of each task's first: "map_cosine" for all tasks that have it, or
            "retrieval:map_cosine" for one.
        sort: A column or "method"; by default mean rank, then the first column. Rows that are not ranked in it come
            after those that are; blanks are last.
        task: Show this task alone, with all its metrics, and no computed columns or cost.

    Raises:
        UnknownNameError: No record has this metric; no table has this column; no entry is of this task.
    """
    groups = by_table(_of_task(with_distinct_names(in_one_entry(list(entries))), task))
    if metric is not None:
        known = {name for group in groups.values() for name in _metrics(group)}
        if metric not in known:
            raise UnknownNameError("metric", metric, known)
    drafts = []
    for (dataset, encoder), group in groups.items():
        columns = task_columns(group, metric, all_metrics=task is not None)
        if columns:
            drafts.append(_draft(dataset, encoder, group, columns, one_task=task is not None))
    if sort is not None and drafts and not any(_sort_columns(draft, sort) for draft in drafts):
        columns_known = {column.name for draft in drafts for column, _ in draft.filled}
        raise UnknownNameError("column", sort, columns_known | {"method"})
    return [_finish(draft, sort) for draft in drafts]


@dataclass(frozen=True)
class _Draft:
    """A table before its rows are sorted."""

    dataset: str
    encoder: str
    entries: Sequence[Entry]
    kinds: Mapping[str, RowKind]
    marks: Mapping[str, tuple[str, ...]]  # row -> its marks
    filled: Sequence[Filled]
    counted: Sequence[Column]  # the columns that count for mean and mean rank
    chance: Sequence[TableCell]


def _of_task(entries: Sequence[Entry], task: str | None) -> list[Entry]:
    if task is None:
        return list(entries)
    of_task = [entry for entry in entries if task in entry.task_names]
    if not of_task:
        raise UnknownNameError("task", task, {entry.names["task"] for entry in entries})
    return of_task


def _metrics(entries: Iterable[Entry]) -> set[str]:
    """Return all values that `metric` may have: "map_cosine", "retrieval:map_cosine"."""
    names = set()
    for entry in entries:
        for metric in entry.record.scores if entry.record else ():
            names |= {metric, *(f"{task}:{metric}" for task in entry.task_names)}
    return names


def task_columns(entries: Sequence[Entry], metric: str | None, *, all_metrics: bool) -> list[Column]:
    """Return the columns of each task: its first metric, all its metrics, or the one that `metric` names.

    A task has several columns for its first metric, where its records disagree about metric, unit or direction. Stale
    records say which columns there are only where no other record does.
    """
    by_task: dict[str, list[Entry]] = {}
    for entry in entries:
        by_task.setdefault(entry.names["task"], []).append(entry)
    named = []
    for task, of_task in by_task.items():
        done = [entry.finished_record for entry in of_task if entry.finished_record]
        stale = [entry.record for entry in of_task if entry.record and entry.state == "stale"]
        task_names = set[str]().union(*(entry.task_names for entry in of_task))
        columns: list[Column] = []
        for records in (done, stale):
            if records and not columns:
                columns = _columns(task, records, task_names, metric, all_metrics)
        if not columns and metric is None:
            columns = [Column(name=task, kind="task", task=task)]
        for column in columns:
            named.append(column if len(columns) == 1 else replace(column, name=f"{task}:{column.metric}"))
    return named


def _columns(
    task: str, records: Sequence[Record], task_names: Container[str], metric: str | None, all_metrics: bool
) -> list[Column]:
    """Return a column for each metric, unit and direction that the records of a task show.

    Whether the task ranks, and its family, is what the newest record says.
    """
    newest = max(records, key=lambda record: record.provenance.ended or "")
    columns: dict[tuple[object, ...], Column] = {}
    for record in records:
        for score in _shown_scores(record, task_names, metric, all_metrics):
            column = Column(
                name=task,
                kind="task",
                task=task,
                metric=score.metric,
                unit=score.unit,
                higher_is_better=score.higher_is_better,
                ranks=newest.ranks,
                family=newest.family,
            )
            columns.setdefault((score.metric, score.unit, score.higher_is_better), column)
    return list(columns.values())


def _shown_scores(
    record: Record, task_names: Container[str], metric: str | None, all_metrics: bool
) -> list[RecordScore]:
    """Return the scores of a record that get a column."""
    scores = list(record.scores.values())
    if metric is None:
        return scores if all_metrics else scores[:1]
    task, _, name = metric.rpartition(":")
    if task and task not in task_names:
        return []
    return [score for score in scores if score.metric == name]


def _draft(dataset: str, encoder: str, group: Sequence[Entry], columns: Sequence[Column], *, one_task: bool) -> _Draft:
    """Make all columns with all their cells; a table of one task has no other columns."""
    tasks = {column.task for column in columns}
    entries = [entry for entry in group if entry.names["task"] in tasks]
    rows = by_row(entries)
    kinds = {label: _kind(row) for label, row in rows.items()}
    marks = {label: _marks(row) for label, row in rows.items()}
    candidates = [label for label, row in rows.items() if may_rank(row)]
    values = [column_values(column, rows, candidates) for column in columns]
    levels, filled = chance(values), [fill(of_column) for of_column in values]
    if one_task:
        filled = [(replace(column, name=column.metric, task=""), cells) for column, cells in filled]
        return _Draft(dataset, encoder, entries, kinds, marks, filled, (), levels)
    counted = counted_columns(values)
    mean = mean_over_tasks(counted)
    if mean is not None:
        filled.append(mean)
        levels.append(TableCell(text=show(0.0, "fraction", 1), mean=0.0))
    filled += [mean_rank(counted), coverage(values, rows), *cost(rows)]
    return _Draft(dataset, encoder, entries, kinds, marks, filled, [of.column for of in counted], levels)


def uses_labels(entry: Entry) -> bool:
    """Return whether labels or ground-truth factors took part in training, as far as the entry's record tells."""
    return bool(entry.record and (entry.record.uses_labels or entry.record.uses_factors))


def may_rank(row: Iterable[Entry]) -> bool:
    """Return whether a row may be ranked: it is trained without labels, and is not one network alone."""
    return not any(uses_labels(entry) or entry.is_one_network for entry in row)


def _kind(row: Sequence[Entry]) -> RowKind:
    if any(map(uses_labels, row)):
        return "labels"
    return "method" if may_rank(row) else "network"


def _marks(row: Sequence[Entry]) -> tuple[str, ...]:
    """Return what the records of a row say of its training: "labels", "factors", "transductive", "one network"."""
    records = [entry.record for entry in row if entry.record]
    marks = {
        "labels": any(record.uses_labels for record in records),
        "factors": any(record.uses_factors for record in records),
        "transductive": any(record.transductive for record in records),
        "one network": any(entry.is_one_network for entry in row),
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def _sort_columns(draft: _Draft, sort: str) -> list[Filled]:
    """Return the column of this name, if there is one; "method" is a column without cells."""
    if plain_name(sort) == "method":
        return [(Column(name="method", kind="cost"), {})]
    return [(column, cells) for column, cells in draft.filled if plain_name(sort) in column.spellings][:1]


def _finish(draft: _Draft, sort: str | None) -> Table:
    """Sort the rows, number the reasons in reading order, and add the chance level as the last row."""
    sort_columns = _sort_columns(draft, sort) if sort is not None else []
    if not sort_columns:
        ranks = [(column, cells) for column, cells in draft.filled if column.kind == "rank"]
        sort_columns = [*ranks, *draft.filled[:1]]

    def sort_key(label: str) -> tuple[list[tuple[bool, bool, float]], str]:
        key = []
        for column, cells in sort_columns:
            cell = cells.get(label, TableCell())
            mean = cell.mean or 0.0
            key.append((cell.mean is None, not cell.ranked, -mean if column.higher_is_better else mean))
        return key, label

    notes: dict[str, int] = {}
    rows = []
    for label in sorted(draft.kinds, key=sort_key):
        cells = [column_cells.get(label, TableCell(state="missing")) for _, column_cells in draft.filled]
        shown = tuple(_with_note(cell, notes) for cell in cells)
        rows.append(Row(name=label, kind=draft.kinds[label], marks=draft.marks[label], cells=shown))
    if any(cell.text for cell in draft.chance):
        blank = [TableCell(state="missing")] * (len(draft.filled) - len(draft.chance))
        rows.append(Row(name="chance", kind="chance", cells=(*draft.chance, *blank)))
    columns = tuple(column for column, _ in draft.filled)
    return Table(
        dataset=draft.dataset,
        encoder=draft.encoder,
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        footer=tuple(footer(draft.entries, columns, rows, draft.counted)),
    )


def _with_note(cell: TableCell, notes: dict[str, int]) -> TableCell:
    """Give a cell the number of its reason; equal reasons share one number."""
    return replace(cell, note=notes.setdefault(cell.reason, len(notes) + 1)) if cell.reason else cell
