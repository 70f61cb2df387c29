"""The plots of a board's page: what is drawn of a board's records, as data for static/plots.js.

A kind is a function from the board's cells to a `SitePlot`, or None where the records do not hold what it shows; it has
a line in `PLOTS`. Each plot has views, one for each choice of table, score and so on, and a view is drawn by its shape:

scatter   points with names and intervals: quality.py, two_scores.py
strips    a line of points for each row: seeds in rows.py
ranks     mean ranks with the critical difference: rows.py
lines     curves, one panel for a few rows and one each for many: curves.py, epochs.py, trials.py
areas     a distribution against its prior: curves.py
clouds    embeddings in a plane: planes.py, with images of items: thumbnails.py
images    grids of images: images.py

All statistics are those of the tables, comparisons and pictures; pages only draw them.
"""

from bench_core.plugins import Registry
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.site.plots.curves import histogram, layers, linear_regions, other_curves, precision_recall
from bench_core.reports.site.plots.epochs import quality_epochs
from bench_core.reports.site.plots.images import samples
from bench_core.reports.site.plots.model import PlotSource, SitePlot
from bench_core.reports.site.plots.planes import projection
from bench_core.reports.site.plots.quality import quality_cost
from bench_core.reports.site.plots.rows import ranks, seeds
from bench_core.reports.site.plots.trials import tuning
from bench_core.reports.site.plots.two_scores import tradeoff
from bench_core.reports.site.writer import SiteWriter

PLOTS = (
    quality_cost,
    quality_epochs,
    seeds,
    ranks,
    tradeoff,
    precision_recall,
    projection,
    samples,
    layers,
    linear_regions,
    histogram,
    tuning,
    other_curves,
)


def plots_of(source: PlotSource) -> list[SitePlot]:
    """Return the plots that a board's records can fill, in the order of its page."""
    return [plot for make in PLOTS if (plot := make(source)) is not None]


def write_board_plots(site: SiteWriter, board: SiteBoard, registry: Registry | None = None) -> list[dict[str, str]]:
    """Write the data of a board's plots.

    Args:
        site: The site.
        board: The board.
        registry: The plugins, from whose datasets images of items are read; None shows none.

    Returns:
        For each plot what templates/plots.html shows: kind, title, read, and the address and name of its data.
    """
    figures, source = [], PlotSource(board, registry)
    for plot in plots_of(source):
        address, name = f"data/plots/{board.name}/{plot.kind}.js", f"plot/{board.name}/{plot.kind}"
        site.data(address, name, plot.as_json())
        for file, content in plot.files.items():
            site.file(source.file_address(plot.kind, file), content)
        figures.append(
            {"kind": plot.kind, "title": plot.title, "read": plot.read, "data_address": address, "data_name": name}
        )
    return figures
