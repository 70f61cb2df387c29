"""The tuning of a board, before anything runs: which rows have trials, and where their board and their store lie.

STORE/tuning/BOARD/          a store of its own: no trial stands among the results
    board.toml               the board of trials
    optuna.log               the trials for Optuna's tools
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench_core.errors import RequestError, UnknownNameError
from bench_core.files import checkout, shipped_files, write_text
from bench_core.planning.board_files import board_file
from bench_core.planning.boards import Board, load_board
from bench_core.planning.components import is_registered
from bench_core.planning.spaces import space_of
from bench_core.planning.tuning import Tuning
from bench_core.plugins import Registry
from bench_core.store import Store
from bench_core.tuning.outcome import metrics_of
from bench_core.tuning.trial_board import trial_board
from bench_core.tuning.trials import RowTrials, trials_of
from bench_core.tuning.tuned_file import toml_text

FOLDER, BOARD, JOURNAL, LOCK, USED = "tuning", "board.toml", "optuna.log", "tuned.lock", "board.lock"


@dataclass(frozen=True)
class Search:
    """All that `bench tune` is asked for.

    Attributes:
        board: The board, without tuned values.
        tuning: How its rows are tuned.
        rows: Trials of every row that can be tuned.
        asked: Names of the rows that are tuned now.
        left_out: Name of a row that is not tuned -> why.
        text: The board of trials, of all rows.
    """

    board: Board
    tuning: Tuning
    rows: dict[str, RowTrials]
    asked: list[str]
    left_out: dict[str, str]
    text: str


def make_search(board_name: str, methods: Sequence[str] | None, given: dict[str, object], registry: Registry) -> Search:
    """Draw the trials of a board's rows.

    Args:
        board_name: Name or file of the board.
        methods: Rows to tune; None for all that can be tuned.
        given: What replaces values of the board's [tuning]: trials, validation, seeds, epochs.
        registry: The plugins.

    Raises:
        RequestError: There is no such board or row, a value does not fit, or a package is missing.
    """
    board = load_board(board_name, tuned=False)
    tuning = replace(board.tuning, **given)  # type: ignore[arg-type]  # the command line has checked them
    left_out = {name: reason for name in board.methods if (reason := _why_not(name, board, tuning, registry))}
    can = [name for name in board.methods if name not in left_out]
    asked = list(dict.fromkeys(methods)) if methods is not None and list(methods) != ["all"] else can
    if unknown := [name for name in asked if name not in board.methods]:
        raise UnknownNameError("row", unknown[0], board.methods, f"--methods names rows of board {board.name}.")
    if refused := [name for name in asked if name in left_out]:
        raise RequestError(f"{refused[0]} cannot be tuned: {left_out[refused[0]]}.")
    if not asked:
        raise RequestError(f"no row of board {board.name} can be tuned: {'; '.join(_told(left_out))}.")
    rows = {name: trials_of(board.methods[name], board, registry, tuning.trials) for name in can}
    text = toml_text(trial_board(board, tuning, list(rows.values()), registry))
    return Search(board, tuning, rows, asked, left_out, text)


def _why_not(name: str, board: Board, tuning: Tuning, registry: Registry) -> str:
    """Say why a row has no trials; "" for one that has."""
    row = board.methods[name]
    if not is_registered(row, "methods", registry):
        return f"there is no method {row.use}"
    if not space_of(row, board, registry):
        return "it is not trained"
    return "" if metrics_of(row, tuning, registry) else "[tuning.metrics] names no metric of its family"


def _told(left_out: dict[str, str]) -> list[str]:
    return [f"{name}: {reason}" for name, reason in left_out.items()]


def trial_store(store: Path, board: Board) -> Store:
    """Return the store of a board's trials inside a store; nothing is made yet."""
    return Store(Store(store).path / FOLDER / (board.name or "board"))


@contextmanager
def written_board(search: Search, store: Path, trials: Store) -> Iterator[Path]:
    """Write the board of trials into their store, and keep it as it is for as long as it is in use.

    Args:
        search: What is tuned.
        store: The store in which that of the trials lies.
        trials: The store of the trials.

    Raises:
        RequestError: Another process uses a board of other trials, or the folder cannot be written.
    """
    Store(store).create()  # first: a folder with anything else in it could not become a store later
    trials.create()
    path = trials.path / BOARD
    with ExitStack() as closing:
        lock = closing.enter_context((trials.path / USED).open("ab"))
        try:
            import fcntl
        except ImportError:  # Windows
            write_text(path, search.text)
            yield path
            return
        if not path.is_file() or path.read_text(encoding="utf-8") != search.text:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RequestError(
                    f"another bench tune is at work in {trials.path} with another board or other options; wait until "
                    "it ends, or give a folder of its own with --store."
                ) from error
            write_text(path, search.text)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield path


def tuned_path(board_name: str, out: Path | None) -> Path:
    """Return where tuned.toml is written: beside the board, or here where the board came with the installed package."""
    if out is not None:
        return out
    path = board_file(board_name)
    if checkout() is None and path.parent == shipped_files():
        return Path("tuned.toml")
    return path.parent / "tuned.toml"
