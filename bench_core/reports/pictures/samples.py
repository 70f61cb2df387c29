"""Grids of images as records hold them: what a method draws, decodes or confuses."""

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image

from bench_core.errors import StoreError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.style import caption, panels, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.reports.pictures.model import Found


_MAX_PIXELS = 1 << 24
_SIDE = 400  # pixels that a sheet has at least: not every viewer enlarges small ones without blur


def paint(figure: "Figure", found: "Found", picture: Picture) -> None:
    """A panel for each row and grid, pixels as they are."""
    rows, columns = len(found.methods), len(found.names)
    grid = panels(figure, rows, columns, (2.6, 2.8))
    for line in grid:
        for axes in line:
            axes.set_axis_off()
    for part in found.parts:
        axes = grid[found.methods.index(part.method)][found.names.index(part.name)]
        axes.imshow(_sharp(_decoded(part.values["png"], f"{part.method}, {part.name}")), interpolation="none")
        axes.set_title(f"{part.method}, {words(part.name)}" if columns > 1 else part.method)
    named = f", {words(found.names[0])}" if columns == 1 else ""
    title = picture.title or f"{found.task} on {found.dataset}, {found.encoder}{named}"
    caption(figure, title, found.seeds())


def _decoded(text: str, where: str) -> Image.Image:
    """A grid as a record holds it; StoreError where it is no PNG of a size that a task would write."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels")
            return image.convert("RGB")
    except Exception as error:  # damaged bytes may make Pillow raise anything
        raise StoreError(f"{where}: the record's image cannot be read ({error}); move the record away.") from error


def _sharp(image: Image.Image) -> Image.Image:
    """Each pixel as a square of pixels."""
    times = max(1, -(-_SIDE // max(image.size)))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
