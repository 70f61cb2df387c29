"""Turns cells of a table into labels: classes, multi-hot labels and factors.

Shapes: N items, L labels, F factors.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SEPARATOR = ";"  # between the labels of one cell
_BITS = {"1": True, "true": True, "0": False, "false": False, "": False}


def numbered(cells: Sequence[str]) -> tuple[list[str], Tensor]:
    """Number the distinct values of a column.

    Args:
        cells: Cells (N); an empty one is a value that is not known.

    Returns:
        The values, sorted as numbers if all are numbers, else as text; and the position of each cell's value in them
        (N,) int64, -1 for empty cells.
    """
    values = sorted(set(cells) - {""})
    if all(_is_number(value) for value in values):
        values.sort(key=float)
    place = {value: number for number, value in enumerate(values)}
    return values, torch.tensor([place.get(cell, -1) for cell in cells], dtype=torch.int64)


def split_cells(cells: Sequence[str]) -> tuple[list[str], Tensor]:
    """Make multi-hot labels of cells like "cat;dog"; an empty cell has no label.

    Returns:
        The L labels, sorted; and labels (N, L) bool.
    """
    parts = [{part.strip() for part in cell.split(SEPARATOR)} - {""} for cell in cells]
    names = numbered([part for each in parts for part in each])[0]
    return names, torch.tensor([[name in each for name in names] for each in parts], dtype=torch.bool)


def bits(rows: Sequence[Sequence[str]]) -> Tensor:
    """Make multi-hot labels (N, L) bool of rows with one cell for each label, which is 1, 0, true, false or empty.

    Raises:
        ValueError: A cell is something else; the arguments are the positions of its row and column.
    """
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            if cell.lower() not in _BITS:
                raise ValueError(row, column)
    return torch.tensor([[_BITS[cell.lower()] for cell in cells] for cells in rows], dtype=torch.bool)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
