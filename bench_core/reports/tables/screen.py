"""Tables as plain text that fits a terminal: wide ones go on in a further block under the same names of rows."""

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from bench_core.reports.tables import escape
from bench_core.reports.tables.model import Table, TableCell

_GAP = 2  # blanks between columns
_PADDING = 2  # blanks beside a header


@dataclass(frozen=True)
class Screen:
    """Choice of how much of a table is shown as plain text.

    Attributes:
        width: Characters of a line; None for no end.
        protocols: Show how each task measures in full; else one line of it for each task.
        cost: Show the columns of cost.
    """

    width: int | None = None
    protocols: bool = True
    cost: bool = True


def on_screen(tables: Sequence[Table], screen: Screen) -> str:
    """Format tables as plain text.

    Args:
        tables: Tables of `build`.
        screen: Width and what is shown.

    Returns:
        Text that ends with a newline.
    """
    blocks = []
    for table in tables:
        title = escape.one_line(table.title)
        if table.skipped and len(tables) > 1:
            told = f"{title}: {escape.one_line('skipped, ' + '; '.join(table.notes))}"
            blocks.append(_wrapped(told, screen.width))
            continue
        shown = table if screen.cost else without_cost(table)
        blocks.append("\n\n".join([title, *_grids(shown, screen.width)]))
        lines = [f"[{number}] {note}" for number, note in enumerate(shown.notes, 1)]
        lines += [*_protocols(shown, screen), *shown.footer[shown.protocols :]]
        blocks.append("\n".join(_wrapped(escape.one_line(line), screen.width) for line in lines))
    return "\n\n".join(blocks or ["No records."]) + "\n"


def without_cost(table: Table) -> Table:
    """Return a table without its columns of cost, unless it has no others."""
    kept = [number for number, column in enumerate(table.columns) if column.kind != "cost"]
    if not kept or len(kept) == len(table.columns):
        return table
    rows = tuple(replace(row, cells=tuple(row.cells[number] for number in kept)) for row in table.rows)
    footer = tuple(line for line in table.footer if line != "Cost: medians over seeds.")
    return replace(table, columns=tuple(table.columns[number] for number in kept), rows=rows, footer=footer)


def _grids(table: Table, width: int | None) -> list[str]:
    """Draw the columns in as many blocks as the width asks for, each under the same names of rows."""
    heads = [[head, *(escape.one_line(row.head[k]) for row in table.rows)] for k, head in enumerate(table.heads)]
    columns = []
    for number, column in enumerate(table.columns):
        cells = [_cell(row.cells[number]) for row in table.rows]
        title = escape.one_line(column.title)
        columns.append([title if width is None else _over_lines(title, cells), *cells])
    blocks: list[list[list[str]]] = [[]]
    left = _left(heads, width)
    for texts in columns:
        if width is not None and len(blocks[-1]) and left < _width(texts):
            blocks.append([])
            left = _left(heads, width)
        blocks[-1].append(texts)
        left -= _width(texts)
    return [_grid(heads, block) for block in blocks]


def _left(heads: Sequence[Sequence[str]], width: int | None) -> int:
    """Return how many characters the names of the rows leave."""
    return (width or 0) + _GAP - sum(map(_width, heads))


def _width(column: Sequence[str]) -> int:
    """Return the characters that a column takes: tabulate puts blanks beside a header."""
    header, *cells = (max(sum(map(_places, line)) for line in text.split("\n")) for text in column)
    return max(header + _PADDING, *cells, 0) + _GAP


def _over_lines(title: str, cells: Sequence[str]) -> str:
    """Break a column's title at blanks, so that it is not much wider than its cells; "(n = 5)" and "% ↑" stay whole."""
    widest = max([sum(map(_places, cell)) for cell in cells] or [0])
    kept = title.replace("(n = ", "(n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    words = kept.replace(" ↑", "\N{NO-BREAK SPACE}↑").replace(" ↓", "\N{NO-BREAK SPACE}↓").split(" ")
    lines = textwrap.wrap(" ".join(words), max(widest, *map(len, words)), break_on_hyphens=False)
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def _places(character: str) -> int:
    """Return how many places of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _grid(heads: Sequence[Sequence[str]], columns: Sequence[Sequence[str]]) -> str:
    """Draw columns by tabulate, which must not read numbers into names such as 1e5."""
    header, *rows = zip(*heads, *columns, strict=True)
    return tabulate(
        [list(row) for row in rows],
        headers=list(header),
        tablefmt="simple",
        disable_numparse=True,
        colalign=[*("left" for _ in heads), *("right" for _ in columns)] if rows else None,
    )


def _cell(cell: TableCell) -> str:
    text = escape.one_line(cell.text)
    shown = f"*{text}" if cell.bold else text
    return shown if cell.note is None else f"{shown} [{cell.note}]".lstrip()


def _protocols(table: Table, screen: Screen) -> list[str]:
    """Return how each task measures: all of it, or the first line, cut where the screen ends."""
    lines = list(table.footer[: table.protocols])
    if screen.protocols:
        return lines
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(line.partition(": ")[0], line)
    width = screen.width or 100
    short = [textwrap.shorten(escape.one_line(line), width, placeholder=" ...") for line in first.values()]
    is_all = short == [" ".join(line.split()) for line in lines]
    return short if is_all else [*short, "Protocols in full: bench table --notes."]


def _wrapped(line: str, width: int | None) -> str:
    """Break a line at the width; what goes on is indented."""
    if width is None:
        return line
    return "\n".join(
        textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) or [""]
    )
