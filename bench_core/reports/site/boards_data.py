"""The data of a board's page: its tables as JSON values, and the values of each cell by seed.

All numbers, intervals, marks and ranks come from `bench_core.reports.tables`; nothing is computed here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.reports.pages.reported_numbers import component_name
from bench_core.reports.site.component_views import method_address
from bench_core.reports.site.content import SiteBoard, address_name
from bench_core.reports.tables.cells import score_of, seed_values
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, Row, Table, TableCell
from bench_core.reports.tables.tuning_lines import name_on_board

_DIGITS = 9  # significant ones of a number in data: more than any table shows

Rows = Mapping[str, Sequence[Entry]]  # label of a row -> its cells


@dataclass(frozen=True)
class BoardTable:
    """A table with all that pages say of it.

    Attributes:
        table: Every metric of every task, then mean, ranks, number of tasks and cost.
        by_default: The same rows with the columns that `bench table` shows.
        rows: The cells of each row.
    """

    table: Table
    by_default: Table
    rows: Rows

    def cells_of(self, row: Row) -> Sequence[Entry]:
        """Return the cells of a row; the chance level has none."""
        return () if row.kind == "chance" else self.rows[row.name]

    @property
    def notes(self) -> list[str]:
        """The reasons of all cells, those of columns that `bench table` shows first, in its order."""
        return list(dict.fromkeys([*self.by_default.notes, *self.table.notes]))

    @property
    def ids(self) -> list[str]:
        """A name for each column, all different: "linear:top1", "mean"."""
        names = [column_id(column) for column in self.table.columns]
        return [name if names.index(name) == number else f"{name}#{number}" for number, name in enumerate(names)]


def board_tables(board: SiteBoard) -> list[BoardTable]:
    """Return all tables of a board, each with its rows' cells."""
    return [
        BoardTable(table, short, board.rows[table.dataset, table.encoder])
        for table, short in zip(board.full_tables, board.tables, strict=True)
    ]


def board_data(board: SiteBoard, tables: Sequence[BoardTable]) -> dict[str, Any]:
    """Return the tables of a board as a JSON value.

    Args:
        board: The board.
        tables: Its tables.
    """
    of_tables = [_table(number, table, board) for number, table in enumerate(tables)]
    return {"name": board.name, "title": board.title, "tables": of_tables}


def seeds_data(tables: Iterable[BoardTable], addresses: Mapping[str, str]) -> list[Any]:
    """Return the values by seed: [table][row][column] -> [[seed, value, address of its page or ""], ...].

    Columns that are computed from others have none. Of a mean over folds no single page tells.

    Args:
        tables: The tables of a board.
        addresses: Key of a record -> address of its page.
    """
    return [[dict(_seeds(of.cells_of(row), of, addresses)) for row in of.table.rows] for of in tables]


def column_id(column: Column) -> str:
    """Return the name of a column as `bench table --columns` takes it: "linear:top1", "mean"."""
    return ":".join(filter(None, (column.task, column.metric))) if column.kind == "task" else column.name


def _table(number: int, of: BoardTable, board: SiteBoard) -> dict[str, Any]:
    table = of.table
    shown = {column_id(column) for column in of.by_default.columns if column.kind != "cost"}
    return {
        "id": number,
        "title": table.title,
        "dataset": table.dataset,
        "encoder": table.encoder,
        "columns": [
            {**_column(column, of.rows), "id": name, "shown": name in shown}
            for name, column in zip(of.ids, table.columns, strict=True)
        ],
        "rows": [_row(number, row, of, board) for number, row in enumerate(table.rows)],
        "cells": [[_cell(cell, column) for column, cell in _pairs(row, table)] for row in table.rows],
        "notes": of.notes,
        "footer": list(of.by_default.footer),
    }


def _pairs(row: Row, table: Table) -> Iterator[tuple[Column, TableCell]]:
    return zip(table.columns, row.cells, strict=True)


def _column(column: Column, rows: Rows) -> dict[str, Any]:
    return {
        "id": "",
        "name": column.name,
        "title": column.title,
        "kind": column.kind,
        "task": column.task,
        "metric": column.metric,
        "unit": column.unit,
        "family": column.family,
        "up": column.higher_is_better,
        "ranks": column.ranks,
        "shown": True,
        "embedding": _embedding(column, rows),
        "seeds": column.seeds,
        "href": _task_page(column, rows),
    }


def _task_page(column: Column, rows: Rows) -> str:
    """Return the address of the page of the task behind a column; "" where no cell tells."""
    entries = (entry for of_row in rows.values() for entry in of_row if entry.names["task"] == column.task)
    name = next((name for entry in entries if (name := component_name(entry, "task"))), "")
    return f"tasks/{address_name(name)}.html" if name else ""


def _embedding(column: Column, rows: Rows) -> str:
    """Return the embedding that a column's scores were read from; of several the one of most scores."""
    if column.kind != "task":
        return ""
    found: Counter[str] = Counter()
    for entries in rows.values():
        for entry in entries:
            if entry.record and entry.names["task"] == column.task and (score := score_of(entry.record, column)):
                found[score.embedding or ""] += 1
    return min(found, key=lambda name: (-found[name], name), default="")


def _row(number: int, row: Row, of: BoardTable, board: SiteBoard) -> dict[str, Any]:
    entries = of.cells_of(row)
    method = next(filter(None, (component_name(entry, "method") for entry in entries)), "")
    tuned = board.board.tuned_row(name_on_board(entries)) if board.board and entries else None
    ranks = {
        column.family: _number(cell.mean)
        for column, cell in _pairs(row, of.table)
        if column.kind == "family_rank" and cell.mean is not None
    }
    return {
        "id": number,
        "name": row.name,
        "label": row.label,
        "encoder": row.encoder,
        "kind": row.kind,
        "marks": list(row.marks),
        "seeds": len({entry.seed for entry in entries if entry.finished_record}),
        "trials": len(tuned.tried) if tuned else None,
        "labels": row.kind == "labels",
        "family_ranks": ranks,
        "method": method,
        "href": method_address(method),
    }


def _cell(cell: TableCell, column: Column) -> dict[str, Any]:
    values = {
        "t": cell.text,
        "v": _number(cell.mean),
        "h": _number(cell.halfwidth),
        "lo": _number(cell.low),
        "hi": _number(cell.high),
        "n": cell.n or None,
        "r": 1 if cell.ranked and cell.mean is not None and column.kind == "task" else None,
        "b": 1 if cell.bold else None,
        "s": "" if cell.state == "done" else cell.state,
        "c": cell.caveat,
        "w": cell.reason,
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def _seeds(
    entries: Sequence[Entry], of: BoardTable, addresses: Mapping[str, str]
) -> Iterator[tuple[str, list[list[Any]]]]:
    """Yield each column of a task in which a row has values, with them."""
    by_task: dict[str, list[Entry]] = {}
    for entry in entries:
        by_task.setdefault(entry.names["task"], []).append(entry)
    for name, column in zip(of.ids, of.table.columns, strict=True):
        if column.kind == "task" and (values := seed_values(by_task.get(column.task, ()), column)).values:
            yield (
                name,
                [
                    [seed, _number(value), addresses.get(values.records[seed].key, "")]
                    for seed, value in sorted(values.values.items())
                ],
            )


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
