"""Chooses the cells that a board's picture shows while records are stale, that is, of older code.

Some rows are up to date    they are drawn, and the page names the rows that are left out
No row is up to date        the stale records are drawn, which is the last drawing, and the page says so
"""

from collections.abc import Sequence
from dataclasses import replace

from bench_core.errors import RequestError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.kinds import kind_of
from bench_core.reports.tables.entries import Entry


def choose_cells(entries: Sequence[Entry], picture: Picture, board: Board | None = None) -> tuple[Sequence[Entry], str]:
    """Choose the cells that a picture is drawn from: those of today's code, else the stale ones.

    Args:
        entries: Cells of a board.
        picture: The options of the picture.
        board: The board; None where the kind reads entries alone.

    Returns:
        Cells for `draw` and `fingerprint`, in which those that shall be drawn are done, and what readers must know:
        a sentence, or "".

    Raises:
        NothingToDrawError: Neither the records of today's code nor the stale ones hold what shall be drawn.
        RequestError: The options of the picture do not fit the records.
    """
    kind = kind_of(picture, board)

    def shown(cells: Sequence[Entry]) -> list[tuple[str, str]]:
        return kind.shown(kind.read(cells, picture, None))

    with_stale = _stale_as_done(entries)
    if with_stale == entries:
        shown(entries)
        return entries, ""
    try:
        rows = dict(shown(entries))
    except RequestError:
        drawn = shown(with_stale)
        reasons: dict[str, None] = {}
        for then, now in zip(entries, with_stale, strict=True):
            if then is not now and (now.names["method"], now.names["task"]) in drawn:
                reasons[f"{now.names['task']} ({now.reason})"] = None
        return with_stale, f"Drawn from stale records of {', '.join(reasons)}."
    left_out = dict.fromkeys(row for row, _ in shown(with_stale) if row not in rows)
    return entries, f"Without {', '.join(left_out)}: their records are stale." if left_out else ""


def _stale_as_done(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, of which a stale one is done where its row has no other number of the task.

    So no mean is taken over records of two revisions, one of which is today's.
    """
    done = {tuple(entry.names.items()) for entry in entries if entry.state == "done"}

    def is_shown(entry: Entry) -> bool:
        return entry.state == "stale" and tuple(entry.names.items()) not in done

    return [replace(entry, state="done") if is_shown(entry) else entry for entry in entries]
