"""The document of a board: its file over that of its base, with the rows of `only`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.config import read_toml
from bench_core.errors import RequestError, UnknownNameError, shown
from bench_core.planning.board_files import board_file

_TUNED_SECTIONS = frozenset({"recipe", "datasets", "encoders", "methods"})  # what tuned values were found for


def read_over_base(path: Path, read_before: Sequence[Path] = ()) -> tuple[dict[str, Any], Path]:
    """Read a board's file over its base, and keep the rows of `only`.

    Tuned values of the base come along where recipe, datasets, encoders and rows are the base's, too: they were found
    for these. Elsewhere they stay behind, with the pictures of tuning.

    Args:
        path: The file.
        read_before: The files whose bases led to this one, to find circles.

    Returns:
        The document, and the file beside which its tuned.toml lies.

    Raises:
        UnknownNameError: The base does not exist, or `only` names a row that there is not.
        RequestError: A file cannot be read, or bases go in a circle.
    """
    document, owner = read_toml(path), path
    base, only = document.pop("base", None), document.pop("only", None)
    if base is not None:
        if not isinstance(base, str):
            raise RequestError(f"{path}: base must be the name or the path of a board, got {shown(base)}.")
        if path in read_before:
            raise RequestError(f"{path}: bases go in a circle.")
        below, owner_below = read_over_base(board_file(base), (*read_before, path))
        if _TUNED_SECTIONS.isdisjoint(document):
            owner = path if "tuned" in document else owner_below
        else:
            below.pop("tuned", None)
            if isinstance(pictures := below.get("pictures"), Mapping):
                below["pictures"] = {name: picture for name, picture in pictures.items() if not _is_of_tuning(picture)}
        document = below | document
    if only is not None:
        rows = table_of(document.get("methods", {}), f"{path}: methods")
        if not isinstance(only, list) or not all(isinstance(name, str) for name in only):
            raise RequestError(f"{path}: only must be a list of rows, like ['random', 'nac'], got {shown(only)}.")
        if unknown := [name for name in only if name not in rows]:
            raise UnknownNameError("row", unknown[0], rows, f"{path}: only names rows of the board or of its base.")
        document["methods"] = {name: rows[name] for name in only}
    return document, owner


def _is_of_tuning(picture: Any) -> bool:
    return isinstance(picture, Mapping) and picture.get("kind") == "tuning"


def table_of(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that must be a table.

    Args:
        value: The value.
        where: What messages call it.

    Raises:
        RequestError: It is none.
    """
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} must be a table, got {shown(value)}.")
    return value
