"""Pictures of boards: one score against another, a point for each row.

A board asks for them, `bench publish` draws them beside its page, and each picture carries a hash of the numbers in
it, by which `bench table --check` sees whether it is still true.

[pictures.tradeoff]
x = "distribution:sliced_ks"
y = "knn:top1"
connect = true            # a line through the points, in the board's order
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_core.boards import Picture
from bench_core.errors import RequestError
from bench_core.tables.entries import Entry
from bench_core.tables.parts import Cell
from bench_core.tables.table import build

_HASH = re.compile(r"bench-picture:([0-9a-f]{64})")


def points(entries: Sequence[Entry], picture: Picture) -> dict[str, tuple[Cell, Cell]]:
    """Row -> its cells of x and y, as the table has them, in the order of the entries.

    Raises:
        RequestError: No record has one of the two scores, or there is more than one data set or encoder.
    """
    cells: list[dict[str, Cell]] = []
    for axis in (picture.x, picture.y):
        (table, *others) = build(entries, metric=axis)
        if others:
            raise RequestError(f"picture {picture.name!r}: a picture shows one data set with one encoder.")
        place = next(k for k, column in enumerate(table.columns) if column.kind == "task")
        cells.append({row.name: row.cells[place] for row in table.rows if row.cells[place].mean is not None})
    order = dict.fromkeys(entry.names["method"] for entry in entries)
    return {name: (cells[0][name], cells[1][name]) for name in order if name in cells[0] and name in cells[1]}


def fingerprint(found: dict[str, tuple[Cell, Cell]], picture: Picture) -> str:
    """SHA-256 of the numbers, to 9 figures, and of what is asked for."""
    rows = [[name, *(_figures(cell) for cell in pair)] for name, pair in found.items()]
    return hashlib.sha256(json.dumps([vars(picture), rows]).encode()).hexdigest()


def _figures(cell: Cell) -> list[str]:
    return [f"{value:.9g}" if value is not None else "" for value in (cell.mean, cell.halfwidth)]


def drawn(path: Path) -> str:
    """The fingerprint that a picture carries, "" where there is none."""
    match = _HASH.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return match[1] if match else ""


def draw(entries: Sequence[Entry], picture: Picture, path: Path) -> None:
    """Write an SVG: means, and bars for their 95 % intervals over seeds.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError(f"picture {picture.name!r} needs matplotlib: pip install 'bench-core[pictures]'") from error
    found = points(entries, picture)
    style: Any = {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        scale = [100 if axis_unit(entries, axis) == "fraction" else 1 for axis in (picture.x, picture.y)]
        x, y = ([scale[k] * (pair[k].mean or 0.0) for pair in found.values()] for k in (0, 1))
        if picture.connect:
            axes.plot(x, y, color="0.75", linewidth=1, zorder=0)
        for place, (name, pair) in enumerate(found.items()):
            bars = [scale[k] * (pair[k].halfwidth or 0.0) for k in (0, 1)]
            axes.errorbar(x[place], y[place], xerr=bars[0], yerr=bars[1], fmt="o", capsize=2, label=name)
            axes.annotate(name, (x[place], y[place]), xytext=(6, 5), textcoords="offset points", fontsize=9)
        axes.set_xlabel(picture.x_label or picture.x)
        axes.set_ylabel(picture.y_label or picture.y)
        axes.set_title("means over seeds; bars: 95 % t intervals", fontsize=8, color="0.4", loc="right")
        axes.grid(alpha=0.3)
        metadata = {"Date": None, "Description": f"bench-picture:{fingerprint(found, picture)}"}
        figure.savefig(path, format="svg", metadata=metadata)


def axis_unit(entries: Sequence[Entry], axis: str) -> str:
    """The unit of a score by TASK:METRIC."""
    column = next(column for column in build(entries, metric=axis)[0].columns if column.kind == "task")
    return column.unit
