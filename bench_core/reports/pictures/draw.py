"""One picture as SVG, with the fingerprint of its numbers inside."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from bench_core.config import plain
from bench_core.planning.boards import Picture
from bench_core.reports.pictures import tradeoff
from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.pictures.select import find
from bench_core.reports.pictures.style import sheet
from bench_core.reports.tables.entries import Entry

_HASH = re.compile(r"bench-picture:([0-9a-f]{64})")


def fingerprint(entries: Sequence[Entry], picture: Picture) -> str:
    """SHA-256 of the numbers, to 9 figures, and of what is asked for.

    Raises:
        RequestError: The records do not hold what shall be drawn; says what to run.
    """
    if picture.kind == "tradeoff":
        return _hash(picture, tradeoff.figures(tradeoff.points(entries, picture)))
    return _hash(picture, [part.figures() for part in find(entries, picture).parts])


def _hash(picture: Picture, rows: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps([plain(picture), rows]).encode()).hexdigest()


def drawn(path: Path) -> str:
    """The fingerprint that a picture carries, "" where there is none."""
    match = _HASH.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else ""


def draw(entries: Sequence[Entry], picture: Picture, path: Path) -> None:
    """Write a picture as SVG.

    Raises:
        RequestError: matplotlib is not installed, or the records do not hold what shall be drawn.
    """
    mark = f"bench-picture:{fingerprint(entries, picture)}"
    with sheet(path, f"picture {picture.name!r}", mark) as figure:
        if picture.kind == "tradeoff":
            tradeoff.paint(figure, entries, picture)
        else:
            KINDS[picture.kind].paint(figure, find(entries, picture), picture)
