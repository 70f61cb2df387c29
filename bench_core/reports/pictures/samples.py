"""Pictures of kind `samples`: grids of images that a method draws, decodes or confuses."""

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image

from bench_core.errors import StoreError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import Columns, PictureData
from bench_core.reports.pictures.select import images_of
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.style import add_caption, make_panels, readable_name
from bench_core.store.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_PIXELS = 1 << 24  # of a grid; a larger one is refused, not decoded
_MIN_SIDE = 400  # pixels of the longer side in the file: not every viewer enlarges small images without blur


class Samples(SeriesKind):
    """Grids of images, from the `images` of records."""

    name = "samples"
    noun = "a grid of images"
    hint = "tasks that look at decoded images keep some"
    mean_if = "never"

    def series_in(self, record: Record) -> Mapping[str, Columns]:
        """Return a record's grids of images, by name."""
        return images_of(record)

    def paint(self, figure: "Figure", data: PictureData, picture: Picture) -> None:
        """Draw a panel for each row and grid, with sharp pixels."""
        rows, columns = len(data.methods), len(data.names)
        panels = make_panels(figure, rows, columns, (2.6, 2.8))
        for row in panels:
            for axes in row:
                axes.set_axis_off()
        for series in data.series:
            axes = panels[data.methods.index(series.method)][data.names.index(series.name)]
            image = _decode(series.columns["png"], f"{series.method}, {series.name}")
            axes.imshow(_enlarge(image), interpolation="none")
            axes.set_title(series.method if columns == 1 else f"{series.method}, {readable_name(series.name)}")
        name = f", {readable_name(data.names[0])}" if columns == 1 else ""
        add_caption(figure, picture.title or f"{data.title}{name}", data.seeds_text)


def _decode(png: str, where: str) -> Image.Image:
    """Decode a grid of a record.

    Raises:
        StoreError: It is no PNG, or larger than any that a task would write; `where` is named in the message.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(png, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            return image.convert("RGB")
    except Exception as error:  # damaged bytes may make Pillow raise anything
        raise StoreError(f"{where}: the record's image cannot be read ({error}); move the record away.") from error


def _enlarge(image: Image.Image) -> Image.Image:
    """Repeat each pixel as a square, so that the longer side has at least `_MIN_SIDE` pixels."""
    times = max(1, -(-_MIN_SIDE // max(image.size)))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
