"""Finds the rows of a board that are not as they were when they were tuned."""

from bench_core.planning.boards import Board
from bench_core.planning.components import is_registered
from bench_core.planning.spaces import row_digest
from bench_core.plugins import Registry


def tuned_before_change(board: Board, registry: Registry) -> list[str]:
    """Return the rows of a board that were tuned before the row, what the board gives it, or its space changed.

    Rows of plugins that are not installed are left out.
    """
    if board.tuned is None or board.written is None:
        return []
    written = board.written
    return [
        name
        for name, row in written.methods.items()
        if name in board.methods
        and (found := board.tuned.rows.get(name))
        and is_registered(row, "methods", registry)
        and row_digest(row, written, registry) != found.digest
    ]
