"""The lines under a table that explain intervals, bold, marks, means and ranks, as far as the table has them."""

from collections.abc import Sequence

from bench_core.reports.tables.model import Column, Row, TableCell
from bench_core.reports.tables.statistics import BOLD_PROMISE, FEWEST_SEEDS

# Mark of a row -> what it says of the training.
_MARKS = {
    "labels": "Trained with labels, for reference, neither bold nor ranked",
    "factors": "Trained with ground-truth factors, for reference, neither bold nor ranked",
    "one network": "One network, which has no spread over seeds, neither bold nor ranked",
    "transductive": "Transductive, as training reads the items that are tested, without their labels",
}
_Shown = tuple[Row, Column, TableCell]


def legend(columns: Sequence[Column], rows: Sequence[Row], counted: Sequence[Column]) -> list[str]:
    """Explain what the cells of a table show.

    Args:
        columns: Columns as shown.
        rows: Rows as shown.
        counted: The columns that count for mean and mean rank.
    """
    shown = [(row, column, cell) for row in rows for column, cell in zip(columns, row.cells, strict=True)]
    of_tasks = [(row, column, cell) for row, column, cell in shown if column.kind == "task" and row.kind != "chance"]
    lines = [*_intervals(of_tasks), *_bold(of_tasks), *_marks(of_tasks)]
    kinds = {column.kind for column in columns}
    if "mean" in kinds:
        tasks = ", ".join(column.name for column in counted)
        lines.append(
            f"Mean: of (score - chance) / (best - chance) over {tasks}; 0 is chance, 100 the best possible. Blank for "
            "a row that lacks a task or a seed of it."
        )
    if "rank" in kinds:
        lines += _mean_rank(of_tasks, counted, sum(column.kind == "rank" and bool(c.text) for _, column, c in shown))
    if "cost" in kinds:
        lines.append("Cost: medians over seeds.")
    for mark, text in _MARKS.items():
        if marked := [row.told for row in rows if mark in row.marks]:
            lines.append(f"{text}: {', '.join(marked)}.")
    return lines


def _intervals(cells: Sequence[_Shown]) -> list[str]:
    lines, numbers = [], [cell for _, _, cell in cells if cell.mean is not None]
    if any(cell.halfwidth is not None for cell in numbers):
        lines.append("Cells: mean over n seeds ± half-width of its 95 % t interval.")
    few = [f"{n} seed{'s' * (n > 1)}" for n in range(1, FEWEST_SEEDS) if any(cell.n == n for cell in numbers)]
    if few:
        lines.append(f"A cell of {' or '.join(few)} has no interval over seeds.")
    if any(cell.low is not None for cell in numbers):
        lines.append(
            "Brackets at one seed: 95 % interval over test items (Wilson for hits, else bootstrap). It tells of other "
            "test items, not of another training."
        )
    return lines


def _bold(cells: Sequence[_Shown]) -> list[str]:
    lines = []
    if any(cell.bold for _, _, cell in cells):
        lines.append(BOLD_PROMISE)
    if any(0 < column.seeds < FEWEST_SEEDS for _, column, _ in cells):
        lines.append(f"Below {FEWEST_SEEDS} seeds nothing is bold.")
    without_best = [column.name for _, column, _ in cells if column.metric and not column.can_rank]
    if without_best:
        names = ", ".join(dict.fromkeys(without_best))
        lines.append(f"No measure of quality by itself, so neither bold nor counted: {names}.")
    return lines


def _marks(cells: Sequence[_Shown]) -> list[str]:
    lines = []
    if any(f"of {column.seeds} seeds)" in cell.text for _, column, cell in cells):
        lines.append("A row that lacks a seed of a column (2 of 5 seeds) is neither ranked nor bold there.")
    if any("(stale)" in cell.text for _, _, cell in cells):
        lines.append("Stale: a number of an older revision, neither ranked nor bold, and in no mean.")
    return [*lines, *_caveats(cells)]


def _caveats(cells: Sequence[_Shown]) -> list[str]:
    """Say what a dagger stands for: each caveat once, with the columns that have it in the same rows."""
    rows_of: dict[tuple[str, str], list[str]] = {}  # caveat and column -> rows
    for row, column, cell in cells:
        if cell.caveat:
            rows_of.setdefault((cell.caveat, column.name), []).append(row.told)
    columns_of: dict[tuple[str, str], list[str]] = {}  # caveat and rows -> columns
    for (caveat, column_name), names in rows_of.items():
        columns_of.setdefault((caveat, ", ".join(names)), []).append(column_name)
    return [f"† {', '.join(columns)}: {caveat} ({names})." for (caveat, names), columns in columns_of.items()]


def _mean_rank(cells: Sequence[_Shown], counted: Sequence[Column], rows: int) -> list[str]:
    families: dict[str, list[str]] = {}
    for column in counted:
        families.setdefault(column.family.rpartition("/")[2], []).append(column.name)
    named = [name if tasks == [name] else f"{name} ({', '.join(tasks)})" for name, tasks in families.items()]
    lines = []
    if named:
        over = f"{len(named)} {'family' if len(named) == 1 else 'families'}"
        lines.append(
            f"Mean rank: over {over}: {', '.join(named)}. A family's rank is the mean over its tasks. Among the rows "
            f"that are ranked in all of them ({rows})."
        )
    counted_names = {column.name for column in counted}
    skipped = [
        column.name
        for row, column, cell in cells
        if row.kind == "method" and cell.state == "skipped" and column.can_rank and column.name not in counted_names
    ]
    if skipped:
        lines.append(f"Not counted, as some row skips it: {', '.join(dict.fromkeys(skipped))}.")
    return lines
