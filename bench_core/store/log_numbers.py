"""The numbers in a line of a training's log, flat, as curves and loggers take them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any


def log_numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield name and value of each finite number in a line; what is inside another is named `probe.knn`."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from log_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", value
