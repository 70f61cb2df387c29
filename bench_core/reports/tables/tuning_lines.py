"""The lines under a table that say how its rows were tuned, and whether each had the same chance."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench_core.planning.boards import Board, load_board
from bench_core.planning.tuned_text import (
    budget_text,
    families_of,
    metrics_text,
    tuned_sentences,
    usual_budget,
)
from bench_core.planning.tuning import Tuned, Tuning
from bench_core.reports.tables.entries import Entry

if TYPE_CHECKING:  # loads torch, as plugins do; tables of a store do without
    from bench_core.plugins import Registry


@dataclass(frozen=True)
class TableTuning:
    """Marks of rows and lines under a table on the tuning of its board.

    Attributes:
        board: The board.
        changed: Rows that have changed since they were tuned.
    """

    board: Board
    changed: Collection[str] = ()

    def mark(self, entries: Sequence[Entry]) -> str:
        """Return the mark of a row with another budget than most: "untuned" or "3 trials"; "" for the others.

        A row that is not trained has nothing to tune, and no mark.
        """
        tuned = self.board.tuned
        if tuned is None or not tuned.rows or not _is_trained(entries):
            return ""
        row = self.board.tuned_row(name_on_board(entries))
        if row is None:
            return "untuned"
        number = len(row.tried)
        return "" if number == len(usual_budget(tuned).tried) else f"{number} trial{'s' * (number != 1)}"

    def lines(self, rows: Mapping[str, Sequence[Entry]]) -> list[str]:
        """Say how the rows of a table were tuned, and what is unequal.

        Args:
            rows: Name of a row -> its entries.
        """
        tuned = self.board.tuned
        if tuned is None or not tuned.rows:
            has_table = self.board.tuning != Tuning()
            return ["Not tuned: every row has the board's values."] if has_table else []
        trained = {label: name_on_board(entries) for label, entries in rows.items() if _is_trained(entries)}
        lines = [" ".join(tuned_sentences(tuned))]
        if idle := [label for label in rows if label not in trained]:
            lines.append(f"Not trained, so nothing is tuned: {', '.join(idle)}.")
        lines += _other_budgets(self.board, tuned, trained)
        lines += _other_metrics(self.board, tuned, trained)
        if changed := [label for label, name in trained.items() if name in self.changed]:
            lines.append(f"Tuned before the row or its search space changed: {', '.join(changed)}.")
        failed = [f"{count} of {label}" for label, name in trained.items() if (count := _failed(self.board, name))]
        if failed:
            lines.append(f"Trials that failed, and count as tried: {', '.join(failed)}.")
        return lines


def table_tuning(board: Board | str, registry: "Registry | None" = None) -> TableTuning:
    """Find out what a table says of the tuning of its board.

    Args:
        board: The board, or what names it.
        registry: The plugins, which declare the search spaces; None loads them where rows are tuned.
    """
    board = load_board(board) if isinstance(board, str) else board
    if board.tuned is None:
        return TableTuning(board)
    from bench_core.planning.tuned_before_change import tuned_before_change
    from bench_core.plugins import load_plugins

    return TableTuning(board, tuned_before_change(board, registry or load_plugins()))


def _other_budgets(board: Board, tuned: Tuned, trained: Mapping[str, str]) -> list[str]:
    usual = budget_text(usual_budget(tuned))
    others: dict[str, list[str]] = {}
    for label, name in trained.items():
        row = board.tuned_row(name)
        budget = "not tuned" if row is None else budget_text(row)
        if budget != usual:
            others.setdefault(budget, []).append(label)
    told = [f"{', '.join(labels)}: {budget}" for budget, labels in others.items()]
    return [f"Budgets differ: {'; '.join(told)}; all others: {usual}."] if told else []


def _other_metrics(board: Board, tuned: Tuned, trained: Mapping[str, str]) -> list[str]:
    rows = {label: row for label, name in trained.items() if (row := board.tuned_row(name))}
    told = [
        f"{label} by {metrics_text(row.metrics)}" for label, row in rows.items() if not families_of(row, tuned.tuning)
    ]
    return [f"Metrics differ from the board's: {'; '.join(told)}."] if told else []


def _failed(board: Board, name: str) -> int:
    row = board.tuned_row(name)
    return len(row.tried) - row.trials if row else 0


def _is_trained(entries: Sequence[Entry]) -> bool:
    """Return whether a row is trained; one of which that is not known counts as trained."""
    epochs = [entry.document.recipe.get("epochs") for entry in entries if entry.document]
    return not epochs or any(number != 0 for number in epochs)


def name_on_board(entries: Sequence[Entry]) -> str:
    """Return the name of a row on its board, which its records have where the label is another.

    Args:
        entries: The cells of the row, at least one.
    """
    first = entries[0]
    return first.record.names["method"] if first.record and not first.planned else first.names["method"]
