"""Pictures of kind `filters`: the weights with which the first layer of an encoder reads pixels, as small images.

    first linear layer (256, 784) on images (1, 28, 28)    ->  256 images of 28 x 28 pixels
    first convolution (32, 3, 5, 5)                        ->  32 images of 5 x 5 pixels, in colour

Grey is 0, white the largest weight of a filter, positive or negative, and black the opposite; each filter has its own
scale. Records hold no weights, so those of a store's chains are read. They have names and no order: the encoder is
built again, as its record says, to find its first layer.

Shapes: F filters, C channels, h x w pixels of a filter.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_core.config import build
from bench_core.errors import BenchError, RequestError
from bench_core.keys import key_of
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import PictureKind, PlotRequest
from bench_core.reports.pictures.select import select_rows
from bench_core.reports.pictures.style import add_caption, make_panels
from bench_core.reports.tables.entries import Entry, with_distinct_names
from bench_core.store.chain_files import WEIGHTS, is_finished, read_summary

if TYPE_CHECKING:  # torch is imported when weights are read, not for a look at the table of kinds
    from matplotlib.figure import Figure
    from torch import Tensor

    from bench_core.plugins import Registry
    from bench_core.store import Store

MAX_FILTERS = 64  # of a row; a layer has no order, so the first ones are as good as any
_MIN_SIDE = 400  # pixels of a panel in the file: not every viewer enlarges small images without blur


@dataclass(frozen=True)
class RowFilters:
    """Filters of one row.

    Attributes:
        method: Name of the row.
        seed: The seed of the weights: the lowest one whose weights are in the store.
        filters: Weights (F, C, h, w) of the first `MAX_FILTERS` filters or fewer; C is 1 or 3.
        total: Number of filters that the layer has.
    """

    method: str
    seed: int
    filters: "Tensor"
    total: int


@dataclass(frozen=True)
class FilterData:
    """Filters of all rows, on one dataset with one encoder.

    Attributes:
        dataset: The dataset of all rows.
        encoder: The encoder of all rows that name no other.
        rows: The rows whose filters can be drawn.
        reasons: Why others cannot be drawn, each with the row's name.
    """

    dataset: str
    encoder: str
    rows: tuple[RowFilters, ...]
    reasons: tuple[str, ...]


class Filters(PictureKind[FilterData]):
    """First-layer weights as images, a panel for each row."""

    name = "filters"
    noun = "a row with weights"
    hint = "`bench run --methods A` makes one"
    published = False

    def check(self, picture: Picture) -> None:
        """Refuse the picture: a board's page shows nothing that its published records do not hold."""
        raise _no_weights(picture)

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield one picture of all rows, only where the request names this kind: it reads many large files."""
        if request.kind == self.name:
            yield Picture(name=self.name, kind=self.name, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None") -> FilterData:
        """Read the filters of each row at the lowest seed whose weights are in the store.

        Raises:
            RequestError: No row has filters that can be drawn; says why for each.
        """
        from bench_core.plugins import load_plugins

        if store is None:
            raise _no_weights(picture)
        registry = load_plugins()
        done = [
            entry for entry in select_rows(with_distinct_names(list(entries)), picture.methods) if entry.state == "done"
        ]
        rows, reasons = [], []
        for method in dict.fromkeys(entry.names["method"] for entry in done):
            try:
                rows.append(_read_row(method, [entry for entry in done if entry.names["method"] == method], store,
                                      registry))  # fmt: skip
            except BenchError as error:
                reasons.append(f"{method}: {error}")
        if not rows:
            raise RequestError(f"no row has filters to draw. {'; '.join(reasons) or 'No cell is done.'}")
        return FilterData(done[0].names["dataset"], done[0].names["encoder"], tuple(rows), tuple(reasons))

    def shown(self, data: FilterData) -> list[tuple[str, str]]:
        """Return the rows; weights are of no task."""
        return [(row.method, "") for row in data.rows]

    def fingerprint_values(self, data: FilterData) -> list[Any]:
        """Return names and weights, numbers as text with 9 significant digits."""
        return [
            [row.method, row.seed, row.total, [f"{value:.9g}" for value in row.filters.flatten().tolist()]]
            for row in data.rows
        ]

    def paint(self, figure: "Figure", data: FilterData, picture: Picture) -> None:
        """Draw a panel for each row, with sharp pixels."""
        panels = make_panels(figure, len(data.rows), 1, (3.4, 3.7))
        for (axes,), row in zip(panels, data.rows, strict=True):
            axes.set_axis_off()
            axes.imshow(grid_of(row.filters).numpy(), interpolation="none")
            count = f"the first {len(row.filters)} of {row.total:,}" if len(row.filters) < row.total else f"{row.total}"
            axes.set_title(f"{row.method}\n{count} filters")
        seeds = {row.seed for row in data.rows}
        seeds_text = f"seed {seeds.pop()}" if len(seeds) == 1 else "the first seed of each row"
        add_caption(figure, picture.title or f"first layer on {data.dataset}, {data.encoder}", seeds_text)

    def notes(self, data: FilterData) -> list[str]:
        """Return which rows are missing, and why."""
        return list(data.reasons)


def grid_of(filters: "Tensor") -> "Tensor":
    """Lay filters out in a square grid with white lines between them, in colour and enlarged.

    Args:
        filters: Weights (F, C, h, w), where C is 1 or 3.

    Returns:
        Image (height, width, 3) float32 in [0, 1]: 0.5 is a weight of 0, and each filter reaches 0 or 1.
    """
    import torch

    count, _, height, width = filters.shape
    largest = filters.abs().amax((1, 2, 3), keepdim=True)
    scaled = 0.5 + filters / (2 * largest.where(largest > 0, torch.ones_like(largest)))
    side = math.ceil(math.sqrt(count))
    times = -(-_MIN_SIDE // (side * max(height, width)))  # whole numbers keep pixels square
    large = scaled.expand(count, 3, height, width).repeat_interleave(times, 2).repeat_interleave(times, 3)
    line = times
    grid = torch.ones(math.ceil(count / side) * (height * times + line) - line, side * (width * times + line) - line, 3)
    for k, image in enumerate(large):
        top, left = k // side * (height * times + line), k % side * (width * times + line)
        grid[top : top + height * times, left : left + width * times] = image.permute(1, 2, 0)
    return grid


def _no_weights(picture: Picture) -> RequestError:
    return RequestError(
        f"picture {picture.name!r}: filters reads weights, which are not published; draw it from a store with "
        "`bench plot --kind filters`."
    )


def _read_row(method: str, entries: Sequence[Entry], store: "Store", registry: "Registry") -> RowFilters:
    """Read the filters of one row.

    Raises:
        BenchError: No weights are in the store, or none of them read pixels; says why.
    """
    from bench_core.store.tensors import load_tensors

    for entry in sorted(entries, key=lambda entry: entry.seed):
        assert entry.document is not None  # entries that are done have one
        folder = store.chain_folder(key_of(entry.document.pretrain))
        if is_finished(folder) and (folder / WEIGHTS).is_file():
            break
    else:
        raise RequestError(
            f"no weights under {store.path / 'chains'}: they were deleted, or its records come from another store"
        )
    name, expected, image = _first_layer(entry.document.pretrain, registry)
    weights = load_tensors(folder / WEIGHTS, read_summary(folder)["weights_sha256"])
    filters = weights.get(f"encoder.{name}.weight")
    if filters is None or filters.shape != expected:
        raise RequestError(
            f"its weights have no first layer of the encoder ({name}.weight of shape {expected}): the method puts "
            f"another in its place, or {folder / WEIGHTS} was edited"
        )
    filters = filters.float()
    if filters.ndim == 2:  # a row of a linear layer has a weight for each value of an image
        filters = filters.view(-1, *image)
    return RowFilters(method, entry.seed, filters[:MAX_FILTERS], len(filters))


def _first_layer(document: Mapping[str, Any], registry: "Registry") -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return the name of an encoder's first layer, the shape of its weights, and that of the images it reads.

    Args:
        document: What defines the training (`Document.pretrain`).
        registry: The plugins.

    Raises:
        BenchError: The plugins are missing or have changed, the data are not images in grey or colour, or the first
            layer reads something else than pixels.
    """
    import torch
    from torch import nn

    from bench_core.data import default_data_root

    dataset, encoder = (registry.get(axis, document[axis]["id"]).cls for axis in ("dataset", "encoder"))
    for axis, cls in (("dataset", dataset), ("encoder", encoder)):
        if cls.revision != document[axis]["revision"]:
            raise RequestError(f"its {axis} was revision {document[axis]['revision']}, and is {cls.revision} now")
    spec = dataset(default_data_root(), build(dataset.Config, document["dataset"]["config"], "dataset")).spec()
    if not spec.is_image or spec.shape[0] not in (1, 3):
        raise RequestError(f"filters are drawn for images with 1 or 3 channels; an input here is {_words(spec)}")
    with torch.random.fork_rng(devices=[]):
        built = encoder(spec, build(encoder.Config, document["encoder"]["config"], "encoder"))
    for name, layer in built.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weights = tuple(layer.weight.shape)
            reads = weights[1] == (spec.shape[0] if isinstance(layer, nn.Conv2d) else math.prod(spec.shape))
            if reads:
                return name, weights, spec.shape
            break
    raise RequestError(f"no first layer of {document['encoder']['id']} that reads pixels was found")


def _words(spec: Any) -> str:
    return f"an image with {spec.shape[0]} channels" if spec.is_image else f"of kind {spec.kind}"
