"""How all pictures look, and how they become files. matplotlib is imported when something is drawn, not before.

Colours: Petroff, "Accessible color sequences for data visualization", 2021, https://arxiv.org/abs/2107.02270, ten that
         are told apart with any colour vision; classes have markers, too, and further lines other dashes.
"""

import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
DARK = "0.15"
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
_WIDEST = 4  # panels in a row, where they may wrap


@contextmanager
def sheet(path: Path, what: str, mark: str) -> "Iterator[Figure]":
    """A figure to draw on, which is written as SVG at the end, with the same bytes for the same drawing.

    Args:
        path: Of the file.
        what: Named in the message where matplotlib is missing.
        mark: What the file says of itself.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from cycler import cycler  # matplotlib's own
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError(f"{what} needs matplotlib: pip install 'bench-core[pictures]'") from error
    style: Any = {
        "svg.hashsalt": "bench",
        "svg.fonttype": "none",
        "text.parse_math": False,  # names and titles are other people's
        "font.size": 10,
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.axisbelow": True,
        "axes.edgecolor": "0.4",
        "axes.titlesize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "image.interpolation": "none",
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None, "Description": mark})


def shade(place: int) -> dict[str, Any]:
    """Colour and dashes of the line at a place: no two alike up to 40."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place // len(COLOURS) % len(DASHES)]}


def dot(place: int) -> dict[str, Any]:
    """Colour and marker of the class at a place: no two alike up to 40."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def panels(figure: "Figure", rows: int, columns: int, size: tuple[float, float], **shared: Any) -> "list[list[Axes]]":
    """Axes for rows and columns of panels, of a size in inches each; one column wraps, and is one row of the answer."""
    wide = min(_WIDEST, rows) if columns == 1 else columns
    high = math.ceil(rows / wide) if columns == 1 else rows
    figure.set_size_inches(size[0] * wide, size[1] * high + 0.7)
    grid = figure.subplots(high, wide, squeeze=False, **shared)
    if columns > 1:
        return [list(line) for line in grid]
    flat = list(grid.ravel())
    for spare in flat[rows:]:
        spare.set_visible(False)
    return [[axes] for axes in flat[:rows]]


def caption(figure: "Figure", title: str, seeds: str) -> None:
    """What is seen above the panels: the title, as wide as the figure at most, and below it which seeds are shown."""
    wrapped = textwrap.fill(title, max(20, int(11 * figure.get_figwidth())))
    figure.suptitle(f"{wrapped}\n({seeds})", fontsize=10)


def words(name: str) -> str:
    """A name as an axis shows it."""
    shown = name.replace("_", " ")
    return f"precision-recall, {shown.removeprefix('pr ')}" if shown.startswith("pr ") else shown
