"""Takes some rows and columns out of a table; numbers, marks and ranks stay those of the whole table."""

from collections.abc import Callable, Collection
from dataclasses import replace

from bench_core.reports.tables.model import Column, Row, Table


def part_of(table: Table, rows: Collection[str], columns: Callable[[Column], bool]) -> Table:
    """Return a table of some rows and the chance level, without its footer; its notes are numbered anew.

    Args:
        table: The whole table.
        rows: Names of the rows.
        columns: Whether a column is kept.
    """
    kept = [number for number, column in enumerate(table.columns) if columns(column)]
    shown = [row for row in table.rows if row.name in rows or row.kind == "chance"]
    old_notes = sorted({row.cells[k].note or 0 for row in shown for k in kept} - {0})
    new_note = {old: new for new, old in enumerate(old_notes, 1)}

    def part_of_row(row: Row) -> Row:
        cells = [row.cells[k] for k in kept]
        return replace(row, cells=tuple(replace(cell, note=new_note.get(cell.note or 0)) for cell in cells))

    return replace(
        table,
        columns=tuple(table.columns[k] for k in kept),
        rows=tuple(part_of_row(row) for row in shown),
        notes=tuple(table.notes[old - 1] for old in old_notes),
        footer=(),
        protocols=0,
    )
