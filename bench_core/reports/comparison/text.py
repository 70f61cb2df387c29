"""Comparisons as plain text, Markdown or JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from bench_core.reports.comparison.by_item import DRAWS, OverItems
from bench_core.reports.comparison.rows import Comparison, Line, Ranking
from bench_core.reports.tables import escape
from bench_core.reports.tables.cells import decimals, show
from bench_core.reports.tables.statistics import Paired

FORMATS = ("text", "md", "json")
SEEDS = (
    'Means and differences are over the seeds that both rows have, paired by seed; "2 of 5" where the table\'s column '
    "has 5. Intervals are 95 % intervals of Student's t, each for itself; p is of the same test, corrected after Holm "
    "for all tests of this list. The list tests one pair, as if chosen beforehand. Bold in a table compares all rows "
    "with the best, so it may tell apart what this does not, and the reverse."
)
SEEDS_ALONE = "Only seeds vary here: the sampling error of the test items is not in the intervals."
TITLES = (
    "Over seeds: would other trainings give this?",
    "Over test items: would another test set give this, for these trained networks?",
)
ITEMS = (
    f"Over test items: {DRAWS:,} bootstrap draws of the items, the same for both rows and all seeds. Intervals are "
    "95 % percentiles, each for itself; p is of a test that turns the sign of each item's difference at random, "
    "corrected after Holm for all such tests of this list."
)
EACH = "Neither interval answers the question of the other. The verdicts are by seeds."
_RANKS = (
    "Rows whose mean ranks differ by less than the critical difference cannot be told apart (Nemenyi, 95 %; Demsar "
    "2006). His datasets are families of tasks here, which share one training of each row, so this is a rough guide."
)


def show_comparison(comparison: Comparison, format: str) -> str:
    """Format the comparison of two rows as one of `FORMATS`; JSON has all digits."""
    if format == "json":
        return _json(asdict(comparison))
    first, second = comparison.first, comparison.second
    difference = f"{first} - {second} [95 %]"
    safe = _escape(format)
    head = ["data", "task", first, second, "seeds", difference, "p (Holm)", "verdict"]
    blocks = [_grid(head, [_seed_cells(line) for line in comparison.lines], format)]
    notes = [SEEDS, SEEDS_ALONE]
    by_item = [_item_cells(line, line.items) for line in comparison.lines if line.items]
    if by_item:
        head = ["data", "task", "seeds", "test items", difference, "p (Holm)"]
        blocks = [TITLES[0], *blocks, TITLES[1], _grid(head, by_item, format)]
        notes = [SEEDS, ITEMS, EACH]
    notes += [f"{note}." for note in comparison.notes]
    return "\n\n".join([*blocks, "\n".join(f"- {safe(note)}" for note in notes)]) + "\n"


def show_rankings(rankings: Sequence[Ranking], format: str) -> str:
    """Format all rows by mean rank as one of `FORMATS`."""
    if format == "json":
        return _json([asdict(ranking) for ranking in rankings])
    safe = _escape(format)
    blocks = []
    for ranking in rankings:
        families = ", ".join(family.rpartition("/")[2] for family in ranking.families)
        over = f"{len(ranking.families)} families of tasks ({families or 'none'})"
        title = f"{ranking.dataset}, {ranking.encoder}: mean ranks over {over}"
        body = []
        for position, (name, rank) in enumerate(ranking.rows):
            verdict = ""
            if ranking.critical is not None and position > 0:
                worse = ranking.told_from_best(rank)
                verdict = "worse than the best" if worse else "cannot be told from the best"
            body.append([name, f"{rank:.2f}", verdict])
        notes = [f"No critical difference: {ranking.reason}."]
        if ranking.critical is not None and ranking.friedman is not None:
            notes = [
                f"Critical difference {ranking.critical:.2f}; Friedman's test of no difference at all: p = "
                f"{_p(ranking.friedman)}.",
                _RANKS,
            ]
        lines = "\n".join(f"- {safe(note)}" for note in notes)
        blocks += [safe(title), _grid(["row", "mean rank", ""], body, format), lines]
    return "\n\n".join(blocks or ["No records."]) + "\n"


def _seed_cells(line: Line) -> list[str]:
    """Return the cells of one line of the table over seeds."""
    column, by_seed = line.column, line.paired
    digits = decimals(column.unit, line.means or ())
    means = [show(mean, column.unit, digits) for mean in line.means] if line.means else ["", ""]
    seeds = f"{by_seed.seeds}{f' of {line.table_seeds}' if by_seed.seeds < line.table_seeds else ''}"
    return [*_data_and_task(line), *means, seeds, _difference(line, by_seed), _p(line.p), line.verdict]


def _item_cells(line: Line, by_item: OverItems) -> list[str]:
    """Return the cells of one line of the table over test items."""
    items = f"{by_item.items:,} of {by_item.split}"
    return [*_data_and_task(line), str(by_item.seeds), items, _difference(line, by_item), _p(line.p_items)]


def _data_and_task(line: Line) -> list[str]:
    return [f"{line.dataset}, {line.encoder}", line.column.title]


def _difference(line: Line, paired: Paired | OverItems) -> str:
    """Format a difference and its interval, with one digit more than the scores: "1.25 [0.31, 2.19]"."""
    unit, digits = line.column.unit, decimals(line.column.unit, line.means or ())
    finer = None if digits is None else digits + 1
    if paired.mean is None:
        return ""
    if paired.low is None or paired.high is None:
        return show(paired.mean, unit, finer)
    return f"{show(paired.mean, unit, finer)} [{show(paired.low, unit, finer)}, {show(paired.high, unit, finer)}]"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value >= 1e-4 else "< 1e-4"


def _grid(head: Sequence[str], body: Sequence[Sequence[str]], format: str) -> str:
    safe = _escape(format)
    rows = [[safe(cell) for cell in row] for row in body]
    style = "pipe" if format == "md" else "simple"
    return tabulate(rows, headers=[safe(name) for name in head], tablefmt=style, disable_numparse=True)


def _escape(format: str) -> Callable[[str], str]:
    """Return the function that escapes other people's text for a format."""
    return escape.markdown if format == "md" else escape.one_line


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
