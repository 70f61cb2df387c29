"""All pairs of rows of boards, each compared as `compare` does it; what pairs share is read and drawn once."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench_core.errors import RequestError
from bench_core.reports.comparison.by_item import OverItems, PackedItems, items_by_seed
from bench_core.reports.comparison.many_items import ItemPair, over_items_of
from bench_core.reports.comparison.rows import ComparedTable, Comparison, compare_in, compared_tables
from bench_core.reports.tables.cells import ColumnValues
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column

ITEM_LIMIT = 10_000_000  # test items of all rows and scores that are compared by item: seconds, not minutes
LINE_LIMIT = 30_000  # pairs of rows x tasks of a board: some seconds, and less than a megabyte when packed
TOO_MANY = "too many test items for all pairs at once; `bench compare` does it for two rows"

PairKey = tuple[str, str, Column, str, str]  # dataset, encoder, column, first row, second row


@dataclass(frozen=True)
class AllPairs:
    """All pairs of rows of one board.

    Attributes:
        tables: What they are compared by.
        rows: The rows that are compared, in their order.
        left_out: Rows that are not, as the board has too many.
        comparisons: First and second row -> their comparison; pairs without a task in common are not there.
        items: What pairs keep of the same test items in a column.
    """

    tables: Sequence[ComparedTable]
    rows: Sequence[str]
    left_out: Sequence[str]
    comparisons: Mapping[tuple[str, str], Comparison]
    items: Mapping[PairKey, ItemPair]


@dataclass(frozen=True)
class _ColumnItems:
    """One column of one board whose records keep results of test items.

    Attributes:
        board: Position of the board.
        table: The table.
        values: The column.
        items: Row -> seed -> packed items, of the rows that are compared.
    """

    board: int
    table: ComparedTable
    values: ColumnValues
    items: Mapping[str, Mapping[int, PackedItems]]

    @property
    def size(self) -> int:
        """Test items of all rows."""
        return sum(int(next(iter(row.values()))["n"]) for row in self.items.values() if row)

    def pairs(self) -> Iterator[tuple[PairKey, ItemPair]]:
        """Yield all pairs of rows that have values at a common seed."""
        for first, second in combinations(self.items, 2):
            seeds = tuple(sorted(self.values.rows[first].values.keys() & self.values.rows[second].values.keys()))
            if seeds and (self.items[first] or self.items[second]):
                key = (self.table.dataset, self.table.encoder, self.values.column, first, second)
                yield key, ItemPair(self.items[first], self.items[second], seeds)


def compare_all(
    boards: Sequence[Iterable[Entry]],
    order: Sequence[Sequence[str]] | None = None,
    *,
    item_limit: int = ITEM_LIMIT,
    line_limit: int = LINE_LIMIT,
) -> list[AllPairs]:
    """Compare all pairs of rows of each board, on each task's first metric.

    Of a board with more pairs than the limit the first rows are compared. Scores with the fewest test items are
    compared by item first; those that would take more than the limit are compared over seeds alone, and a note of each
    comparison says so.

    Args:
        boards: The entries of each board, as for `build`.
        order: The rows of each board that count first; by default the order of the entries.
        item_limit: Number of test items, of all rows, scores and boards together.
        line_limit: Number of pairs x tasks of a board.
    """
    tables = [compared_tables(entries) for entries in boards]
    names = [_in_order(of_board, order[k] if order else ()) for k, of_board in enumerate(tables)]
    rows = [of_board[: _most_rows(tables[k], line_limit)] for k, of_board in enumerate(names)]
    wanted = sorted(
        _columns_with_items(tables, rows), key=lambda column: column.size
    )  # stable: boards keep their order
    pairs: list[dict[PairKey, ItemPair]] = [{} for _ in boards]
    without: list[set[PairKey]] = [set() for _ in boards]
    used = 0
    for column in wanted:
        used += column.size
        of_column = dict(column.pairs())
        if used <= item_limit:
            pairs[column.board] |= of_column
        else:
            without[column.board] |= of_column.keys()
    results = iter(over_items_of([pair for of_board in pairs for pair in of_board.values()]))
    compared = []
    for k, of_board in enumerate(tables):
        lookup = _Lookup(pairs[k], {key: next(results) for key in pairs[k]}, without[k])
        left_out = names[k][len(rows[k]) :]
        compared.append(AllPairs(of_board, rows[k], left_out, _comparisons(of_board, rows[k], lookup), pairs[k]))
    return compared


def _in_order(tables: Sequence[ComparedTable], first: Sequence[str]) -> list[str]:
    """Return the rows of all tables, these first."""
    names = dict.fromkeys(name for table in tables for name in table.rows)
    return [*(name for name in dict.fromkeys(first) if name in names), *(name for name in names if name not in first)]


def _most_rows(tables: Sequence[ComparedTable], lines: int) -> int:
    """Return how many rows have no more lines in all their pairs together; at least two."""
    columns = max(1, sum(len(table.columns) for table in tables))
    return max(2, int((1 + math.sqrt(1 + 8 * lines / columns)) / 2))


def _columns_with_items(
    boards: Sequence[Sequence[ComparedTable]], rows: Sequence[Sequence[str]]
) -> Iterator[_ColumnItems]:
    for board, tables in enumerate(boards):
        for table in tables:
            compared = [name for name in rows[board] if name in table.rows]
            for values in table.columns:
                items = {name: items_by_seed(table.rows[name], values.column) for name in compared}
                if any(items.values()):
                    yield _ColumnItems(board, table, values, items)


@dataclass(frozen=True)
class _Lookup:
    """Finds the comparison of two rows by test item, as `rows.pair_items` computes it."""

    items: Mapping[PairKey, ItemPair]
    results: Mapping[PairKey, OverItems | None]
    left_out: set[PairKey]

    def __call__(
        self, table: ComparedTable, column: Column, first: str, second: str, _seeds: Sequence[int]
    ) -> tuple[OverItems | None, str]:
        key = (table.dataset, table.encoder, column, first, second)
        if key in self.left_out:
            return None, TOO_MANY
        return (self.results[key], self.items[key].obstacle) if key in self.items else (None, "")


def _comparisons(
    tables: Sequence[ComparedTable], rows: Sequence[str], by_item: _Lookup
) -> dict[tuple[str, str], Comparison]:
    found = {}
    for first, second in combinations(rows, 2):
        try:
            found[first, second] = compare_in(tables, first, second, by_item)
        except RequestError:  # no task in common: there is nothing to show
            continue
    return found
