"""One picture as an SVG file that carries the fingerprint of its numbers."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.config import plain
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.kinds import kind_of
from bench_core.reports.pictures.style import svg_figure
from bench_core.reports.tables.entries import Entry

if TYPE_CHECKING:
    from bench_core.store import Store

_MARK = "bench-picture:"
_MARK_AND_FINGERPRINT = re.compile(rf"{_MARK}([0-9a-f]{{64}})")


def fingerprint(entries: Sequence[Entry], picture: Picture, board: Board | None = None) -> str:
    """Return the SHA-256 of a picture's options and of the numbers it shows, to 9 significant digits.

    Args:
        entries: Cells of a store or of a board.
        picture: The options of the picture.
        board: The board that the picture is of; None where it is of a store.

    Raises:
        RequestError: The records do not hold what shall be drawn; says what to run.
    """
    kind = kind_of(picture, board)
    return _fingerprint(picture, kind.fingerprint_values(kind.read(entries, picture, None)))


def _fingerprint(picture: Picture, values: list[Any]) -> str:
    return hashlib.sha256(json.dumps([plain(picture), values]).encode()).hexdigest()


def fingerprint_in(path: Path) -> str:
    """Return the fingerprint that an SVG file carries; "" where there is no file, or none in it."""
    match = _MARK_AND_FINGERPRINT.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else ""


def draw(
    entries: Sequence[Entry],
    picture: Picture,
    path: Path,
    store: "Store | None" = None,
    board: Board | None = None,
) -> list[str]:
    """Write a picture as SVG.

    Args:
        entries: Cells of a store or of a board.
        picture: The options of the picture.
        path: The file to write.
        store: The store of the entries; None where only published records are there.
        board: The board that the picture is of; None where it is of a store.

    Returns:
        What the picture lacks, for the user; empty where it shows all rows.

    Raises:
        RequestError: matplotlib is not installed, or the records do not hold what shall be drawn.
    """
    kind = kind_of(picture, board)
    data = kind.read(entries, picture, store)
    if kind.published:
        description = f"{_MARK}{_fingerprint(picture, kind.fingerprint_values(data))}"
    else:
        description = f"bench plot --kind {kind.name}"
    with svg_figure(path, f"picture {picture.name!r}", description) as figure:
        kind.paint(figure, data, picture)
    return kind.notes(data)
