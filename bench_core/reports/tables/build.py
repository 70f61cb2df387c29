"""Entries -> tables: rows are methods, columns are tasks, then columns computed from them, then cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench_core.errors import UnknownNameError
from bench_core.reports.tables.cells import ColumnValues, column_values, fill, show
from bench_core.reports.tables.columns import Wanted, check_wanted, task_columns
from bench_core.reports.tables.encoder_rows import RowLabels, by_method_and_encoder
from bench_core.reports.tables.entries import Entry, by_row, by_table, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.footer import footer, protocols
from bench_core.reports.tables.model import Column, Row, Table, TableCell, plain_name
from bench_core.reports.tables.summary_columns import (
    COSTS,
    Filled,
    chance,
    cost,
    counted_columns,
    coverage,
    family_ranks,
    mean_over_tasks,
    mean_rank,
)
from bench_core.reports.tables.tuning_lines import TableTuning

RowKind = Literal["labels", "method", "network"]
_COMPUTED = {"mean", "mean rank", "rank", "tasks", *(cost_column.column.name for cost_column in COSTS)}


def build(
    entries: Iterable[Entry],
    *,
    columns: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    sort: str | None = None,
    decimals: int | None = None,
    hold_encoder: bool = True,
    tuning: TableTuning | None = None,
    every: bool = False,
) -> list[Table]:
    """Build one table for each pair of dataset and encoder, in the order of the entries.

    Args:
        entries: Entries of a plan, or of `entries_of`; tasks keep their order.
        columns: Show these alone, in this order: "knn", "linear:top1", "outliers:*", "mean". By default the first
            metric of each task, then computed columns and cost.
        methods: Show these rows alone; they are ranked among themselves.
        sort: A column or "method"; by default mean rank, then the first column. Rows that are not ranked in it come
            after those that are; blanks are last.
        decimals: Digits after the point of scores; by default as many as each column needs.
        hold_encoder: False for one table for each dataset, whose rows are pairs of method and encoder.
        tuning: How the rows of the board were tuned; None says nothing of it.
        every: Show all metrics of each task, and the mean rank in each family, too; without `columns`. What counts for
            mean and mean rank stays the same.

    Raises:
        UnknownNameError: No table has this column, no record this metric, no entry is of this task or row.
    """
    entries = with_distinct_names(in_one_entry(list(entries)), hold_encoder=hold_encoder)
    labels: RowLabels = {}
    entries = _of_methods(entries, methods)
    if not hold_encoder:
        entries, labels = by_method_and_encoder(entries)
    wanted = None if columns is None else [Wanted.parse(column) for column in columns]
    if wanted is not None:
        check_wanted(wanted, entries, _COMPUTED)
    drafts = []
    for (dataset, encoder), group in by_table(entries).items():
        of_tasks = task_columns(group, wanted, all_metrics=every) or task_columns(group)
        if of_tasks:
            drafts.append(_draft(dataset, encoder, group, of_tasks, wanted, decimals, tuning, every=every))
    if sort is not None and drafts and not any(_sort_columns(draft, sort) for draft in drafts):
        columns_known = {column.name for draft in drafts for column, _ in draft.filled}
        raise UnknownNameError("column", sort, columns_known | {"method"})
    return [_finish(draft, sort, labels) for draft in drafts]


def _of_methods(entries: list[Entry], methods: Sequence[str] | None) -> list[Entry]:
    if methods is None:
        return entries
    known = {name for entry in entries for name in _method_names(entry)}
    for method in methods:
        if method not in known:
            raise UnknownNameError("row", method, {entry.names["method"] for entry in entries})
    return [entry for entry in entries if _method_names(entry) & set(methods)]


def _method_names(entry: Entry) -> set[str]:
    """Return the label of the row, and its name in the request that the record was made for."""
    return {entry.names["method"], entry.record.names["method"] if entry.record else entry.names["method"]}


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
    tuned: Sequence[str]  # lines on the tuning of the rows


def _draft(
    dataset: str,
    encoder: str,
    group: Sequence[Entry],
    columns: Sequence[Column],
    wanted: Sequence[Wanted] | None,
    decimals: int | None,
    tuning: TableTuning | None,
    *,
    every: bool,
) -> _Draft:
    """Make all columns with all their cells, and keep those that are wanted."""
    tasks = {column.task for column in columns}
    entries = [entry for entry in group if entry.names["task"] in tasks]
    rows = by_row(entries)
    kinds = {label: _kind(row) for label, row in rows.items()}
    marks = {label: (*_marks(row), *_tuning_mark(row, tuning)) for label, row in rows.items()}
    candidates = [label for label, row in rows.items() if may_rank(row)]
    values = [replace(column_values(column, rows, candidates), digits=decimals) for column in columns]
    levels, filled = chance(values), [fill(of_column) for of_column in values]
    if wanted is not None and len(tasks) == 1 and all(one.metric == "*" for one in wanted):
        filled = [(replace(column, name=column.metric, task=""), cells) for column, cells in filled]
    first = _of_first_metrics(values, group) if every else values
    counted = counted_columns(first if wanted is None else _first_of_each_task(values))
    of_families = family_ranks(counted) if every else []
    computed = [mean_rank(counted), *of_families, coverage(first, rows), *cost(rows)]
    mean = mean_over_tasks(counted)
    if mean is not None:
        computed.insert(0, mean)
        levels.append(TableCell(text=show(0.0, "fraction", 1 if decimals is None else decimals), mean=0.0))
    levels += [TableCell(state="missing")] * (len(filled) + len(computed) - len(levels))
    filled += computed
    if wanted is not None:
        order = _order(filled, columns, entries, wanted)
        filled, levels = [filled[k] for k in order], [levels[k] for k in order]
    tuned = tuning.lines(rows) if tuning else []
    return _Draft(dataset, encoder, entries, kinds, marks, filled, [of.column for of in counted], levels, tuned)


def _of_first_metrics(values: Sequence[ColumnValues], group: Sequence[Entry]) -> list[ColumnValues]:
    """Return the columns that a table has by default: those of the first metric of each task."""
    by_default = {_identity(column) for column in task_columns(group)}
    return [of_column for of_column in values if _identity(of_column.column) in by_default]


def _first_of_each_task(values: Sequence[ColumnValues]) -> list[ColumnValues]:
    """Return the first column of each task, so that one of many metrics does not count many times."""
    return list({of_column.column.task: of_column for of_column in reversed(values)}.values())[::-1]


def _order(
    filled: Sequence[Filled], columns: Sequence[Column], entries: Sequence[Entry], wanted: Sequence[Wanted]
) -> list[int]:
    """Return the numbers of the wanted columns in their order; `columns` are those of tasks, the first ones."""
    numbers = {_identity(column): number for number, column in enumerate(columns)}
    order: dict[int, None] = {}
    for one in wanted:
        of_tasks = [numbers[_identity(column)] for column in task_columns(entries, [one])]
        computed = range(len(columns), len(filled)) if one.metric is None and not of_tasks else ()
        named = [number for number in computed if plain_name(one.task) in filled[number][0].spellings]
        order |= dict.fromkeys([*of_tasks, *named])
    return list(order)


def _identity(column: Column) -> tuple[object, ...]:
    return column.task, column.metric, column.unit, column.higher_is_better


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


def _tuning_mark(row: Sequence[Entry], tuning: TableTuning | None) -> list[str]:
    return [mark] if tuning and (mark := tuning.mark(row)) else []


def _sort_columns(draft: _Draft, sort: str) -> list[Filled]:
    """Return the column of this name, if there is one; "method" is a column without cells."""
    if plain_name(sort) == "method":
        return [(Column(name="method", kind="cost"), {})]
    return [(column, cells) for column, cells in draft.filled if plain_name(sort) in column.spellings][:1]


def _finish(draft: _Draft, sort: str | None, labels: RowLabels) -> Table:
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
        method, encoder = labels.get((draft.dataset, label), (label, ""))
        row = Row(name=method, encoder=encoder, kind=draft.kinds[label], marks=draft.marks[label], cells=shown)
        rows.append(row)
    if any(cell.text for cell in draft.chance):
        blank = [TableCell(state="missing")] * (len(draft.filled) - len(draft.chance))
        rows.append(Row(name="chance", kind="chance", cells=(*draft.chance, *blank)))
    columns = tuple(column for column, _ in draft.filled)
    of_tasks = protocols(draft.entries)
    return Table(
        dataset=draft.dataset,
        encoder=draft.encoder,
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        footer=(*of_tasks, *draft.tuned, *footer(draft.entries, columns, rows, draft.counted)),
        protocols=len(of_tasks),
    )


def _with_note(cell: TableCell, notes: dict[str, int]) -> TableCell:
    """Give a cell the number of its reason; equal reasons share one number."""
    return replace(cell, note=notes.setdefault(cell.reason, len(notes) + 1)) if cell.reason else cell
