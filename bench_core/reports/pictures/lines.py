"""Pictures of lines over a common x axis: kind `lines`, and the base of the kinds `pr` and `layers`."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import Columns, PictureData
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.style import DASHES, line_style, readable_name
from bench_core.store.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MARKERS = 40  # a line with more points has no markers
_LEGEND_ROWS = 18  # names in one column of the legend


class LineKind(SeriesKind):
    """Base of the kinds that show a line for each row, and for each column of a curve after x."""

    def paint(self, figure: "Figure", data: PictureData, picture: Picture) -> None:
        """Draw all lines into one panel: a colour for each row, other dashes where a row has several lines."""
        axes = figure.add_subplot()
        lines = [(series, y_key) for series in data.series for y_key in series.y_keys]
        line_types = list(dict.fromkeys((series.name, y_key) for series, y_key in lines))
        y_keys = list(dict.fromkeys(y_key for _, y_key in line_types))
        for series, y_key in lines:
            style = line_style(data.methods.index(series.method))
            if len(line_types) > 1:
                style["linestyle"] = DASHES[line_types.index((series.name, y_key)) % len(DASHES)]
            label = [series.method]
            if len(data.names) > 1:
                label.append(readable_name(series.name))
            if len(y_keys) > 1:
                label.append(readable_name(y_key))
            x = series.columns[series.x_key]
            axes.plot(x, series.columns[y_key], marker="o" if len(x) <= _MAX_MARKERS else "", markersize=3,
                      linewidth=1.4, label=", ".join(label), **style)  # fmt: skip
            axes.set_xlabel(picture.x_label or readable_name(series.x_key))
        axes.set_ylabel(picture.y_label or ", ".join(map(readable_name, y_keys)))
        if all(float(x).is_integer() for series in data.series for x in series.columns[series.x_key]):
            axes.locator_params(axis="x", integer=True)  # layers are counted
        axes.grid(alpha=0.3)
        legend_columns = 1 + (len(lines) - 1) // _LEGEND_ROWS
        figure.set_size_inches(5.6 + 1.7 * legend_columns, 4.2)
        figure.legend(loc="outside right center", ncols=legend_columns)
        name = f", {readable_name(data.names[0])}" if len(data.names) == 1 else ""
        title = picture.title or f"{data.title}{name}"
        axes.set_title(f"{title}\n({data.seeds_text})")  # above the axes, not above the legend, which may be high


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
