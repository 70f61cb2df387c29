"""Tables as Markdown: whole ones, and those of a board's page, where the columns of many tasks are split by family."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

from tabulate import tabulate

from bench_core.reports.tables import escape
from bench_core.reports.tables.model import Column, Table, TableCell

_MOST_TASKS = 6  # columns of tasks beside each other on a board's page
_FOLD = "<details><summary>How the numbers were made</summary>\n\n{}\n\n</details>"


def whole_tables(tables: Sequence[Table]) -> str:
    """Format tables as Markdown, each as one with its notes below.

    Args:
        tables: Tables of `build`.

    Returns:
        Text that ends with a newline.
    """
    return _blocks(tables, lambda table: [_titled(table)], "{}")


def page_tables(tables: Sequence[Table]) -> str:
    """Format tables for a board's page: those with many tasks are split by family, and notes lie below a fold.

    Args:
        tables: Tables of `build`.

    Returns:
        Text that ends with a newline.
    """
    return _blocks(tables, _split, _FOLD)


def with_note(text: str, cell: TableCell) -> str:
    """Append the number of a cell's note: "failed [2]"."""
    return text if cell.note is None else f"{text} [{cell.note}]".lstrip()


def _blocks(tables: Sequence[Table], drawn: Callable[[Table], list[str]], fold: str) -> str:
    """Join what is drawn of each table, and its notes within a fold."""
    blocks = []
    for table in tables:
        if table.skipped and len(tables) > 1:  # beside others it has nothing but reasons: one line
            reasons = escape.markdown(f"skipped, {'; '.join(table.notes)}")
            blocks.append(f"{_title(table.title)}: {reasons}")
            continue
        blocks += drawn(table)
        lines = [f"[{number}] {escape.markdown(note)}" for number, note in enumerate(table.notes, 1)]
        lines += map(escape.markdown, table.footer)
        if lines:
            blocks.append(fold.format("\n".join(f"- {line}" for line in lines)))
    return "\n\n".join(blocks or ["No records."]) + "\n"


def _split(table: Table) -> list[str]:
    """Return a table whole where its tasks fit beside each other; else what is over all of them, then each family."""
    tasks = [column for column in table.columns if column.kind == "task"]
    if len(tasks) <= _MOST_TASKS:
        return [_titled(table)]
    over_all = [column for column in table.columns if column.kind != "task"]
    parts = [("all tasks", over_all), *_families(tasks)]
    return [_titled(_only(table, columns), name) for name, columns in parts if columns]


def _families(tasks: Sequence[Column]) -> list[tuple[str, Sequence[Column]]]:
    """Return the columns of each family of several, then all others; of too many, as even parts."""
    families: dict[str, list[Column]] = {}
    for column in tasks:
        families.setdefault(column.family, []).append(column)
    large = {name: columns for name, columns in families.items() if name and len(columns) > 1}
    others = [column for column in tasks if column.family not in large]
    return [
        (name, part) for name, columns in [*large.items(), ("other tasks", others)] for part in _even_parts(columns)
    ]


def _even_parts(columns: Sequence[Column]) -> list[Sequence[Column]]:
    """Cut columns into the fewest parts that fit, as even as they can be."""
    size = ceil(len(columns) / max(1, ceil(len(columns) / _MOST_TASKS)))
    return [columns[start : start + size] for start in range(0, len(columns), max(1, size))]


def _only(table: Table, columns: Sequence[Column]) -> Table:
    """Return a table with some of its columns, under the same rows."""
    kept = [number for number, column in enumerate(table.columns) if column in columns]
    rows = tuple(replace(row, cells=tuple(row.cells[number] for number in kept)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[number] for number in kept), rows=rows)


def _titled(table: Table, part: str = "") -> str:
    title = f"{table.title}: {part}" if part else table.title
    return f"{_title(title)}\n\n{_grid(table)}"


def _title(text: str) -> str:
    return f"**{escape.markdown(text)}**"


def _grid(table: Table) -> str:
    """Draw columns and rows by tabulate, which must not read numbers into names such as 1e5."""
    return tabulate(
        [[*map(escape.markdown, row.head[: len(table.heads)]), *map(_cell, row.cells)] for row in table.rows],
        headers=[*table.heads, *(escape.markdown(column.title) for column in table.columns)],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[*("left" for _ in table.heads), *("right" for _ in table.columns)],
    )


def _cell(cell: TableCell) -> str:
    text = escape.markdown(cell.text)
    return with_note(f"**{text}**" if cell.bold else text, cell)
