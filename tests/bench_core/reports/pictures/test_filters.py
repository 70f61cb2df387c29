"""Filters are read from the weights of a store's chains."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor, nn

from bench_core import DataSpec, Encoder
from bench_core.errors import BenchError, RequestError
from bench_core.files import file_digest
from bench_core.planning.boards import Picture
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.filters import FilterData, Filters, RowFilters, grid_of
from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.tensors import save_tensors
from tests.chain_forms import rewrite

ROWS = ("shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)")
PICTURE = Picture(name="filters", kind="filters")
SPEC = DataSpec(shape=(1, 8, 8), splits={"train": 48})


class Flat(Encoder):
    """Encoder of one linear layer on all pixels (a toy)."""

    def __init__(self, data: DataSpec, config: Any) -> None:
        super().__init__(data, config)
        self.dim = 70
        self.late = nn.Sequential(nn.Flatten(), nn.Linear(64, self.dim))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.late(inputs)
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"late": self(inputs)[..., None]}


class Pooled(Flat):
    """Encoder whose first layer reads means of pixels (a toy)."""

    def __init__(self, data: DataSpec, config: Any) -> None:
        super().__init__(data, config)
        self.late = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, self.dim))


@pytest.fixture(autouse=True)
def installed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The toys as the installed plugins."""
    monkeypatch.setattr("bench_core.plugins.load_plugins", lambda: registry)
    return registry


@pytest.fixture
def run_encoder(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], store: Store
) -> Callable[[type[Encoder]], list[Entry]]:
    """Function that trains a row with an encoder in `store`, and returns its cells."""

    def run(cls: type[Encoder]) -> list[Entry]:
        add("encoder", "other", cls)
        plan = plan_of(encoders=["other"], seeds=[0])
        assert run_plan(plan, store, RunSetting(device="cpu")) == []
        return plan_entries(plan, store.records())

    return run


def chains(store: Store) -> list[Path]:
    return sorted((store.path / "chains").iterdir())


def all_weights(store: Store) -> list[dict[str, Tensor]]:
    return [load_file(folder / "weights.safetensors") for folder in chains(store)]


def test_filters_are_the_kernels_of_the_first_convolution_at_the_lowest_seed(
    entries: list[Entry], store: Store
) -> None:
    data = Filters().read(entries, PICTURE, store)
    assert (data.dataset, data.encoder, data.reasons) == ("blobs", "tiny", ())
    assert [(row.method, row.seed, row.total) for row in data.rows] == [(name, 0, 8) for name in ROWS]
    for row in data.rows:
        assert row.filters.shape == (8, 1, 3, 3)
        assert any(torch.equal(row.filters, weights["encoder.first.weight"]) for weights in all_weights(store))


def test_rows_of_a_linear_layer_are_images_and_the_first_64_are_taken(
    run_encoder: Callable[[type[Encoder]], list[Entry]], store: Store
) -> None:
    (row,) = Filters().read(run_encoder(Flat), PICTURE, store).rows
    (weights,) = all_weights(store)
    assert (row.filters.shape, row.total) == ((64, 1, 8, 8), 70)
    assert row.filters[5, 0, 2, 3] == weights["encoder.late.1.weight"][5, 2 * 8 + 3]


