"""Scores as lines, and pandas frames: one line for each score of each record, or one line for each row of a table."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.model import Table
from bench_core.store.record import AXES, Record

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
    "best": "float64",
    "ranks": "boolean",
    "caveat": "string",
    "embedding": "string",
    "n": "Int64",
    "primary": "boolean",
    "family": "string",
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
    "fold": "string",
}

_SCORE = ("metric", "unit", "higher_is_better", "caveat", "embedding", "n")
_SCORE_FLOATS = ("value", "chance", "best")

_COST = ("pretrain_s", "embed_s", "task_s", "images_per_s", "peak_memory_gib")
_PROVENANCE = ("precision", "device", "threads", "bench", "commit", "dirty", "torch", "started", "ended")


def score_lines(records: Iterable[Record]) -> Iterator[tuple[Any, ...]]:
    """Yield one line for each score of each record; None stands for what is not known, and for NaN.

    Args:
        records: Records in any order.

    Yields:
        Values of `COLUMNS` as text, whole numbers, floats and bools; sorted by names and seed. Names are those of the
        tables: where one stands for several documents, it carries the parameters that differ. `primary` marks the
        first score of a task; `ranks` is whether tables rank by it where it is the first. `fold` is "3 of 10" where a
        row is the mean of several chains at one seed, else empty.
    """
    for entry in entries_of(records):
        record = entry.finished_record
        if record is None:
            continue
        line: dict[str, Any] = {axis: entry.names[axis] for axis in AXES}
        line |= {"seed": entry.seed, "key": record.key, "fold": entry.names.get("fold", "")}
        line |= {"uses_labels": record.uses_labels, "parameters": record.parameters, "family": record.family}
        line |= {name: record.document.recipe.get(name) for name in ("epochs", "batch_size")}
        line |= {name: _float(getattr(record.cost, name)) for name in _COST}
        line |= {name: getattr(record.provenance, name) for name in _PROVENANCE}
        for position, score in enumerate(record.scores.values()):
            line |= {name: getattr(score, name) for name in _SCORE}
            line |= {name: _float(getattr(score, name)) for name in _SCORE_FLOATS}
            line |= {"ranks": record.ranks and score.ranks, "primary": position == 0}
            yield tuple(line[name] for name in COLUMNS)


def frame_of(lines: Iterable[Sequence[Any]]) -> "pd.DataFrame":
    """Return lines of `score_lines` as a frame; columns and dtypes are those of `COLUMNS`, also without any line."""
    import pandas as pd  # costs a second: only where it is used

    return pd.DataFrame([*lines], columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def tidy(records: Iterable[Record]) -> "pd.DataFrame":
    """Return a frame with one line for each score of each record, as `score_lines` yields them."""
    return frame_of(score_lines(records))


def wide(tables: Sequence[Table]) -> "pd.DataFrame":
    """Return a frame with one line for each row of a table.

    Args:
        tables: Tables of `build`; several are stacked and differ in the columns `dataset` and `encoder`.

    Returns:
        `<column>` is the mean, `<task>_halfwidth` its 95 % t half-width, `<task>_n` the number of seeds,
        `<task>_ranked` whether the row takes part in ranks there. Fractions stay fractions; NaN where there is no
        number, or only a stale one. The chance level is a line with `row` = "chance".
    """
    import pandas as pd  # costs a second: only where it is used

    lines = []
    for table in tables:
        for row in table.rows:
            line: dict[str, Any] = {
                "dataset": table.dataset,
                "encoder": row.encoder or table.encoder,
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
                    line[f"{column.name}_ranked"] = cell.mean is not None and cell.ranked
            lines.append(line)
    return pd.DataFrame(lines)


def _float(value: float | None) -> float | None:
    """Return a number as a float, and None for NaN."""
    return None if value is None or math.isnan(value) else float(value)
