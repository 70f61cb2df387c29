"""Images of the items of projections: those of the task, pixel by pixel; none without licence, data or certainty."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from PIL import Image

from bench_core import Dataset, DataSpec, Embedded, Frozen, NoConfig, Split
from bench_core.data import MNISTFiles
from bench_core.keys import key_of
from bench_core.plugins import Component, Registry
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.site.plots import write_board_plots
from bench_core.reports.site.plots.model import PlotSource, SitePlot
from bench_core.reports.site.plots.planes import projection
from bench_core.reports.site.plots.thumbnails import MOST_BYTES, SIDES, drawn_items
from bench_core.reports.site.writer import SiteWriter
from bench_core.store.record import Document
from bench_datasets.digits import Digits
from bench_evaluators.projection import Projection, ProjectionConfig

MakeRecord = Callable[..., dict[str, Any]]
BoardOf = Callable[..., SiteBoard]
SIZES = {"train_size": 60, "test_size": 40, "num_queries": None}


class Noise(Dataset):
    """Images that no encoding makes small."""

    licence = "CC0-1.0, noise of a test"

    def __init__(self, root: Path, config: NoConfig) -> None:
        pass

    def spec(self) -> DataSpec:
        return DataSpec(shape=(3, 40, 20), splits={"train": 1, "test": 900}, num_classes=10)

    def digest(self) -> str:
        return "sha256:0"

    def load(self, split: str) -> Split:
        images = torch.rand(900, 3, 40, 20, generator=torch.Generator().manual_seed(0))
        return Split(images, torch.arange(900) % 10)


def digits() -> tuple[Split, str]:
    dataset = Digits(Path("none"), Digits.Config(**SIZES))
    return dataset.load("test"), dataset.digest()


def record_of(make_record: MakeRecord, dataset: dict[str, Any], labels: torch.Tensor, seed: int = 0) -> dict[str, Any]:
    """Return the record of a projection of 30 items, as the task draws them."""
    record = make_record("nac", "projection", seed, 0.5, dataset=dataset)
    record["doc"]["task"]["config"] = {"items": 30}
    record["key"] = key_of(record["doc"])
    items = drawn_items(Document(record["doc"]), labels)
    assert items is not None
    places = [float(place) for place in range(len(items))]
    record["curves"] = {"projection_pca": {"x": places, "y": places, "label": labels[items].tolist()}}
    return record


def drawn(board: SiteBoard, registry: Registry) -> SitePlot:
    plot = projection(PlotSource(board, registry))
    assert plot is not None
    return plot


def pixels(plot: SitePlot) -> torch.Tensor:
    with Image.open(io.BytesIO(plot.files["items.png"])) as image:
        return torch.tensor(list(image.tobytes()), dtype=torch.uint8).reshape(image.height, image.width, -1)


@pytest.mark.parametrize("seed", [0, 3])
def test_items_are_those_that_the_task_draws(make_record: MakeRecord, seed: int) -> None:
    labels = torch.arange(200) % 7
    features = torch.arange(200.0)[:, None].expand(-1, 2)  # along the first component lies the item's number

    def unused(*_: object) -> NoReturn:
        raise AssertionError

    data = DataSpec(shape=(1, 8, 8), splits={"train": 200, "test": 200}, num_classes=7)
    frozen = Frozen({"test": Embedded({"features": features}, labels)}, data, seed, torch.device("cpu"), unused, unused)
    curve = Projection(ProjectionConfig(items=30)).evaluate(frozen).curves["projection_pca"]
    record = record_of(make_record, {}, labels, seed)
    items = drawn_items(Document(record["doc"]), labels)
    assert items is not None
    expected = (items - items.double().mean()) * 2**0.5
    torch.testing.assert_close(torch.tensor(curve["x"]).double(), expected, rtol=1e-3, atol=1e-3)


def test_cells_of_the_sheet_are_the_images_of_the_items(
    make_record: MakeRecord, board_of: BoardOf, registry: Registry, tmp_path: Path
) -> None:
    split, digest = digits()
    assert split.labels is not None
    record = record_of(make_record, {"config": SIZES, "digest": digest}, split.labels)
    plot = drawn(board_of([record]), registry)
    items = plot.shared["items"]
    assert (items["side"], items["across"], items["down"]) == (8, 6, 5)
    (draw,) = items["draws"]
    assert (draw, plot.views[0].values["panels"][0]["items"]) == (tuple(range(30)), 0)
    sheet = pixels(plot)
    for cell, number in enumerate(items["numbers"]):
        top, left = 8 * (cell // 6), 8 * (cell % 6)
        assert isinstance(split.inputs, torch.Tensor)
        torch.testing.assert_close(sheet[top : top + 8, left : left + 8, 0], split.inputs[number, 0])
    assert "CC-BY-4.0, Alpaydin and Kaynak" in plot.views[0].notes[1]
    site = SiteWriter(tmp_path)
    write_board_plots(site, board_of([record]), registry)
    assert (tmp_path / items["address"]).read_bytes() == plot.files["items.png"]


def test_same_records_and_data_give_the_same_bytes(
    make_record: MakeRecord, board_of: BoardOf, registry: Registry
) -> None:
    split, digest = digits()
    assert split.labels is not None
    records = [record_of(make_record, {"config": SIZES, "digest": digest}, split.labels)]
    one, other = (drawn(board_of(records), registry) for _ in range(2))
    assert one.files == other.files
    assert json.dumps(one.as_json()) == json.dumps(other.as_json())


@pytest.mark.parametrize(
    ("changed", "labels", "reason"),
    [
        ({"digest": "sha256:1"}, None, "digits has other content here than in the records"),
        ({"id": "bench-core/cifar10"}, None, "cifar10 states no licence under which they may be copied"),
        (
            {"id": "bench-core/mnist", "digest": MNISTFiles("mnist", Path()).digest()},
            None,
            "mnist was not at hand where this page was made",
        ),
        ({"revision": 99}, None, "the dataset is not installed where this page was made"),
        ({}, [0] * 30, "it does not follow from the records which items the points are"),
    ],
)
def test_without_licence_data_or_certainty_there_are_no_images(
    make_record: MakeRecord,
    board_of: BoardOf,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    changed: dict[str, Any],
    labels: Sequence[int] | None,
    reason: str,
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    split, digest = digits()
    assert split.labels is not None
    record = record_of(make_record, {"config": SIZES, "digest": digest, **changed}, split.labels)
    if labels:
        record["curves"]["projection_pca"]["label"] = labels
    plot = drawn(board_of([record]), registry)
    assert plot.views[0].notes[1:] == (f"No images of items: {reason}.",)
    assert (plot.files, plot.shared, "items" in plot.views[0].values["panels"][0]) == ({}, {}, False)


def test_sheet_of_many_items_has_smaller_images(make_record: MakeRecord, board_of: BoardOf) -> None:
    labels = torch.arange(900) % 10
    record = record_of(make_record, {"digest": "sha256:0"}, labels)
    record["doc"]["task"]["config"] = {"items": 900}
    record["curves"] = {"projection_pca": {"x": labels.tolist(), "y": labels.tolist(), "label": labels.tolist()}}
    plot = drawn(board_of([record]), Registry([Component("dataset", "digits", "bench-core", "1", Noise)]))
    assert SIDES[0] == 32
    assert plot.shared["items"]["side"] == 24  # 900 x 32 x 16 x 3 values of noise are more than a megabyte
    assert len(plot.files["items.png"]) <= MOST_BYTES
    assert pixels(plot).shape == (30 * 24, 30 * 24, 3)
    assert not pixels(plot)[:, :6].any()  # images of half the width lie in the middle of their cells
    assert plot.views[0].notes[1] == "Images of items, at most 24 pixels wide: CC0-1.0, noise of a test."
