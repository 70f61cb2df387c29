"""Embeddings in a plane, from records of the task projection: a panel for each row, a point for each test item."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.reports.pictures.model import PictureData, PlotRequest, Series
from bench_core.reports.pictures.projection import Projection
from bench_core.reports.site.plots.model import PlotSource, SitePlot, View, axis_name, rounded
from bench_core.reports.site.plots.thumbnails import NoImagesError, Sheet, Thumbnails
from bench_core.reports.tables.entries import Entry
from bench_core.store.record import Document

MOST_POINTS = 1000  # of one row
_SHEET = "items.png"
_READ = " Point at a point, or choose an item, to see its image and its place in all rows."
_NAMES = {"projection_pca": "PCA", "projection_umap": "UMAP"}
_DIGITS = 4  # of a place in the plane


@dataclass
class _Plane:
    """One view while it is made.

    Attributes:
        title: The table.
        data: What is drawn of it.
        name: The curve in the records.
        panels: A panel for each row.
        licences: Licences of the images that it shows.
        reasons: Why rows have no images of items.
    """

    title: str
    data: PictureData
    name: str
    panels: list[dict[str, Any]]
    licences: dict[str, None]
    reasons: dict[str, None]


def projection(source: PlotSource) -> SitePlot | None:
    """Return the points of each row with their classes; where there are more than 1,000, evenly many fewer.

    Points have the images of their items where `Thumbnails` finds them.
    """
    thumbnails, draws = Thumbnails(source.registry), dict[tuple[int, ...], int]()
    kind, planes = Projection(), []
    for title, group in source.groups.items():
        for picture in kind.possible_pictures(group, PlotRequest()):
            entries = [entry for entry in group if entry.names["task"] == picture.task]
            data = kind.read(entries, picture)
            for name in data.names:
                plane = _Plane(title, data, name, [], {}, {})
                for series in data.series:
                    if series.name == name:
                        plane.panels.append(_panel(series))
                        _add_items(plane, series, _document(entries, series), thumbnails, draws)
                planes.append(plane)
    if not planes:
        return None
    sheet = thumbnails.sheet()
    return SitePlot(
        "projection",
        "Embeddings in a plane",
        "A point is a test item, colour and shape are its class, numbers stand at the medians of classes: a good "
        f"embedding keeps classes apart.{_READ * bool(sheet)}",
        ("table", "plane"),
        tuple(_view(plane, sheet) for plane in planes),
        {"items": _shared(source, sheet, list(draws))} if sheet else {},
        {_SHEET: sheet.png} if sheet else {},
    )


def _panel(series: Series) -> dict[str, Any]:
    columns, step = series.columns, _step(series)
    panel: dict[str, Any] = {"name": series.method}
    for key in ("x", "y"):
        panel[key] = [rounded(float(f"{value:.{_DIGITS}g}")) for value in columns[key][::step]]
    if "label" in columns:
        panel["classes"] = [int(label) for label in columns["label"][::step]]
    return panel


def _step(series: Series) -> int:
    return -(-len(series.columns["x"]) // MOST_POINTS)


def _document(entries: Sequence[Entry], series: Series) -> Document | None:
    """Return the document of the record that a row's points are from."""
    for entry in entries:
        if (entry.names["method"], entry.seed) == (series.method, series.seeds[0]) and entry.finished_record:
            return entry.finished_record.document
    return None


def _add_items(
    plane: _Plane,
    series: Series,
    document: Document | None,
    thumbnails: Thumbnails,
    draws: dict[tuple[int, ...], int],
) -> None:
    """Say in the last panel which items its points are, or in the view why that is not known.

    Args:
        plane: The view.
        series: The points.
        document: The document of their record.
        thumbnails: Gets the items.
        draws: Items of rows -> their place in the list of all such rows of items; most rows show the same ones.
    """
    try:
        if document is None:
            raise NoImagesError("it does not follow from the records which items the points are")
        licence = thumbnails.licence(document)
        cells = thumbnails.cells(document, [int(label) for label in series.columns.get("label", ())], _step(series))
    except NoImagesError as reason:
        plane.reasons[str(reason)] = None
        return
    plane.licences[licence] = None
    plane.panels[-1]["items"] = draws.setdefault(tuple(cells), len(draws))


def _view(plane: _Plane, sheet: Sheet | None) -> View:
    panels, named = plane.panels, _NAMES.get(plane.name, axis_name(plane.name))
    label = f"Test items in the plane ({named}), coloured by class, a panel for each of {len(panels)} rows."
    notes, reasons = [f"Shown: {plane.data.seeds_text}."], dict(plane.reasons)
    if sheet is None:
        panels = [{key: value for key, value in panel.items() if key != "items"} for panel in panels]
        reasons |= dict.fromkeys(["they are too many for a page"] if plane.licences else [])
    else:
        notes += [f"Images of items, at most {sheet.side} pixels wide: {licence}." for licence in plane.licences]
    some = " of some rows" if sheet and plane.licences else ""
    notes += [f"No images of items{some}: {reason}." for reason in reasons]
    return View((plane.title, f"{plane.data.task}: {named}"), "clouds", label, {"panels": panels}, tuple(notes))


def _shared(source: PlotSource, sheet: Sheet, draws: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return what pages need to know of the sheet, and the cells of the points of each different row."""
    return {
        "address": source.file_address("projection", _SHEET),
        "side": sheet.side,
        "across": sheet.across,
        "down": sheet.down,
        "numbers": sheet.numbers,
        "draws": draws,
    }
