"""Small images of the test items that projections show, where the licence of a dataset lets pages hold them.

Records do not name the items of a projection. The task draws them from the test split by the chain's seed, so they are
drawn again where the dataset is at hand, without a download. They count only where their classes are those of the
points.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.config import build
from bench_core.contracts import Split
from bench_core.data import default_data_root, draw_index
from bench_core.keys import key_of
from bench_core.plugins import Component, Registry
from bench_core.seeds import stream_seed
from bench_core.store.record import Document

SIDES = (32, 24, 16, 12, 8)  # largest side of an image in pixels: the first with which the sheet is small enough
MOST_BYTES = 1_000_000  # of the sheet of a board
_MOST_READ = 2**28  # values of a test split
_CHANNELS = (1, 3)  # of images that people can look at
# Licences, by their names in SPDX's list, under which copies of items may be given to anybody.
SHARED = frozenset((
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-2.0",
    "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "MIT", "ODC-By-1.0",
    "PDDL-1.0", "Unlicense", "Zlib",
))  # fmt: skip


class NoImagesError(Exception):
    """Images of a row's items cannot be shown; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Sheet:
    """Images of items in cells of one size, row after row.

    Attributes:
        png: The bytes of the image.
        side: Side of a cell in pixels.
        across: Number of cells in a row.
        down: Number of rows.
        numbers: Position of each item in its test split, in the order of the cells.
    """

    png: bytes
    side: int
    across: int
    down: int
    numbers: Sequence[int]


class Thumbnails:
    """Finds the items of rows, and makes one sheet of the images of all that were asked for."""

    def __init__(self, registry: Registry | None) -> None:
        """Read nothing yet.

        Args:
            registry: The plugins; None knows no dataset.
        """
        self._registry = registry
        self._splits: dict[str, Split | NoImagesError] = {}
        self._cells: dict[tuple[str, int], int] = {}  # dataset and item -> cell of the sheet

    def licence(self, document: Document) -> str:
        """Return what the dataset of a cell states as its licence.

        Raises:
            NoImagesError: The dataset is not installed, or states none that lets pages hold its items.
        """
        licence: str = self._component(document).cls.licence
        if licence.partition(",")[0] not in SHARED:
            name = self._component(document).name
            raise NoImagesError(f"{name} states no licence under which they may be copied")
        return licence

    def cells(self, document: Document, classes: Sequence[int], step: int) -> list[int]:
        """Return the cell of the sheet for every `step`-th point of a row's projection.

        Args:
            document: The document of the projection's cell.
            classes: The classes of all points, as the record has them.
            step: Points from one that is shown to the next.

        Raises:
            NoImagesError: There are no images to show.
        """
        self.licence(document)
        dataset = document.component("dataset")
        key = key_of({"dataset": dataset})
        if key not in self._splits:
            self._splits[key] = _read(self._component(document), dataset)
        split = self._splits[key]
        if isinstance(split, NoImagesError):
            raise split
        items = drawn_items(document, split.labels)
        if items is None or split.labels is None or split.labels[items].tolist() != list(classes):
            raise NoImagesError("it does not follow from the records which items the points are")
        return [self._cells.setdefault((key, item), len(self._cells)) for item in items.tolist()[::step]]

    def sheet(self) -> Sheet | None:
        """Return the sheet of all items that were asked for; None where there are none, or too many for its size."""
        groups = [self._images(key) for key in dict.fromkeys(key for key, _ in self._cells)]
        cells = [cell for places, _ in groups for cell in places]
        for most in SIDES if groups else ():
            images = [_small(group, most) for _, group in groups]
            side = max(max(group.shape[2:]) for group in images)
            channels = max(group.shape[1] for group in images)
            in_order = torch.cat([_squares(group, side, channels) for group in images])[torch.tensor(cells).argsort()]
            across = math.ceil(math.sqrt(len(in_order)))
            png = _png(in_order, across)
            if len(png) <= MOST_BYTES:
                return Sheet(png, side, across, -(-len(in_order) // across), [item for _, item in self._cells])
        return None

    def _images(self, key: str) -> tuple[list[int], Tensor]:
        """Return the cells of a dataset's items, and their images."""
        items = {item: cell for (of, item), cell in self._cells.items() if of == key}
        split = self._splits[key]
        assert isinstance(split, Split)
        return list(items.values()), _as_bytes(split.read(torch.tensor(list(items))))

    def _component(self, document: Document) -> Component:
        """Return the dataset of a cell as it is installed here, if its items are those of the cell."""
        dataset = document.component("dataset")
        installed = self._registry.of_kind("dataset") if self._registry else ()
        for component in installed:
            if component.id == dataset["id"] and component.cls.revision == dataset["revision"]:
                return component
        raise NoImagesError("the dataset is not installed where this page was made")


def drawn_items(document: Document, labels: Tensor | None) -> Tensor | None:
    """Return the positions of a projection's items in the test split, in the order of its points.

    Args:
        document: The document of the projection's cell.
        labels: Classes of the test split.

    Returns:
        As bench-core's task draws them; None for another task, or data without classes.
    """
    task = document.component("task")
    if (task["id"], task["revision"]) != ("bench-core/projection", 1) or labels is None or labels.ndim != 1:
        return None
    seed = stream_seed(document.seed, "projection", "items") % 2**32
    return draw_index(labels, len(labels), min(task["config"].get("items", 0), len(labels)), seed)


def _read(component: Component, dataset: Mapping[str, Any]) -> Split | NoImagesError:
    """Read the test split that a document names, or say why there is none here."""
    try:
        loader = component.cls(
            default_data_root(), build(component.cls.Config, dict(dataset["config"]), component.name)
        )
        spec = loader.spec()
        if not spec.is_image or spec.shape[0] not in _CHANNELS:
            return NoImagesError(f"items of {component.name} are no images of one or three channels")
        if spec.splits["test"] * math.prod(spec.shape) > _MOST_READ:
            return NoImagesError(f"the test split of {component.name} is too large to read here")
        if loader.digest() != dataset["digest"]:
            return NoImagesError(f"{component.name} has other content here than in the records")
        split: Split = loader.load("test")
    except Exception:  # a plugin's; most often files that are not there
        return NoImagesError(f"{component.name} was not at hand where this page was made")
    return split


def _as_bytes(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) as uint8."""
    return images if images.dtype == torch.uint8 else (images * 255).round().clamp(0, 255).to(torch.uint8)


def _small(images: Tensor, most: int) -> Tensor:
    """Return images of which no side is longer than `most`; a pixel is the mean of those that it replaces."""
    longest = max(images.shape[2:])
    if longest <= most:
        return images
    size = [max(1, round(length * most / longest)) for length in images.shape[2:]]
    return F.interpolate(images.float(), size, mode="area").round().to(torch.uint8)


def _squares(images: Tensor, side: int, channels: int) -> Tensor:
    """Return images in the middle of black squares, with as many channels."""
    height, width = images.shape[2:]
    top, left = (side - height) // 2, (side - width) // 2
    padded = F.pad(images, (left, side - width - left, top, side - height - top))
    return padded.expand(-1, channels, -1, -1)


def _png(images: Tensor, across: int) -> bytes:
    """Return square images (N, C, S, S) as one PNG, `across` in a row."""
    from PIL import Image  # here, because most pages have no images of items

    _, channels, side, _ = images.shape
    down = -(-len(images) // across)
    filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, down * across - len(images)))
    grid = filled.reshape(down, across, channels, side, side).permute(0, 3, 1, 4, 2)
    pixels = grid.reshape(down * side, across * side, channels).contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
