"""Pictures of lines over a common x axis: kind `lines`, and the base of the kinds `pr` and `layers`."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import Columns, PictureData, Series
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.style import DASHES, add_caption, legend_beside, line_style, make_panels, readable_name
from bench_core.store.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MARKERS = 40  # a line with more points has no markers


class LineKind(SeriesKind):
    """Base of the kinds that show a line for each row, and a panel for each column of a curve after x."""

    def paint(self, figure: "Figure", data: PictureData, picture: Picture) -> None:
        """Draw a panel for each column: a colour for each row, other dashes for each further curve of a row."""
        y_keys = list(dict.fromkeys(key for series in data.series for key in series.y_keys))
        panels = make_panels(figure, len(y_keys), 1, (5.6, 3.5) if len(y_keys) == 1 else (3.0, 2.4))
        places = _places(data)
        handles: dict[str, Any] = {}
        for series in data.series:
            style = line_style(data.methods.index(series.method))
            if len(data.names) > 1:
                style["linestyle"] = DASHES[data.names.index(series.name) % len(DASHES)]
            label = series.method if len(data.names) == 1 else f"{series.method}, {readable_name(series.name)}"
            x = [places[name] for name in series.points] if places else series.shown_values(series.x_key)
            for key in series.y_keys:
                (axes,) = panels[y_keys.index(key)]
                (handles[label],) = axes.plot(x, series.shown_values(key), marker="o" if len(x) <= _MAX_MARKERS else "",
                                              markersize=3, linewidth=1.4, **style)  # fmt: skip
                axes.set_xlabel(picture.x_label or ("layer" if places else _axis_name(series, series.x_key)))
                axes.set_ylabel(picture.y_label or _axis_name(series, key))
        whole = all(float(x).is_integer() for series in data.series for x in series.columns[series.x_key])
        for (axes,) in panels:
            if places:
                axes.set_xticks(list(places.values()), list(places), rotation=30, ha="right", rotation_mode="anchor")
            elif whole:
                axes.locator_params(axis="x", integer=True)
            axes.grid(alpha=0.3)
        legend_beside(figure, handles)
        name = f", {readable_name(data.names[0])}" if data.names[0] not in data.task and len(data.names) == 1 else ""
        add_caption(figure, picture.title or f"{data.title}{name}", data.seeds_text)


def _places(data: PictureData) -> dict[str, int]:
    """Return name -> place on the x axis where the points of every row have names, else nothing.

    The row with most points gives the order; names that only other rows have come after it.
    """
    if not all(series.points for series in data.series):
        return {}
    rows = sorted(data.series, key=lambda series: -len(series.points))
    names = dict.fromkeys(name for series in rows for name in series.points)
    return {name: place for place, name in enumerate(names)}


def _axis_name(series: Series, key: str) -> str:
    return f"{readable_name(key)}, %" if key in series.fractions else readable_name(key)


class Lines(LineKind):
    """Curves that no other kind reads, x first; a picture for each name."""

    name = "lines"
    noun = "another curve"
    hint = "no task of this store leaves one"
    mean_if = "same_x"
    one_picture_per_name = True

    def __init__(self, other_prefixes: Collection[str]) -> None:
        """Leave out the curves whose names begin with one of these prefixes: other kinds read them."""
        self.other_prefixes = tuple(other_prefixes)

    def series_in(self, record: Record) -> Mapping[str, Columns]:
        """Return the curves of a record that no other kind reads, by name."""
        curves = super().series_in(record)
        return {name: curve for name, curve in curves.items() if not name.startswith(self.other_prefixes)}
