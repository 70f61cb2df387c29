"""Writes the pages that compare two or three rows of a board, with all pairs of its rows as data.

All numbers are those of `bench compare`, rounded as it shows them: data/compare/NAME.js is loaded by the page alone.

{rows, command, tables: [{id, title, columns}], texts, splits, pairs, logs, curves, left_out}, where
pairs   "0-3" -> [lines, notes] of the first row minus the second, both as numbers in `rows`
line    [table, column, seeds, seeds of the table, decimals, means, difference, low, high, p, verdict, ahead, items]
items   [split, n, seeds, difference, low, high, p, right, end, counts]; 0 where the line has none
"""

import gzip
import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from bench_core.keys import key_or_none
from bench_core.planning.board_files import board_names
from bench_core.reports.comparison.all_pairs import AllPairs, compare_all
from bench_core.reports.comparison.by_item import OverItems
from bench_core.reports.comparison.many_items import Distribution, distribution
from bench_core.reports.comparison.rows import Comparison, Line
from bench_core.reports.comparison.text import EACH, ITEMS, SEEDS, SEEDS_ALONE
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.site.writer import SiteWriter, as_script
from bench_core.reports.tables.cells import decimals, show

MOST_BYTES = 1_000_000  # of a board's data, compressed
CURVES = ("precision_recall", "layers", "linear_regions", "histogram", "curves")  # plots with a line of rows
NO_SPREAD = (
    "The spread of the differences over test items is left out, as the data of this board would be larger than 1 MB."
)
NO_ITEMS = (
    "The comparisons by test item are left out, as the data of this board would be larger than 1 MB; `bench compare` "
    "shows them."
)
_OF_PAIRS = "Here such a list is one pair: of three rows, each of the three pairs is corrected for itself."
_BARS = (
    "A bar shows a difference and its interval around 0, on a scale of its own; it is filled where one of the rows is "
    "better."
)

Json = dict[str, Any]


def write_comparisons(site: SiteWriter, content: SiteContent) -> None:
    """Write the page and the data of each board; after its plots and the logs of its chains, which it shows."""
    order = [[row.name for table in board.tables for row in table.rows] for board in content.boards]
    compared = compare_all([board.entries for board in content.boards], order)
    for board, pairs in zip(content.boards, compared, strict=True):
        rows = [name for name in pairs.rows if any(name in pair for pair in pairs.comparisons)]
        if rows:
            site.data(f"data/compare/{board.name}.js", f"compare/{board.name}", comparison_data(site, board, pairs))
        values = {
            "board": board,
            "rows": rows,
            "command": compare_command(board).format(rows=" ".join(map(shlex.quote, rows[:2]))),
            "notes": (f"{SEEDS} {_OF_PAIRS}", _BARS, SEEDS_ALONE, ITEMS, EACH),
        }
        site.page(f"compare/{board.name}.html", "compare.html", values)


def comparison_data(site: SiteWriter, board: SiteBoard, pairs: AllPairs) -> Json:
    """Return all pairs of a board's rows as its page gets them; parts that take too much room are left out.

    Args:
        site: Knows which plots and logs there are.
        board: The board.
        pairs: Its comparisons.
    """
    for leave_out in ((), (NO_SPREAD,), (NO_ITEMS,)):
        data = _Packing(board, pairs, leave_out).data()
        if len(gzip.compress(as_script(data).encode(), 6, mtime=0)) <= MOST_BYTES:
            break
    plots = [kind for kind in (*CURVES, "samples") if f"data/plots/{board.name}/{kind}.js" in site.written]
    return {**data, "command": compare_command(board), "logs": _logs(site, board, pairs), "plots": plots}


def compare_command(board: SiteBoard) -> str:
    """Return the command that compares two rows, with {rows} in the place of their names."""
    if board.board is None or board.published is None:
        return f"bench compare {{rows}} --store {board.store.path.name if board.store else 'runs'}"
    folder = f"leaderboards/{board.published.folder.name}"
    name = board.board.name if board.board.name in board_names() else f"{folder}/board.toml"
    return f"bench compare {{rows}} --board {name} --store {folder}/records"