def test_grey_is_0_and_each_filter_has_its_own_symmetric_scale() -> None:
    filters = torch.tensor([[0.0, 1.0], [-2.0, 0.5]]).view(1, 1, 2, 2)
    grid = grid_of(torch.cat([filters, 3 * filters, torch.zeros_like(filters), -filters]))
    times = 100  # 2 filters of 2 pixels beside each other make 4 pixels, which become 400
    assert grid.shape == (2 * 200 + times, 2 * 200 + times, 3)
    pixels = grid[times // 2 :: times, times // 2 :: times, 0]  # one of each square
    expected = torch.tensor([[0.5, 0.75], [0.0, 0.625]])
    torch.testing.assert_close(pixels[:2, :2], expected)
    torch.testing.assert_close(pixels[:2, 3:], expected)  # three times as large looks the same
    torch.testing.assert_close(pixels[3:, :2], torch.full((2, 2), 0.5))  # no weight at all
    torch.testing.assert_close(pixels[3:, 3:], 1 - expected)
    assert bool((pixels[2] == 1).all())  # the line between them


def test_filters_on_colour_images_are_in_colour() -> None:
    filters = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    assert grid_of(filters)[0, 0].tolist() == [1.0, 0.5, 0.0]


def test_a_row_without_weights_shows_its_next_seed_and_then_is_named(
    entries: list[Entry], store: Store, tmp_path: Path
) -> None:
    first = {row.method: row.filters for row in Filters().read(entries, PICTURE, store).rows}
    of_row = [folder for folder, weights in zip(chains(store), all_weights(store), strict=True)
              if torch.equal(weights["encoder.first.weight"], first[ROWS[2]])]  # fmt: skip
    assert len(of_row) == 1
    (of_row[0] / "weights.safetensors").unlink()
    assert [row.seed for row in Filters().read(entries, PICTURE, store).rows] == [0, 0, 1]
    first_seed = [entry for entry in entries if entry.seed == 0]
    (note,) = draw(first_seed, PICTURE, tmp_path / "p.svg", store)
    assert note.startswith(f"{ROWS[2]}: no weights under {store.path / 'chains'}: they were deleted")
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")


def test_a_store_without_weights_is_refused(entries: list[Entry], store: Store) -> None:
    shutil.rmtree(store.path / "chains")
    with pytest.raises(RequestError, match=r"no row has filters to draw. shrink.*: no weights under .*deleted"):
        Filters().read(entries, PICTURE, store)


def test_weights_that_were_changed_are_refused(entries: list[Entry], store: Store) -> None:
    for folder in chains(store):
        (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(BenchError, match=r"weights\.safetensors is missing or damaged"):
        Filters().read(entries, PICTURE, store)


def test_a_chain_of_another_encoder_under_the_same_key_is_refused(entries: list[Entry], store: Store) -> None:
    for folder in chains(store):
        weights = load_file(folder / "weights.safetensors")
        weights["encoder.first.weight"] = weights["encoder.first.weight"][:, :, 1:]
        save_tensors(folder / "weights.safetensors", weights)
        digest = {"weights_sha256": file_digest(folder / "weights.safetensors")}
        rewrite(folder, "summary", **digest)
    with pytest.raises(RequestError, match=r"no first layer .*first\.weight of shape \(8, 1, 3, 3\).* was edited"):
        Filters().read(entries, PICTURE, store)


def test_a_first_layer_that_reads_no_pixels_is_refused(
    run_encoder: Callable[[type[Encoder]], list[Entry]], store: Store
) -> None:
    with pytest.raises(RequestError, match="no first layer of toys/other that reads pixels was found"):
        Filters().read(run_encoder(Pooled), PICTURE, store)


def test_a_plugin_that_is_missing_or_has_changed_is_named(
    entries: list[Entry], store: Store, installed: Registry
) -> None:
    tiny = installed.get("encoder", "tiny")
    changed = type("Changed", (tiny.cls,), {"revision": 2})
    installed.components[installed.components.index(tiny)] = replace(tiny, cls=changed)
    with pytest.raises(RequestError, match="its encoder was revision 1, and is 2 now"):
        Filters().read(entries, PICTURE, store)
    installed.components = [component for component in installed.components if component.kind != "encoder"]
    with pytest.raises(RequestError, match="no encoder named 'toys/tiny'"):
        Filters().read(entries, PICTURE, store)


@pytest.mark.parametrize(("shape", "words"), [((2, 8, 8), "an image with 2 channels"), ((64,), "of kind vector")])
def test_filters_of_other_inputs_than_grey_or_colour_images_are_refused(
    shape: tuple[int, ...], words: str, entries: list[Entry], store: Store, installed: Registry
) -> None:
    blobs = installed.get("dataset", "blobs")
    other = type("Other", (blobs.cls,), {"spec": lambda self: replace(SPEC, shape=shape)})
    installed.components[installed.components.index(blobs)] = replace(blobs, cls=other)
    with pytest.raises(RequestError, match=f"images with 1 or 3 channels; an input here is {words}"):
        Filters().read(entries, PICTURE, store)


def test_published_records_alone_and_boards_are_refused(entries: list[Entry], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="weights, which are not published"):
        draw(entries, PICTURE, tmp_path / "p.svg")
    with pytest.raises(RequestError, match="weights, which are not published"):
        Filters().check(PICTURE)


def test_weights_are_read_only_where_the_kind_is_asked_for(entries: list[Entry]) -> None:
    assert list(Filters().possible_pictures(entries, PlotRequest())) == []
    (picture,) = Filters().possible_pictures(entries, PlotRequest(kind="filters", methods=ROWS[:2]))
    assert (picture.kind, picture.methods) == ("filters", ROWS[:2])


@pytest.mark.parametrize(("seeds", "text"), [((0, 0), "(seed 0)"), ((0, 1), "(the first seed of each row)")])
def test_the_title_names_data_and_seeds_and_each_panel_its_row(seeds: tuple[int, int], text: str) -> None:
    rows = tuple(
        RowFilters(name, seed, torch.rand(4, 1, 2, 2), total)
        for name, seed, total in zip(("one", "two"), seeds, (4, 5000), strict=True)
    )
    figure = Figure()
    Filters().paint(figure, FilterData("blobs", "tiny", rows, ()), PICTURE)
    assert [axes.get_title() for axes in figure.axes] == ["one\n4 filters", "two\nthe first 4 of 5,000 filters"]
    assert figure.get_suptitle() == f"first layer on blobs, tiny\n{text}"
