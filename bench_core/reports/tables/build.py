"""Entries -> tables: rows are methods, columns are tasks, then what sums them up, then cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench_core.errors import UnknownNameError
from bench_core.reports.tables.cells import fill, find
from bench_core.reports.tables.entries import Entry, distinct
from bench_core.reports.tables.footer import footer
from bench_core.reports.tables.model import Cell, Column, Row, Table, plain_name
from bench_core.reports.tables.summary_columns import (
    Filled,
    chance,
    cost,
    coverage,
    mean_chance,
    mean_over_tasks,
    mean_rank,
)


def build(
    entries: Iterable[Entry], *, metric: str | None = None, sort: str | None = None, task: str | None = None
) -> list[Table]:
    """One table for each pair of dataset and encoder, in the order in which they come.

    Args:
        entries: Of a plan joined with a store, or of `entries_of`. Tasks stand in the order of their coming.
        metric: Shown in place of each task's first: "map_cosine" of all tasks that have it, or of one:
            "retrieval:map_cosine".
        sort: A column or "method"; by default mean rank, then the first column. Blanks are last.
        task: Only this one, with all its metrics, and nothing that sums up or costs.

    Raises:
        UnknownNameError: No record has this metric; no table has this column; no entry is of this task.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in _of_task(distinct(list(entries)), task):
        groups.setdefault((entry.names["dataset"], entry.names["encoder"]), []).append(entry)
    if metric is not None:
        known = {name for group in groups.values() for name in _metrics(group)}
        if metric not in known:
            raise UnknownNameError("metric", metric, known)
    drafts = []
    for (dataset, encoder), group in groups.items():
        columns = task_columns(group, metric, every=task is not None)
        if columns:
            drafts.append(_draft(dataset, encoder, group, columns, alone=task is not None))
    if sort is not None and drafts and not any(_sorts_by(draft, sort) for draft in drafts):
        columns_known = {column.name for draft in drafts for column, _ in draft.filled}
        raise UnknownNameError("column", sort, columns_known | {"method"})
    return [_finish(draft, sort) for draft in drafts]


@dataclass(frozen=True)
class _Draft:
    """A table before its rows are put in order."""

    dataset: str
    encoder: str
    entries: Sequence[Entry]
    with_labels: Mapping[str, bool]
    filled: Sequence[Filled]
    chance: Sequence[Cell]


def _of_task(entries: Sequence[Entry], task: str | None) -> list[Entry]:
    if task is None:
        return list(entries)
    found = [entry for entry in entries if task in _spellings(entry)]
    if not found:
        raise UnknownNameError("task", task, {entry.names["task"] for entry in entries})
    return found


def _metrics(entries: Iterable[Entry]) -> set[str]:
    """All that `metric` may be: "map_cosine", "retrieval:map_cosine"."""
    names = set()
    for entry in entries:
        if entry.state == "done" and entry.record is not None:
            for score in entry.record["scores"]:
                names |= {score["metric"], *(f"{task}:{score['metric']}" for task in _spellings(entry))}
    return names


def _spellings(entry: Entry) -> set[str]:
    """A task's label, and the name under which it was asked for."""
    return {entry.names["task"], str(((entry.record or {}).get("names") or entry.names)["task"])}


def task_columns(entries: Sequence[Entry], metric: str | None, *, every: bool) -> list[Column]:
    """For each task its first metric (several, where its records disagree), every one, or the one asked for."""
    of, _, wanted = (metric or "").rpartition(":")
    by_task: dict[str, dict[Column, None]] = {}
    for entry in entries:
        task = entry.names["task"]
        columns = by_task.setdefault(task, {})
        if entry.state != "done" or entry.record is None:
            continue
        scores = entry.record["scores"]
        if metric is None:
            chosen = scores if every else scores[:1]
        elif of and of not in _spellings(entry):
            chosen = []
        else:
            chosen = [score for score in scores if score["metric"] == wanted]
        for score in chosen:
            column = Column(
                name=task,
                kind="task",
                task=task,
                metric=score["metric"],
                unit=score["unit"],
                higher_is_better=score["higher_is_better"],
            )
            columns.setdefault(column)
    if metric is None:
        for task, columns in by_task.items():
            if not columns:
                columns[Column(name=task, kind="task", task=task)] = None
    return [
        column if len(columns) == 1 else replace(column, name=f"{task}:{column.metric}")
        for task, columns in by_task.items()
        for column in columns
    ]


