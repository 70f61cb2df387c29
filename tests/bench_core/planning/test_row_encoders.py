"""Encoders of rows: one of its own in place of the board's, and the usual one for a kind of data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from bench_core import Config, Dataset, DataSpec, Encoder, NoConfig, Objective, Split, param
from bench_core.conformance.toys import TinyEncoder
from bench_core.data.made import made_split
from bench_core.errors import ConfigError, RequestError, UnknownNameError
from bench_core.planning.boards import OwnEncoder, read_board
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Registry

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]


@dataclass(frozen=True, kw_only=True)
class WideConfig(Config):
    """Parameters of Wide."""

    width: int = param(5, "features", "ours: tiny", ge=1)


class Wide(Encoder):
    """Linear encoder of images, vectors and pairs that are read flat (ours)."""

    Config = WideConfig
    kinds = frozenset({"image", "vector"})

    def __init__(self, data: DataSpec, config: WideConfig) -> None:
        super().__init__(data, config)
        self.dim = config.width
        self.layer = nn.LazyLinear(config.width)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layer(inputs.flatten(1))
        return features

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"layer": self(inputs)[:, :, None]}


class Vectors(Dataset):
    """Random vectors (ours)."""

    def __init__(self, root: Path, config: NoConfig) -> None: ...

    def spec(self) -> DataSpec:
        return DataSpec(shape=(4,), splits={"train": 32, "test": 8}, num_classes=2)

    def digest(self) -> str:
        return "vectors-1"

    def load(self, split: str) -> Split:
        return made_split(self.spec(), self.spec().splits[split])


@pytest.fixture
def wide(add: Add) -> None:
    add("encoder", "wide", Wide)


@pytest.mark.parametrize(
    ("settings", "cls", "config", "label"),
    [
        ({}, TinyEncoder, NoConfig(), "tiny"),
        ({"shrink.encoder": "wide"}, Wide, WideConfig(), "wide"),
        ({"shrink.encoder": "wide", "shrink.encoder.width": 7}, Wide, WideConfig(width=7), "wide (width=7)"),
        ({"shrink.encoder": "none"}, TinyEncoder, NoConfig(), "tiny"),
    ],
)
def test_a_row_has_the_encoder_that_it_names(
    plan_of: PlanOf, wide: None, settings: dict[str, Any], cls: type, config: Any, label: str
) -> None:
    [chain] = plan_of(settings=settings).chains
    assert (chain.encoder.plugin.cls, chain.encoder.config, chain.encoder.name) == (cls, config, label)
    [cell] = chain.cells
    assert cell.names["encoder"] == "tiny"  # the table in which the row stands
    assert cell.names.get("own_encoder") == (None if label == "tiny" else label)


def test_only_parameters_change_the_encoder_of_the_request(plan_of: PlanOf, wide: None) -> None:
    settings = {"wide.width": 6, "shrink.encoder.width": 9}
    [chain] = plan_of(encoders=["wide"], settings=settings).chains
    assert chain.encoder.config == WideConfig(width=9)


def test_the_key_is_that_of_a_request_with_this_encoder(plan_of: PlanOf, wide: None) -> None:
    own = plan_of(settings={"shrink.encoder": "wide"})
    assert own.cells[0].key == plan_of(encoders=["wide"]).cells[0].key
    assert own.cells[0].key != plan_of().cells[0].key


def test_a_sweep_over_encoders_makes_a_row_for_each(plan_of: PlanOf, wide: None) -> None:
    chains = plan_of(sweeps={"shrink.encoder": ["tiny", "wide"]}).chains
    assert [chain.method.name for chain in chains] == ["shrink (encoder=tiny)", "shrink (encoder=wide)"]
    assert [chain.encoder.plugin.name for chain in chains] == ["tiny", "wide"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"shrink.encoder": "wyde"}, UnknownNameError, "wyde.*wide"),
        ({"shrink.encoder.width": 3}, ConfigError, r"shrink\.encoder\.width does not exist"),
        ({"shrink.encoder": "wide", "shrink.encoder.width": 0}, ConfigError, r"shrink\.encoder: width must be"),
        ({"shrink.encoder": 3}, ConfigError, "must be the name of an encoder"),
    ],
)
def test_a_wrong_encoder_is_refused(
    plan_of: PlanOf, wide: None, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_of(settings=settings)


@pytest.mark.parametrize(
    ("table", "own"),
    [
        ({"encoder": "wide"}, OwnEncoder("wide")),
        ({"encoder": {"use": "wide", "width": 3}}, OwnEncoder("wide", {"width": 3})),
        ({"encoder": {"width": 3}}, OwnEncoder("", {"width": 3})),
        ({"encoder": "none"}, OwnEncoder()),
        ({}, OwnEncoder()),
    ],
)
def test_a_board_names_the_encoder_of_a_row(table: dict[str, Any], own: OwnEncoder) -> None:
    board = read_board({"methods": {"shrink": table}}, "b", "b.toml")
    assert board.methods["shrink"].encoder == own


def test_a_board_refuses_an_encoder_that_is_no_name() -> None:
    with pytest.raises(RequestError, match=r"encoder\.use must be the name of an encoder, got 3"):
        read_board({"methods": {"shrink": {"encoder": {"use": 3}}}}, "b", "b.toml")


def test_a_row_of_the_boards_encoders_gives_its_parameters(registry: Registry, wide: None, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    board.write_text(
        "[datasets.blobs]\n[encoders.tiny]\n[tasks.spread]\n[methods.shrink]\nencoder = 'narrow'\n"
        "[methods.both]\nuse = 'shrink'\nencoder = {use = 'narrow', width = 3}\n"
        "[encoders.narrow]\nuse = 'wide'\nwidth = 2\n"
    )
    plan = make_plan(Request(board=str(board), encoders=["tiny"], data_root=tmp_path), registry)
    assert [chain.encoder.config for chain in plan.chains] == [WideConfig(width=2), WideConfig(width=3)]


def test_rows_that_start_from_another_encoder_are_refused(plan_of: PlanOf, add: Add, wide: None) -> None:
    add("objective", "second", Objective)  # only planned, never built
    settings = {"shrink.encoder": "wide", "second.init": "shrink"}
    with pytest.raises(RequestError, match=r"second cannot start from shrink, which has another encoder \(wide\)"):
        plan_of(methods=["shrink", "second"], settings=settings)


def test_an_encoder_is_skipped_for_a_kind_that_it_does_not_read(plan_of: PlanOf, add: Add, wide: None) -> None:
    class OfGraphs(Wide):
        kinds = frozenset({"graphs", "nodes"})

    add("encoder", "of_graphs", OfGraphs)
    [cell] = plan_of(encoders=["of_graphs"]).cells
    assert cell.skip == "reads graphs or nodes, not image"


def test_data_without_a_board_has_the_usual_encoder_of_its_kind(
    registry: Registry, add: Add, wide: None, tmp_path: Path
) -> None:
    add("dataset", "vectors", Vectors)
    add("encoder", "mlp", Wide)
    add("encoder", "convnet", TinyEncoder)

    def encoders(**request: Any) -> list[tuple[str, str]]:
        asked = Request(methods=["shrink"], tasks=["spread"], data_root=tmp_path, **request)
        return [(chain.dataset.name, chain.encoder.name) for chain in make_plan(asked, registry).chains]

    assert encoders(datasets=["vectors", "blobs"]) == [("vectors", "mlp"), ("blobs", "convnet")]
    assert encoders(datasets=["vectors"], encoders=["wide"]) == [("vectors", "wide")]
    swept = encoders(datasets=["vectors"], sweeps={"mlp.width": [2, 3]})
    assert swept == [("vectors", "mlp (width=2)"), ("vectors", "mlp (width=3)")]


def test_a_method_that_names_them_gets_class_and_parameters_of_its_encoder(
    plan_of: PlanOf, add: Add, wide: None, registry: Registry
) -> None:
    class Picky(registry.get("objective", "shrink").cls):  # type: ignore[misc]  # a class that is known when this runs
        @classmethod
        def skip_reason(
            cls, data: DataSpec, config: Any, *, encoder_class: type[Encoder], encoder_config: Any
        ) -> str | None:
            return f"{encoder_class.__name__} of {encoder_config.width}" if encoder_class is Wide else None

    add("objective", "picky", Picky)
    plan = plan_of(methods=["picky"], encoders=["tiny", "wide"])
    assert [cell.skip for cell in plan.cells] == [None, "Wide of 5"]


def test_parameters_hold_whether_they_stand_before_or_behind_the_encoders_name(plan_of: PlanOf, wide: None) -> None:
    for settings in (
        {"shrink.encoder": "wide", "shrink.encoder.width": 7},
        {"shrink.encoder.width": 7, "shrink.encoder": "wide"},
    ):
        [chain] = plan_of(settings=settings).chains
        assert chain.encoder.config == WideConfig(width=7)
