"""Labels of a column of `datasets`: classes, or several labels for each image.

Shapes: N images, L labels.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.errors import ConfigError, DataMissingError, shown

from .tables import NAME


def number_labels(
    place: Path, column: str, cells: dict[str, list[Any]], declared: int | None
) -> tuple[list[Any], dict[str, Tensor | None]]:
    """Number the classes of all splits.

    Args:
        place: The dataset, for messages.
        column: Name of the column.
        cells: Its cells by split: whole numbers, text, or lists of these. A split of None or -1 alone has no labels.
        declared: Number of classes if the column names them; then cells are their numbers.
    """
    given = {split: values for split, values in cells.items() if any(value not in (None, -1) for value in values)}
    several = any(isinstance(value, list) for values in given.values() for value in values)
    for split, values in given.items():
        absent = [row for row, value in enumerate(values) if value is None or (declared and value == -1)]
        if absent:
            raise DataMissingError(
                f"{NAME}: {place}: {len(absent)} of {len(values)} rows of {split} have nothing in {shown(column)}, "
                f"the first is row {absent[0]}; remove them, or leave labels out: --set {NAME}.label=none."
            )
    flat = [part for values in given.values() for value in values for part in (value if several else [value])]
    kinds = {str if isinstance(part, str) else int if isinstance(part, int) else object for part in flat}
    if object in kinds or len(kinds) > 1:
        wrong = next((part for part in flat if not isinstance(part, str | int)), "text and numbers")
        raise _not_labels(place, column, wrong)
    classes = list(range(declared)) if declared else sorted(set(flat))
    number = {value: position for position, value in enumerate(classes)}
    if unknown := [part for part in flat if part not in number]:
        raise _not_labels(place, column, unknown[0], f"of {declared} classes")
    labels: dict[str, Tensor | None] = dict.fromkeys(cells)
    for split, values in given.items():
        if several:
            bits = torch.zeros(len(values), len(classes), dtype=torch.bool)
            for row, value in enumerate(values):
                bits[row, [number[part] for part in value]] = True
            labels[split] = bits
        else:
            labels[split] = torch.tensor([number[value] for value in values])
    return classes, labels


def _not_labels(place: Path, column: str, wrong: object, which: str = "") -> ConfigError:
    """Return the error for a cell that is no label."""
    right = f"numbers {which}" if which else "whole numbers or text"
    return ConfigError(
        f"{NAME}: {place}: the column {shown(column)} holds {shown(wrong)}, but labels are {right}. Set {NAME}.label "
        "to another column, or to none."
    )
