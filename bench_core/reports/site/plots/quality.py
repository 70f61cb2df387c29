"""Quality against cost: a point for each row, and the rows that no other beats in both."""

from collections.abc import Sequence
from typing import Any

from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, score_name, shown
from bench_core.reports.tables.model import Column, Row, Table

COSTS = {
    "pretrain": "seconds of training",
    "parameters": "parameters of the encoder",
    "peak memory": "peak memory, GiB",
}


def quality_cost(source: PlotSource) -> SitePlot | None:
    """Return each row's score against what it costs, for every score and cost that two rows have."""
    views = []
    for table in source.tables:
        costs = [number for number, column in enumerate(table.columns) if column.name in COSTS]
        for score in _scores(table):
            views += [view for cost in costs if (view := _view(table, score, cost)) is not None]
    if not views:
        return None
    return SitePlot(
        "quality_cost",
        "Quality against cost",
        "Rows on the line are the Pareto front: no other row is better and costs less; bars are 95 % intervals over "
        "seeds.",
        ("table", "score", "cost"),
        tuple(views),
        {table.title: _numbers(table) for table in source.tables},
    )


def pareto_front(points: Sequence[tuple[float, float]], *, lower: bool = False) -> list[int]:
    """Return the numbers of the points that no other beats, the cheapest first.

    Args:
        points: Cost and score of each.
        lower: Whether a lower score is better; a lower cost always is.

    Returns:
        Of points that are equal in both all are on the front.
    """
    sign = -1 if lower else 1
    order = sorted(range(len(points)), key=lambda k: (points[k][0], -sign * points[k][1]))
    front: list[int] = []
    for k in order:
        cost, score = points[k]
        if not front or points[front[-1]] == (cost, score) or sign * score > sign * points[front[-1]][1]:
            front.append(k)
    return front


def _scores(table: Table) -> list[int]:
    """Return the numbers of the columns that can be better or worse."""
    kinds = ("task", "mean", "rank")
    known = [(number, column) for number, column in enumerate(table.columns) if column.kind in kinds]
    return [number for number, column in known if column.higher_is_better is not None]


def _numbers(table: Table) -> dict[str, Any]:
    """Return the rows of a table, and for each score and cost its values with their half-widths."""
    rows = [row for row in table.rows if row.kind != "chance"]
    costs = [number for number, column in enumerate(table.columns) if column.name in COSTS]
    columns = {}
    for number in (*_scores(table), *costs):
        cells, column = [row.cells[number] for row in rows], table.columns[number]
        columns[str(number)] = {
            "value": [shown(cell.mean, column) for cell in cells],
            "half": [shown(cell.halfwidth, column) for cell in cells],
        }
    return {"names": [row.label for row in rows], "kinds": [row.kind for row in rows], "columns": columns}


def _view(table: Table, score: int, cost: int) -> View | None:
    both = [
        number
        for number, row in enumerate(table.rows)
        if row.cells[score].mean is not None and row.cells[cost].mean is not None
    ]
    if len(both) < 2:
        return None
    quality, price = table.columns[score], table.columns[cost]
    methods = [number for number in both if _counts(table.rows[number], score, quality)]
    points = [(table.rows[k].cells[cost].mean or 0.0, table.rows[k].cells[score].mean or 0.0) for k in methods]
    front = [methods[k] for k in pareto_front(points, lower=quality.higher_is_better is False)]
    chance = next((row.cells[score].mean for row in table.rows if row.kind == "chance"), None)
    names = ", ".join(table.rows[number].label for number in front) or "no row"
    label = f"{len(both)} rows by {score_name(quality)} and {COSTS[price.name]}. On the Pareto front: {names}."
    notes = () if front else ("No row without labels has all seeds of this score, so there is no front.",)
    return View(
        (table.title, score_name(quality), COSTS[price.name]),
        "scatter",
        label,
        {
            "x": COSTS[price.name],
            "y": score_name(quality),
            "of": [table.title, str(cost), str(score)],
            "front": front,
            "chance": shown(chance, quality),
        },
        notes,
    )


def _counts(row: Row, score: int, column: Column) -> bool:
    """Return whether a row may be on the front: it needs no labels, and has all seeds of a column that ranks."""
    return row.kind == "method" and (row.cells[score].ranked or not column.can_rank)
