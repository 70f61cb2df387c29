"""The table of `bench tune`: what each row scored as it was and with its best trial, and the values of that."""

from collections.abc import Mapping

from bench_core.planning.lines import hanging
from bench_core.planning.tuning import TunedRow

_LONGEST = 24  # characters of a row's name and of a metric; longer ones push the rest to the right


def outcome_lines(rows: Mapping[str, TunedRow], width: int) -> list[str]:
    """Return the lines of the table, of which only long names of rows and metrics exceed 80 columns."""
    if not rows:
        return []
    name_width = min(_LONGEST, max(3, *(len(name) for name in rows)))
    metric_width = min(_LONGEST, max(6, *(len(metric) for row in rows.values() for metric in row.metrics)))
    lines = [f"{'row':<{name_width}}  trials  {'metric':<{metric_width}}  {'as it was':>9}  {'best':>9}  trial"]
    for name, row in rows.items():
        for index, metric in enumerate(row.metrics):
            first, best = (row.tried[number].scores.get(metric) for number in (0, row.best))
            left = f"{name:<{name_width}}  {row.trials:>6}" if index == 0 else " " * (name_width + 8)
            lines.append(f"{left}  {metric:<{metric_width}}  {_number(first)}  {_number(best)}  {row.best:>5}")
        values = ", ".join(f"{parameter} = {_value(value)}" for parameter, value in row.values.items())
        lines += hanging("    ", values or "stays as it is", width).splitlines()
    return lines


def _number(score: float | None) -> str:
    return f"{'failed':>9}" if score is None else f"{score:>9.4g}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