class _Packing:
    """Makes the data of one board small: names and texts once, numbers as they are shown."""

    def __init__(self, board: SiteBoard, pairs: AllPairs, leave_out: Sequence[str]) -> None:
        self._board, self._pairs, self._leave_out = board, pairs, leave_out
        self._rows = [name for name in pairs.rows if any(name in pair for pair in pairs.comparisons)]
        self._texts: dict[str, int] = {}
        ids = {(table.dataset, table.encoder): k for k, table in enumerate(board.tables)}
        self._tables = {(t.dataset, t.encoder): ids.get((t.dataset, t.encoder), -1) for t in pairs.tables}
        self._columns = {(t.dataset, t.encoder): [v.column for v in t.columns] for t in pairs.tables}

    def data(self) -> Json:
        """Return rows, tables and pairs."""
        pairs = {}
        for (k, first), (m, second) in combinations(enumerate(self._rows), 2):
            if comparison := self._pairs.comparisons.get((first, second)):
                pairs[f"{k}-{m}"] = self._pair(comparison)
        return {
            "rows": [{"name": name, "marks": self._marks(name)} for name in self._rows],
            "tables": [self._table(*key) for key in self._tables],
            "texts": list(self._texts),
            "pairs": pairs,
            "left_out": [*self._leave_out, *self._too_many_rows()],
        }

    def _too_many_rows(self) -> list[str]:
        count = len(self._pairs.left_out)
        if not count:
            return []
        return [
            f"This board has too many rows for all pairs: its first {len(self._pairs.rows)} rows are compared here, "
            f"the other {count} by `bench compare`."
        ]

    def _marks(self, name: str) -> Sequence[str]:
        return next((row.marks for table in self._board.tables for row in table.rows if row.name == name), ())

    def _table(self, dataset: str, encoder: str) -> Json:
        columns = [
            {"task": column.task, "title": column.title, "unit": "%" if column.unit == "fraction" else column.unit}
            for column in self._columns[dataset, encoder]
        ]
        return {"id": self._tables[dataset, encoder], "title": f"{dataset}, {encoder}", "columns": columns}

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _pair(self, comparison: Comparison) -> list[Any]:
        first, second = comparison.first, comparison.second
        lines = [self._line(line, first, second) for line in comparison.lines]
        return [lines, [self._text(note) for note in comparison.notes]]

    def _line(self, line: Line, first: str, second: str) -> list[Any]:
        unit, digits = line.column.unit, decimals(line.column.unit, line.means or ())
        finer = None if digits is None else digits + 1
        by_seed = line.paired
        table = list(self._tables).index((line.dataset, line.encoder))
        return [
            table,
            self._columns[line.dataset, line.encoder].index(line.column),
            by_seed.seeds,
            line.table_seeds,
            digits,
            [_shown(mean, unit, digits) for mean in line.means or ()],
            *(_shown(value, unit, finer) for value in (by_seed.mean, by_seed.low, by_seed.high)),
            _p(line.p),
            self._text(line.verdict),
            _ahead(line.verdict, first, second),
            self._items(line, first, second, finer),
        ]

    def _items(self, line: Line, first: str, second: str, digits: int | None) -> list[Any] | int:
        found: OverItems | None = line.items
        if found is None or NO_ITEMS in self._leave_out:
            return 0
        values = (_shown(value, line.column.unit, digits) for value in (found.mean, found.low, found.high))
        packed = [self._text(found.split), found.items, found.seeds, *values, _p(line.p_items)]
        pair = self._pairs.items.get((line.dataset, line.encoder, line.column, first, second))
        spread = distribution(pair) if pair and NO_SPREAD not in self._leave_out else None
        return packed if spread is None else [*packed, *_spread(spread, line.column.unit)]


def _spread(spread: Distribution, unit: str) -> list[Any]:
    """Return hits of both rows (0 for other values), the end of the bins, and the items in each."""
    scale = 100 if unit == "fraction" else 1
    return [spread.right or 0, float(f"{scale * spread.edges[-1]:.4g}"), spread.counts]


def _shown(value: float | None, unit: str, digits: int | None) -> float | int | str | None:
    """Return a number with the digits that `bench compare` shows; very small ones as text."""
    if value is None:
        return None
    text = show(value, unit, digits)
    if digits is None:
        return text
    number = float(text)
    return int(number) if number.is_integer() else number


def _p(value: float | None) -> float | None:
    """Return a p-value with two digits; 0 stands for less than 1e-4."""
    if value is None:
        return None
    return float(f"{value:.2g}") if value >= 1e-4 else 0


def _ahead(verdict: str, first: str, second: str) -> int:
    """Return 1 where the first row is better by the verdict, 2 where the second one is, 0 where none is."""
    for number, name in ((1, first), (2, second)):
        if verdict == f"{name} better" or verdict.startswith(f"{name} better on these test items"):
            return number
    return 0


def _logs(site: SiteWriter, board: SiteBoard, pairs: AllPairs) -> Mapping[str, Mapping[str, list[list[Any]]]]:
    """Return table -> row -> [seed, log] of each chain whose log the site has."""
    logs: dict[str, dict[str, list[list[Any]]]] = {}
    for number, table in enumerate(pairs.tables):
        for name, entries in table.rows.items():
            chains: dict[int, str] = {}
            for entry in entries:
                if name in pairs.rows and entry.document is not None and entry.finished_record:
                    chain = (key_or_none(entry.document.pretrain) or "")[:16]
                    if f"data/logs/{chain}.js" in site.written:
                        chains.setdefault(entry.seed, chain)
            if chains:
                logs.setdefault(str(number), {})[name] = [[seed, chains[seed]] for seed in sorted(chains)]
    return logs
