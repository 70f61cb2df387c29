"""The log of a training: one JSON object for each epoch, as a file that grows or as a list in another file.

read_log                 the lines of a file that grows, or of one of older code
storable, from_stored    the lines as a list that JSON can hold, where NaN and infinity are words
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}  # as `json` writes them in a log that grows


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a training's log, finished or under way.

    A training that goes on from a checkpoint does some epochs again: a line takes the place of all lines of its epoch
    and later ones. What is no JSON object, such as half a line, is left out.
    """
    with path.open("rb") as file:
        return current_lines([line for raw in file if (line := _parse_line(raw)) is not None])


def _parse_line(raw: bytes) -> dict[str, Any] | None:
    """Return one line of a log; None where it is no JSON object."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def current_lines(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drop the lines of epochs that were done again after them; a line without an epoch stays."""
    kept: list[dict[str, Any]] = []
    least = float("inf")
    for line in reversed(lines):
        epoch = line.get("epoch")
        if isinstance(epoch, int):
            if epoch >= least:
                continue
            least = epoch
        kept.append(line)
    return kept[::-1]


def storable(value: Any) -> Any:
    """Return lines of a log, or a part of one, with words in the place of numbers that are not finite."""
    if isinstance(value, dict):
        return {name: storable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def from_stored(value: Any) -> Any:
    """Return what `storable` was given."""
    if isinstance(value, dict):
        return {name: from_stored(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_stored(item) for item in value]
    return _WORDS.get(value, value) if isinstance(value, str) else value
