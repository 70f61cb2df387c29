"""Checks of claims against their boards: a claim that could never be measured is a mistake in its file."""

from bench_core.errors import RequestError, UnknownNameError
from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.evidence import BoardTables, table_of


def check_claim(claim: Claim, boards: BoardTables) -> None:
    """Check that the board of a claim has its rows and its task, and that the task can measure the rows.

    A claim that no board measures yet passes; so does one whose rows are skipped, if it says what it `needs`.

    Raises:
        RequestError: A name does not exist, or a row is skipped; the message begins with the file and the claim.
    """
    if not claim.is_measurable:
        return
    try:
        rows = table_of(claim, boards.of(claim.board))
        for row in claim.rows:
            if row not in rows:
                raise UnknownNameError("row", row, rows, f"(board {claim.board})")
        tasks = {entry.names["task"] for row in rows.values() for entry in row}
        if claim.task not in tasks:
            raise UnknownNameError("task", claim.task, tasks, f"(board {claim.board})")
        for row in claim.rows:
            cells = [entry for entry in rows[row] if entry.names["task"] == claim.task]
            if all(cell.state == "skipped" for cell in cells) and not claim.needs:
                raise RequestError(
                    f"{claim.task} skips {row} ({cells[0].reason}); choose another row or task, or say in `needs` what "
                    "it takes."
                )
    except RequestError as error:
        raise RequestError(f"{claim.where}: {error}") from error