def _draft(dataset: str, encoder: str, group: Sequence[Entry], columns: Sequence[Column], *, alone: bool) -> _Draft:
    """All columns with all their cells; those of one task alone have nothing beside them."""
    tasks = {column.task for column in columns}
    entries = [entry for entry in group if entry.names["task"] in tasks]
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.names["method"], []).append(entry)
    with_labels = {label: any(uses_labels(entry) for entry in own) for label, own in rows.items()}
    ranked = [label for label in rows if not with_labels[label]]
    found = [{label: find(own, column) for label, own in rows.items()} for column in columns]
    levels = chance(columns, entries, found)
    filled: list[Filled] = [fill(column, by_row, ranked) for column, by_row in zip(columns, found, strict=True)]
    if alone:
        filled = [(replace(column, name=column.metric, task=""), cells) for column, cells in filled]
        return _Draft(dataset, encoder, entries, with_labels, filled, levels)
    mean = mean_over_tasks(columns, found, ranked)
    if mean is not None:
        filled.append(mean)
        levels.append(mean_chance(levels))
    filled += [mean_rank(columns, found, ranked), coverage(found, rows), *cost(rows)]
    return _Draft(dataset, encoder, entries, with_labels, filled, levels)


def uses_labels(entry: Entry) -> bool:
    """Whether labels took part in training."""
    return bool(((entry.record or {}).get("facts") or {}).get("uses_labels"))


def _sorts_by(draft: _Draft, sort: str) -> list[Filled]:
    """The column of this name; "method" is one without cells."""
    if plain_name(sort) == "method":
        return [(Column(name="method", kind="cost"), {})]
    return [(column, cells) for column, cells in draft.filled if plain_name(sort) in column.spellings][:1]


def _finish(draft: _Draft, sort: str | None) -> Table:
    """Rows in order, reasons numbered as they are read, the chance level last."""
    keys = _sorts_by(draft, sort) if sort is not None else []
    keys = keys or [(c, cells) for c, cells in draft.filled if c.kind == "rank"] + list(draft.filled[:1])

    def place(label: str) -> tuple[list[tuple[bool, float]], str]:
        means = [(cells.get(label, Cell()).mean, bool(c.higher_is_better)) for c, cells in keys]
        return [(mean is None, -(mean or 0.0) if higher else mean or 0.0) for mean, higher in means], label

    notes: dict[str, int] = {}
    rows = []
    for label in sorted(draft.with_labels, key=place):
        cells = [by_row.get(label, Cell(state="missing")) for _, by_row in draft.filled]
        noted = [_noted(cell, notes) for cell in cells]
        kind: Literal["labels", "method"] = "labels" if draft.with_labels[label] else "method"
        rows.append(Row(name=label, kind=kind, cells=tuple(noted)))
    if any(cell.text for cell in draft.chance):
        blank = [Cell(state="missing")] * (len(draft.filled) - len(draft.chance))
        rows.append(Row(name="chance", kind="chance", cells=(*draft.chance, *blank)))
    columns = tuple(column for column, _ in draft.filled)
    return Table(
        dataset=draft.dataset,
        encoder=draft.encoder,
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        footer=tuple(footer(draft.entries, columns, rows)),
    )


def _noted(cell: Cell, notes: dict[str, int]) -> Cell:
    """With the number of its reason; equal reasons share one."""
    return replace(cell, note=notes.setdefault(cell.reason, len(notes) + 1)) if cell.reason else cell
