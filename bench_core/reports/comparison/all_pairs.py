"""All pairs of rows of boards, each compared as `compare` does it; what pairs share is read and drawn once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from bench_core.errors import RequestError
from bench_core.reports.comparison.by_item import OverItems, items_by_seed
from bench_core.reports.comparison.many_items import ItemPair, over_items_of
from bench_core.reports.comparison.rows import ComparedTable, Comparison, compare_in, compared_tables
from bench_core.reports.tables.cells import ColumnValues
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column

ITEM_LIMIT = 10_000_000  # test items of all rows and scores that are compared by item: seconds, not minutes
TOO_MANY = "too many test items for all pairs at once; `bench compare` does it for two rows"

PairKey = tuple[str, str, Column, str, str]  # dataset, encoder, column, first row, second row


@dataclass(frozen=True)
class AllPairs:
    """All pairs of rows of one board.

    Attributes:
        tables: What they are compared by.
        comparisons: First and second row -> their comparison; rows are in the order of the tables, and pairs without a
            task in common are not there.
        items: The pairs that keep results of the same test items in a column.
    """

    tables: Sequence[ComparedTable]
    comparisons: Mapping[tuple[str, str], Comparison]
    items: Mapping[PairKey, ItemPair]


@dataclass(frozen=True)
class _ColumnItems:
    """One column of one board whose records keep results of test items."""

    board: int
    table: ComparedTable
    values: ColumnValues
    rows: Mapping[str, Mapping[int, Mapping[str, object]]]  # row -> seed -> packed items

    @property
    def size(self) -> int:
        """Test items of all rows."""
        return sum(next(iter(row.values()))["n"] for row in self.rows.values())  # type: ignore[misc]

    def pairs(self) -> Iterator[tuple[PairKey, ItemPair]]:
        """Yield all pairs of rows that have values at a common seed."""
        of_rows = {name: self.rows.get(name, {}) for name in self.values.rows}
        for first, second in combinations(of_rows, 2):
            seeds = tuple(sorted(self.values.rows[first].values.keys() & self.values.rows[second].values.keys()))
            if seeds and (of_rows[first] or of_rows[second]):
                key = (self.table.dataset, self.table.encoder, self.values.column, first, second)
                yield key, ItemPair(of_rows[first], of_rows[second], seeds)


def compare_all(boards: Sequence[Iterable[Entry]], limit: int = ITEM_LIMIT) -> list[AllPairs]:
    """Compare all pairs of rows of each board, on each task's first metric.

    Scores with the fewest test items are compared by item first. Those that would take more than the limit are
    compared over seeds alone, and a note of each comparison says so.

    Args:
        boards: The entries of each board, as for `build`.
        limit: Number of test items, of all rows and scores together.
    """
    tables = [compared_tables(entries) for entries in boards]
    wanted = sorted(_columns_with_items(tables), key=lambda column: column.size)  # stable: boards keep their order
    pairs: list[dict[PairKey, ItemPair]] = [{} for _ in boards]
    left_out: list[set[PairKey]] = [set() for _ in boards]
    used = 0
    for column in wanted:
        used += column.size
        of_column = dict(column.pairs())
        if used <= limit:
            pairs[column.board] |= of_column
        else:
            left_out[column.board] |= of_column.keys()
    results = iter(over_items_of([pair for of_board in pairs for pair in of_board.values()]))
    compared = []
    for of_board, items, without in zip(tables, pairs, left_out, strict=True):
        over_items = {key: next(results) for key in items}
        compared.append(AllPairs(of_board, _comparisons(of_board, _Lookup(items, over_items, without)), items))
    return compared


def _columns_with_items(boards: Sequence[Sequence[ComparedTable]]) -> Iterator[_ColumnItems]:
    for board, tables in enumerate(boards):
        for table in tables:
            for values in table.columns:
                by_row = {name: items_by_seed(row, values.column) for name, row in table.rows.items()}
                if rows := {name: items for name, items in by_row.items() if items}:
                    yield _ColumnItems(board, table, values, rows)


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


def _comparisons(tables: Sequence[ComparedTable], by_item: _Lookup) -> dict[tuple[str, str], Comparison]:
    names = dict.fromkeys(name for table in tables for name in table.rows)
    found = {}
    for first, second in combinations(names, 2):
        try:
            found[first, second] = compare_in(tables, first, second, by_item)
        except RequestError:  # no task in common: there is nothing to show
            continue
    return found
