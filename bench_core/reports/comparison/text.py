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
_SEEDS = (
    "Means and differences are over the seeds that both rows have, paired by seed. Intervals are 95 % intervals of "
    "Student's t, each for itself; p is of the same test, after Holm for all tests of this list."
)
_SEEDS_ALONE = "Only seeds vary here: the sampling error of the test items is not in the intervals."
_TITLES = (
    "Over seeds: would other trainings give this?",
    "Over test items: would another test set give this, for these trained networks?",
)
_ITEMS = (
    f"Over test items: {DRAWS:,} bootstrap draws of the items, the same for both rows and all seeds. Intervals are "
    "95 % percentiles, each for itself; p is of a test that turns the sign of each item's difference at random, after "
    "Holm for all such tests of this list."
)
_EACH = "Neither interval holds what the other asks. What is said of the rows is said by seeds."
_RANKS = (
    "Rows whose mean ranks differ by less than the critical difference cannot be told apart (Nemenyi, 95 %; Demsar "
    "2006). His data sets are tasks here, which share one training of each row: take it as a rough guide."
)


def show_comparison(comparison: Comparison, form: str) -> str:
    """Two rows as one of `FORMATS`; JSON has all digits."""
    if form == "json":
        return _json(asdict(comparison))
    first, second = comparison.first, comparison.second
    difference = f"{first} - {second} [95 %]"
    safe, block = _safe(form)
    head = ["data", "task", first, second, "seeds", difference, "p (Holm)", "verdict"]
    shown = block(_grid(head, [_cells(line) for line in comparison.lines], form))
    notes = [_SEEDS, _SEEDS_ALONE]
    if by_item := [_item_cells(line) for line in comparison.lines if line.items]:
        head = ["data", "task", "seeds", "test items", difference, "p (Holm)"]
        shown = block(_TITLES[0]) + shown + block(_TITLES[1]) + block(_grid(head, by_item, form))
        notes = [_SEEDS, _ITEMS, _EACH]
    return shown + "\n".join(f"- {safe(note)}" for note in [*notes, *(f"{n}." for n in comparison.notes)]) + "\n"


def show_rankings(rankings: Sequence[Ranking], form: str) -> str:
    """All rows by mean rank as one of `FORMATS`."""
    if form == "json":
        return _json([asdict(ranking) for ranking in rankings])
    safe, block = _safe(form)
    blocks = []
    for ranking in rankings:
        title = f"{ranking.dataset}, {ranking.encoder}: mean ranks over {ranking.tasks} tasks"
        told = {True: "worse than the best", False: "cannot be told from the best"}
        body = [
            [name, f"{rank:.2f}", told[ranking.told_from_best(rank)] if ranking.critical is not None and place else ""]
            for place, (name, rank) in enumerate(ranking.rows)
        ]
        notes = [f"No critical difference: {ranking.reason}."]
        if ranking.critical is not None and ranking.friedman is not None:
            notes = [
                f"Critical difference {ranking.critical:.2f}; Friedman's test of no difference at all: p = "
                f"{_p(ranking.friedman)}.",
                _RANKS,
            ]
        shown = "\n".join(f"- {safe(note)}" for note in notes)
        blocks.append(block(safe(title)) + block(_grid(["row", "mean rank", ""], body, form)) + shown)
    return "\n\n".join(blocks or ["No records."]) + "\n"


def _cells(line: Line) -> list[str]:
    """One line over seeds."""
    column, found = line.column, line.paired
    digits = decimals(column.unit, line.means or ())
    means = [show(mean, column.unit, digits) for mean in line.means] if line.means else ["", ""]
    return [*_of(line), *means, str(found.seeds), _difference(line, found), _p(line.p), line.verdict]


def _item_cells(line: Line) -> list[str]:
    """One line over test items."""
    found = line.items
    assert found is not None, "asked before"
    items = f"{found.items:,} of {found.split}"
    return [*_of(line), str(found.seeds), items, _difference(line, found), _p(line.p_items)]


def _of(line: Line) -> list[str]:
    return [f"{line.dataset}, {line.encoder}", line.column.title]


def _difference(line: Line, found: Paired | OverItems) -> str:
    """A difference has one digit more than the scores."""
    unit, digits = line.column.unit, decimals(line.column.unit, line.means or ())
    finer = None if digits is None else digits + 1
    if found.mean is None:
        return ""
    if found.low is None or found.high is None:
        return show(found.mean, unit, finer)
    return f"{show(found.mean, unit, finer)} [{show(found.low, unit, finer)}, {show(found.high, unit, finer)}]"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2g}" if value >= 1e-4 else "< 1e-4"


def _grid(head: Sequence[str], body: Sequence[Sequence[str]], form: str) -> str:
    safe, _ = _safe(form)
    rows = [[safe(cell) for cell in row] for row in body]
    style = "pipe" if form == "md" else "simple"
    return tabulate(rows, headers=[safe(name) for name in head], tablefmt=style, disable_numparse=True)


def _safe(form: str) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """How other people's text is made safe, and how a block ends."""
    safe = escape.markdown if form == "md" else escape.one_line
    return safe, lambda text: f"{text}\n\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
