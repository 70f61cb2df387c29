"""The common look of all pictures, and how they become files.

matplotlib is imported when something is drawn, not before.

Colours: Petroff, "Accessible color sequences for data visualization", 2021, https://arxiv.org/abs/2107.02270: ten that
         can be told apart with any colour vision. Classes have markers, too, and more than ten lines other dashes.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.files import new_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
DARK = "0.15"
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
_LEGEND_LINE = 0.21  # inches that a name in a legend takes
_LEGEND_WIDTH = 40  # characters after which a name is wrapped
_ABOVE = 0.7  # inches of the caption
_MAX_PANELS_IN_A_ROW = 4  # where a single column of panels wraps


@contextmanager
def svg_figure(path: Path, what: str, description: str) -> "Iterator[Figure]":
    """Yield a figure to draw on and write it as SVG at the end, with the same bytes for the same drawing.

    Args:
        path: The file.
        what: The picture in words, for the message where matplotlib is missing.
        description: Text in the metadata of the file.

    Raises:
        RequestError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from cycler import cycler  # a dependency of matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RequestError(f"{what} needs matplotlib: pip install 'bench-core[pictures]'") from error
    style: Any = {
        "svg.hashsalt": "bench",
        "svg.fonttype": "none",
        "text.parse_math": False,  # names and titles come from other people's records
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
        with new_file(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Description": description})


def line_style(index: int) -> dict[str, Any]:
    """Return colour and dashes of the line with this index; no two of the first 40 look alike."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def point_style(index: int) -> dict[str, Any]:
    """Return colour and marker of the class with this index; no two of the first 40 look alike."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def make_panels(
    figure: "Figure", rows: int, columns: int, size: tuple[float, float], **shared: Any
) -> "list[list[Axes]]":
    """Return matplotlib axes by row and column. A single column of panels is laid out in several columns.

    Args:
        figure: The empty figure; it is resized.
        rows: Number of rows.
        columns: Number of panels of each row.
        size: Width and height of a panel, in inches.
        **shared: Passed on to `figure.subplots`.
    """
    grid_columns = min(_MAX_PANELS_IN_A_ROW, rows) if columns == 1 else columns
    grid_rows = math.ceil(rows / grid_columns) if columns == 1 else rows
    figure.set_size_inches(size[0] * grid_columns, size[1] * grid_rows + _ABOVE)
    grid = figure.subplots(grid_rows, grid_columns, squeeze=False, **shared)
    if columns > 1:
        return [list(row) for row in grid]
    flat = list(grid.ravel())
    for unused in flat[rows:]:
        unused.set_visible(False)
    return [[axes] for axes in flat[:rows]]


def add_caption(figure: "Figure", title: str, seeds_text: str) -> None:
    """Write the title above the panels, wrapped to the figure's width, and the seeds that are shown below it."""
    wrapped = textwrap.fill(title, max(20, int(11 * figure.get_figwidth())))
    figure.suptitle(f"{wrapped}\n({seeds_text})", fontsize=10)


def legend_beside(figure: "Figure", handles: Mapping[str, Any]) -> None:
    """Put a legend to the right of the panels, and widen the figure by it.

    Args:
        figure: The figure, whose panels are drawn.
        handles: Name -> artist.
    """
    names = [textwrap.fill(name, _LEGEND_WIDTH, break_long_words=False) for name in handles]
    lines = sum(name.count("\n") + 1 for name in names)
    rows = max(1, int((figure.get_figheight() - _ABOVE) / _LEGEND_LINE))
    columns = min(len(names), math.ceil(lines / rows))
    legend = figure.legend(handles.values(), names, loc="outside right center", ncols=columns)
    figure.set_figwidth(figure.get_figwidth() + legend.get_window_extent().width / figure.dpi)


def legend_below(figure: "Figure", handles: Mapping[str, Any], title: str) -> None:
    """Put a legend below the panels, in as many columns as fit, and make the figure higher by it.

    Args:
        figure: The figure, whose panels are drawn.
        handles: Name -> artist.
        title: What the names are.
    """
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles.values(), handles.keys(), title=title, loc="outside lower center", ncols=columns,
            columnspacing=1.0, handletextpad=0.2,
        )  # fmt: skip
        box = legend.get_window_extent()
        if box.width <= 0.95 * figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + box.height / figure.dpi)
            return
        legend.remove()


def readable_name(name: str) -> str:
    """Return a name as an axis or a title shows it: `pr_32_bits` is "precision-recall, 32 bits"."""
    spaced = name.replace("_", " ")
    return f"precision-recall, {spaced.removeprefix('pr ')}" if spaced.startswith("pr ") else spaced
