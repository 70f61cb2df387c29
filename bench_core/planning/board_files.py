"""Folders of boards: under leaderboards/ in a checkout, among the files of a wheel, or anywhere by their path."""

from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, UnknownNameError, shown
from bench_core.files import checkout, shipped_files

_TUNED_IN_WHEEL = ".tuned.toml"  # a wheel has all boards in one folder: digits.toml, and digits.tuned.toml beside it


def board_names() -> list[str]:
    """Return the names of the boards that come with the project."""
    return sorted(_shipped_boards())


def board_file(file_or_name: str) -> Path:
    """Return the file of a board: of a shipped one by name, a file itself, or the board.toml of a folder."""
    shipped = _shipped_boards()
    path = shipped.get(file_or_name, Path(file_or_name))
    try:
        if path.is_dir():
            path /= "board.toml"
        exists = path.is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        exists = False
    if not exists:
        raise UnknownNameError("board", file_or_name, shipped, "Or give the path of a board.toml.")
    return path


def tuned_file(board: Path, file: Any) -> Path:
    """Return the file beside a board that its key `tuned` names; a wheel has it as NAME.tuned.toml beside NAME.toml."""
    if not isinstance(file, str) or not file or file != Path(file).name:
        raise RequestError(f"{board}: tuned must be the name of a file beside the board, got {shown(file)}.")
    in_wheel = board.parent == shipped_files()
    path = board.with_name(f"{board.stem}{_TUNED_IN_WHEEL}") if in_wheel else board.parent / file
    if not path.is_file():
        name = next((name for name, shipped in _shipped_boards().items() if shipped == board), board)
        raise RequestError(
            f"{board}: its rows have the values of {shown(file)}, but {path} does not exist; "
            f"`bench tune --board {name}` makes it, or leave out the key tuned."
        )
    return path


def _shipped_boards() -> dict[str, Path]:
    """Return name -> file of the boards that come with the project.

    In a checkout they are under leaderboards/, in a wheel among its files.
    """
    if root := checkout():
        return {path.parent.name: path for path in (root / "leaderboards").glob("*/board.toml")}
    files = [path for path in shipped_files().glob("*.toml") if path.name != "published.toml"]
    return {path.stem: path for path in files if not path.name.endswith(_TUNED_IN_WHEEL)}
