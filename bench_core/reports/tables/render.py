"""Tables as Markdown, plain text, LaTeX, CSV or JSON; all show the same, because all read one object."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench_core.errors import UnknownNameError
from bench_core.output import csv_text
from bench_core.reports.tables import escape
from bench_core.reports.tables.markdown import whole_tables, with_note
from bench_core.reports.tables.model import Table, TableCell
from bench_core.reports.tables.screen import Screen, on_screen, without_cost

_CSV = (
    "dataset", "encoder", "method", "row", "column", "metric", "unit", "higher_is_better", "shown", "mean",
    "halfwidth", "low", "high", "n", "ranked", "bold", "caveat", "state", "reason",
)  # fmt: skip


def render(tables: Sequence[Table], format: str, *, raw_cells: bool = False) -> str:
    """Format tables as text.

    Args:
        tables: Tables of `build`.
        format: One of `FORMATS`. "csv" has a line for each cell: what is shown, and its mean and interval in full (a
            fraction as a fraction). "json" has everything. "latex" has no cost, and needs the package booktabs.
        raw_cells: In CSV, leave text that a spreadsheet would take for a formula as it is.

    Returns:
        Text that ends with a newline; the same tables give the same bytes.

    Raises:
        UnknownNameError: There is no such format.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    return _csv(tables, raw_cells=raw_cells) if format == "csv" else FORMATS[format](tables)


def _text(tables: Sequence[Table]) -> str:
    return on_screen(tables, Screen())


_PACKAGES = r"% In the preamble: \usepackage{booktabs}"


def _latex(tables: Sequence[Table]) -> str:
    def cell(cell: TableCell) -> str:
        text = escape.latex(cell.text)
        return with_note(rf"\textbf{{{text}}}" if cell.bold else text, cell)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    blocks = []
    for table in map(without_cost, tables):
        body = []
        for row in table.rows:
            body += [r"\midrule"] if row.kind == "chance" else []
            body.append(line([*map(escape.latex, row.head[: len(table.heads)]), *map(cell, row.cells)]))
        caption = ". ".join((table.title, *(text.rstrip(".") for text in table.footer[: table.protocols])))
        notes = [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]
        remarks = table.footer[table.protocols :]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape.latex(caption)}.}}",
            rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(table.columns)}}}",
            r"\toprule",
            line([*table.heads, *(escape.latex(column.title) for column in table.columns)]),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\raggedright\footnotesize",
            *(rf"{escape.latex(text)}\par" for text in (*notes, *remarks)),
            r"\end{table}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join([_PACKAGES, *blocks] if blocks else ["% No records."]) + "\n"


def _csv(tables: Sequence[Table], *, raw_cells: bool = False) -> str:
    lines: list[Sequence[Any]] = [_CSV]
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                fields = (
                    table.dataset,
                    row.encoder or table.encoder,
                    row.name,
                    row.kind,
                    column.name,
                    column.metric,
                    column.unit,
                    column.higher_is_better,
                    cell.text,
                    _round(cell.mean),
                    _round_half(cell.halfwidth),
                    _round(cell.low),
                    _round(cell.high),
                    cell.n,
                    cell.ranked,
                    cell.bold,
                    cell.caveat,
                    cell.state,
                    cell.reason,
                )
                lines.append([escape.one_line(field) if isinstance(field, str) else field for field in fields])
    return csv_text(lines, raw_cells=raw_cells)


def _json(tables: Sequence[Table]) -> str:
    plain: list[dict[str, Any]] = [asdict(table) for table in tables]
    for table, plain_table in zip(tables, plain, strict=True):
        for column, fields in zip(table.columns, plain_table["columns"], strict=True):
            fields["title"] = column.title
        for row in plain_table["rows"]:
            for cell in row["cells"]:
                cell |= {"mean": _round(cell["mean"]), "halfwidth": _round_half(cell["halfwidth"])}
                cell |= {"low": _round(cell["low"]), "high": _round(cell["high"])}
    return json.dumps({"tables": plain}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _round(value: float | None, figures: int = 12) -> float | None:
    return None if value is None else float(f"{value:.{figures}g}")


def _round_half(value: float | None) -> float | None:
    """Round to 9 figures: versions of scipy differ in the t quantile after that."""
    return _round(value, 9)


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "md": whole_tables,
    "text": _text,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
