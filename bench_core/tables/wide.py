"""Tables as one wide pandas frame, for notebooks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench_core.tables.parts import Table

if TYPE_CHECKING:
    import pandas as pd


def wide(tables: Sequence[Table]) -> "pd.DataFrame":
    """One line a method: `<column>` is the mean, `<task>_halfwidth` its 95 % t half-width, `<task>_n` the seeds.

    Args:
        tables: Of `build`; several are stacked, told apart by the columns `dataset` and `encoder`.

    Returns:
        Fractions stay fractions; NaN where there is no number. The chance level is a line with `row` = "chance".
    """
    import pandas as pd  # costs a second: only where it is used

    lines = []
    for table in tables:
        for row in table.rows:
            line: dict[str, Any] = {
                "dataset": table.dataset,
                "encoder": table.encoder,
                "method": row.label,
                "row": row.kind,
            }
            for column, cell in zip(table.columns, row.cells, strict=True):
                if column.kind == "coverage":
                    line[column.name] = cell.text
                    continue
                line[column.name] = cell.mean
                if column.kind == "task":
                    line[f"{column.name}_halfwidth"] = cell.halfwidth
                    line[f"{column.name}_n"] = cell.n
            lines.append(line)
    return pd.DataFrame(lines)
