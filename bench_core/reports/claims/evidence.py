"""Values of a claim's rows by seed, from records, by the same road as `bench table`.

The cells of a board are planned, as for its table: only a plan says which records are of the code that is installed,
which are stale, and which cells were skipped or never run. That costs the import of torch and of the plugins, about two
seconds; records matched by their names alone could pass stale numbers off as current ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench_core.errors import RequestError
from bench_core.files import paths_in
from bench_core.planning.board_files import board_file
from bench_core.reports.claims.claim import Claim
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.cells import SeedValues, seed_values
from bench_core.reports.tables.columns import Wanted, task_columns
from bench_core.reports.tables.entries import Entry, by_row, by_table, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.reports.tables.model import Column
from bench_core.store import Store
from bench_core.store.store import read_attempt, read_records

if TYPE_CHECKING:  # plugins are imported for a plan
    from bench_core.plugins import Registry

Tables = Mapping[tuple[str, str], Mapping[str, Sequence[Entry]]]  # (dataset, encoder) -> row -> its entries


@dataclass(frozen=True)
class RowValues:
    """Values of one row in the score of a claim.

    Attributes:
        values: Seed -> value; finite.
        one_network: Whether the row is one network that was trained elsewhere, whose value is a number.
        lacks: The reason for which the row has no values, or fewer than the board asks for; "" where it has all.
        caveat: What a reader must know of the values; "" for most.
    """

    values: Mapping[int, float]
    one_network: bool = False
    lacks: str = ""
    caveat: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that records tell about a claim.

    Attributes:
        rows: Row of the claim -> its values; empty where the claim cannot be measured at all.
        column: The score with its unit and direction.
        lacks: The reason for which there is nothing; "" where there are rows.
    """

    rows: Mapping[str, RowValues] = field(default_factory=dict)
    column: Column | None = None
    lacks: str = ""


class BoardTables:
    """Reads the cells of boards with their records, each board once."""

    def __init__(
        self,
        registry: "Registry",
        *,
        leaderboards: Path | None = None,
        store: Store | None = None,
        read: Mapping[str, Iterable[Entry]] | None = None,
    ) -> None:
        """Read no board yet.

        Args:
            registry: The plugins.
            leaderboards: The folder of published boards, whose records count; None for those of the store alone. Of a
                board elsewhere, the records beside its board.toml count.
            store: A store whose records count, too.
            read: Name of a board -> its cells, where they have been read before.
        """
        self._registry, self._leaderboards = registry, leaderboards
        self._read = read or {}
        self._records = store.records() if store else []
        self._attempts = store.attempts() if store else []
        self._tables: dict[str, Tables] = {}

    def of(self, board: str) -> Tables:
        """Return the tables of a board, by its name or file.

        Raises:
            RequestError: There is no such board, or it cannot be planned.
        """
        if board not in self._tables:
            self._tables[board] = tables_of(self._read[board] if board in self._read else self._entries(board))
        return self._tables[board]

    def _entries(self, board: str) -> list[Entry]:
        from bench_core.planning.plan import board_plan

        records, attempts = list(self._records), list(self._attempts)
        if self._leaderboards is not None:
            published = self._leaderboards / board
            file = board_file(str(published) if published.is_dir() else board)
            folder, board = file.parent, str(file)
            records += read_records(folder / "records")
            attempts += [read_attempt(path) for path in paths_in(folder / "failed", ".json")]
        return plan_entries(board_plan(board, self._registry), records, attempts)


def tables_of(entries: Iterable[Entry]) -> Tables:
    """Group a board's cells by table and row."""
    groups = by_table(with_distinct_names(in_one_entry(list(entries))))
    return {table: by_row(group) for table, group in groups.items()}


def find_evidence(claim: Claim, boards: BoardTables) -> Evidence:
    """Return the values of a claim's rows, or the reason why there are none."""
    if not claim.is_measurable:
        return Evidence(lacks="no board measures it")
    try:
        return evidence_in(claim, boards.of(claim.board))
    except RequestError as error:
        return Evidence(lacks=f"board {claim.board} cannot be read: {error}")


def evidence_in(claim: Claim, tables: Tables) -> Evidence:
    """Return the values of a claim's rows among the cells of its board."""
    try:
        rows = table_of(claim, tables)
    except RequestError as error:
        return Evidence(lacks=str(error))
    entries = [entry for row in rows.values() for entry in row]
    if all(entry.names["task"] != claim.task for entry in entries):
        return Evidence(lacks=f"board {claim.board} has no task {claim.task}")
    columns = task_columns(entries, [Wanted(claim.task, claim.metric)])
    if len(columns) > 1:
        return Evidence(lacks=f"records disagree about unit or direction of {claim.score}")
    column = columns[0] if columns else Column(name=claim.task, kind="task", task=claim.task, metric=claim.metric)
    found = {row: _row_values(row, rows[row], column) for row in claim.rows if row in rows}
    unknown = {
        row: RowValues({}, lacks=f"board {claim.board} has no row {row}") for row in claim.rows if row not in rows
    }
    return Evidence(found | unknown, column)


def table_of(claim: Claim, tables: Tables) -> Mapping[str, Sequence[Entry]]:
    """Return the table of a claim's dataset and encoder.

    Raises:
        RequestError: The board has no such table, or several.
    """
    found = [
        rows
        for (dataset, encoder), rows in tables.items()
        if claim.dataset in ("", dataset) and claim.encoder in ("", encoder)
    ]
    if len(found) != 1:
        known = "; ".join(f"{dataset}, {encoder}" for dataset, encoder in tables)
        raise RequestError(f"dataset and encoder must name one table of board {claim.board}; it has: {known}.")
    return found[0]


def _row_values(name: str, row: Sequence[Entry], column: Column) -> RowValues:
    entries = [entry for entry in row if entry.names["task"] == column.task]
    found = seed_values(entries, column)
    asked = {entry.seed for entry in entries if entry.planned or entry.state == "done"}
    one_network = any(entry.is_one_network for entry in entries)
    return RowValues(found.values, one_network, _lack(name, found, len(asked)), found.caveat)


def _lack(name: str, found: SeedValues, asked: int) -> str:
    """Return in words why a row lacks seeds: "nac has 1 of 3 seeds (0)"; "" where it lacks none."""
    reason = found.reason.partition("; ")[0] if found.state == "stale" else found.reason
    if not found.values:
        states = {"missing": "no records of {}", "stale": "{} is stale: {}", "failed": "{} failed: {}"}
        return states.get(found.state, "{}: {}").format(name, reason)
    if len(found.values) < asked:
        has = f"{name} has {len(found.values)} of {asked} seeds ({', '.join(map(str, sorted(found.values)))})"
        return f"{has}; {reason}" if reason else has
    return ""
