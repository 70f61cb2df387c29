"""The commands of `bench run` that measure claims."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench_core.planning.board_files import board_names
from bench_core.reports.claims.claim import Claim


@dataclass(frozen=True)
class Command:
    """One command: rows of a board on the same tasks.

    Attributes:
        board: Name or file of the board.
        dataset: One of the board's; "" for all.
        encoder: One of the board's; "" for all.
        methods: Rows of the board; rows that these start from are trained by themselves.
        tasks: Tasks of the board.
    """

    board: str
    dataset: str
    encoder: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The words after `bench run`."""
        one_of_several = [("--datasets", self.dataset), ("--encoders", self.encoder)]
        chosen = [word for option, name in one_of_several if name for word in (option, name)]
        cells = ["--methods", ",".join(self.methods), "--tasks", ",".join(self.tasks)]
        return ["--board", self.board, *chosen, *cells]

    @property
    def text(self) -> str:
        """The command as it is typed."""
        return shlex.join(["bench", "run", *self.words])


def commands_for(claims: Iterable[Claim], leaderboards: Path | None = None) -> list[Command]:
    """Return the commands that measure some claims: no row is run on a task that none of them names.

    Rows that are needed on the same tasks share a command. Claims that no board measures need none.

    Args:
        claims: The claims.
        leaderboards: A folder of boards, for boards that do not come with the project.
    """
    tasks: dict[tuple[str, str, str], dict[str, dict[str, None]]] = {}
    for claim in claims:
        if claim.is_measurable:
            board = _typed(claim.board, leaderboards)
            rows = tasks.setdefault((board, claim.dataset, claim.encoder), {})
            for row in claim.rows:
                rows.setdefault(row, {})[claim.task] = None
    commands = []
    for where, rows in tasks.items():
        alike: dict[frozenset[str], list[str]] = {}
        for row, of_row in rows.items():
            alike.setdefault(frozenset(of_row), []).append(row)
        commands += [Command(*where, tuple(names), tuple(rows[names[0]])) for names in alike.values()]
    return commands


def _typed(board: str, leaderboards: Path | None) -> str:
    """Return what to type for a board: its name if it comes with the project, else its file."""
    file = None if leaderboards is None else leaderboards / board / "board.toml"
    if file is None or board in board_names() or not file.is_file():
        return board
    return file.as_posix()
