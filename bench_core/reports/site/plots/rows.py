"""Each row's seeds as points, and all rows by their mean ranks with the critical difference."""

from collections.abc import Sequence

from bench_core.evaluation.intervals import LEVEL
from bench_core.reports.comparison.rows import MIN_ROWS, Ranking, rank_rows
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, rounded, score_name, shown
from bench_core.reports.tables.build import may_rank
from bench_core.reports.tables.cells import column_values, fill
from bench_core.reports.tables.columns import task_columns
from bench_core.reports.tables.entries import Entry, by_row
from bench_core.reports.tables.model import Column, TableCell
from bench_core.reports.tables.summary_columns import chance


def seeds(source: PlotSource) -> SitePlot | None:
    """Return the score of each seed of each row, with mean and interval, for the first metric of each task."""
    views = [view for title, group in source.groups.items() for view in _seed_views(title, group)]
    if not views:
        return None
    return SitePlot(
        "seeds",
        "Seeds",
        "A point is one seed, the tick is the mean, the band its 95 % t interval over seeds; filled points: the best, "
        "and rows that cannot be told from it.",
        ("table", "score"),
        tuple(views),
    )


def ranks(source: PlotSource) -> SitePlot | None:
    """Return the mean ranks of all rows, with the groups that the critical difference cannot tell apart."""
    views = [_rank_view(ranking) for ranking in rank_rows(source.entries) if len(ranking.rows) >= MIN_ROWS]
    if not views:
        return None
    return SitePlot(
        "ranks",
        "Mean ranks",
        "Further left is better. With enough families of tasks there are bars: rows whose bars do not overlap differ "
        "by more than the critical difference.",
        ("table",),
        tuple(views),
    )


def groups_of(mean_ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return the groups of rows that cannot be told apart, as numbers of their first and last row.

    Args:
        mean_ranks: The best first.
        critical: Least difference that counts.

    Returns:
        The largest groups alone: none lies in another.
    """
    groups: list[tuple[int, int]] = []
    for first, best in enumerate(mean_ranks):
        last = max(k for k, rank in enumerate(mean_ranks) if rank - best < critical)
        if not groups or last > groups[-1][1]:
            groups.append((first, last))
    return groups


def _seed_views(title: str, group: Sequence[Entry]) -> list[View]:
    rows = by_row(group)
    candidates = [label for label, row in rows.items() if may_rank(row)]
    values = [column_values(column, rows, candidates) for column in task_columns(group)]
    views = []
    for of_column, level in zip(values, chance(values), strict=True):
        column, cells = fill(of_column)
        with_values = [label for label, cell in cells.items() if cell.mean is not None]
        better = 1 if column.higher_is_better is False else -1
        with_values.sort(key=lambda label: better * (cells[label].mean or 0.0))
        points = {label: list(of_column.rows[label].values.values()) for label in with_values}
        if sum(map(len, points.values())) > 1:
            views.append(_seed_view(title, column, cells, points, level))
    return views


def _seed_view(
    title: str, column: Column, cells: dict[str, TableCell], points: dict[str, list[float]], level: TableCell
) -> View:
    best = next(iter(points))
    return View(
        (title, score_name(column)),
        "strips",
        f"{score_name(column)} of each seed of {len(points)} rows, sorted by their means; the first is {best}.",
        {
            "x": score_name(column),
            "rows": [
                {
                    "name": label,
                    "values": [shown(value, column) for value in of_row],
                    "mean": shown(cells[label].mean, column),
                    "half": shown(cells[label].halfwidth, column),
                    "bold": cells[label].bold,
                }
                for label, of_row in points.items()
            ],
            "chance": shown(level.mean, column),
        },
    )


def _rank_view(ranking: Ranking) -> View:
    told = ranking.critical is not None and ranking.friedman is not None and ranking.friedman < 1 - LEVEL
    critical = ranking.critical if told else None
    values = [rank for _, rank in ranking.rows]
    groups = groups_of(values, critical) if critical is not None else [(0, len(values) - 1)]
    letters = ["" for _ in values]
    for number, (first, last) in enumerate(groups if critical is not None else ()):
        for k in range(first, last + 1):
            letters[k] += chr(ord("a") + number) if number < 26 else f"({number + 1})"
    return View(
        (f"{ranking.dataset}, {ranking.encoder}",),
        "ranks",
        f"Mean ranks of {len(values)} rows over {len(ranking.families)} families of tasks; the best is "
        f"{ranking.rows[0][0]} with {values[0]:.2f}.",
        {
            "x": f"mean rank over {', '.join(ranking.families)}",
            "rows": [
                {"name": name, "rank": rounded(rank), "groups": letters[k]}
                for k, (name, rank) in enumerate(ranking.rows)
            ],
            "critical": None if critical is None else rounded(critical),
        },
        _rank_notes(ranking, told=told),
    )


def _rank_notes(ranking: Ranking, *, told: bool) -> tuple[str, ...]:
    if ranking.critical is None or ranking.friedman is None:
        return (f"No critical difference: {ranking.reason}.",)
    p = f"Friedman p = {ranking.friedman:.3g}"
    if not told:
        return (f"No row can be told from another by its ranks ({p}).",)
    return (
        f"Critical difference {ranking.critical:.2f} (Nemenyi, {p}); rows that share a letter cannot be told apart.",
    )
