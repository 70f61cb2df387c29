"""Records as a tidy pandas frame: one row a score."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bench_core.reports.tables.entries import entries_of
from bench_core.store.record_schema import AXES

if TYPE_CHECKING:
    import pandas as pd
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench_core.reports.tables.model import Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: dict[str, str] = {
    "dataset": "string",
    "encoder": "string",
    "method": "string",
    "task": "string",
    "seed": "Int64",
    "metric": "string",
    "value": "float64",
    "unit": "string",
    "higher_is_better": "boolean",
    "chance": "float64",
    "embedding": "string",
    "n": "Int64",
    "primary": "boolean",
    "epochs": "Int64",
    "batch_size": "Int64",
    "uses_labels": "boolean",
    "parameters": "Int64",
    "pretrain_s": "float64",
    "embed_s": "float64",
    "task_s": "float64",
    "images_per_s": "float64",
    "peak_memory_gib": "float64",
    "precision": "string",
    "device": "string",
    "threads": "Int64",
    "bench": "string",
    "commit": "string",
    "dirty": "boolean",
    "torch": "string",
    "started": "string",
    "ended": "string",
    "key": "string",
}

_SCORE = ("metric", "value", "unit", "higher_is_better", "chance", "embedding", "n")
_ELSEWHERE = {
    "facts": ("uses_labels", "parameters"),
    "cost": ("pretrain_s", "embed_s", "task_s", "images_per_s", "peak_memory_gib"),
    "provenance": (
        "precision", "device", "threads", "bench", "commit", "dirty", "torch", "started", "ended",
    ),
}  # fmt: skip


def tidy(records: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """One row for each score of each record.

    Args:
        records: Of finished cells, in any order.

    Returns:
        Columns and dtypes are those of `COLUMNS`, also without any record; sorted by names and seed. Names are
        those of the tables: where one stands for several documents, it carries the parameters that differ.
        `primary` marks the score that ranks.
    """
    import pandas as pd  # costs a second: only where it is used

    rows = []
    for entry in entries_of(records):
        record = entry.record or {}
        recipe = record["doc"]["embed"]["pretrain"].get("recipe") or {}
        shared: dict[str, Any] = {axis: entry.names[axis] for axis in AXES}
        shared |= {"seed": entry.seed, "key": record["key"]}
        shared |= {name: recipe.get(name) for name in ("epochs", "batch_size")}
        for part, fields in _ELSEWHERE.items():
            shared |= {name: (record.get(part) or {}).get(name) for name in fields}
        for position, score in enumerate(record["scores"]):
            rows.append({**shared, **{name: score.get(name) for name in _SCORE}, "primary": position == 0})
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


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
