"""Every registered plugin passes its checks; a plugin that breaks the contract gets a message that says how."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import (
    Batch,
    Dataset,
    DataSpec,
    Encoder,
    EpochContext,
    Evaluation,
    Evaluator,
    Frozen,
    Loss,
    NoConfig,
    Objective,
    PerItem,
    Player,
    Score,
    Split,
    Stage,
)
from bench_core.conformance import assert_conforms, check_component, select
from bench_core.conformance.check import capabilities
from bench_core.conformance.tiny_encoders import TinyGraphEncoder
from bench_core.conformance.toys import TinyEncoder
from bench_core.data import NodeMap, open_split
from bench_core.data.checked import load_split
from bench_core.errors import CheckError, DataMissingError, UnknownNameError
from bench_core.plugins import BrokenPlugin, Component, Registry, load_plugins

REGISTRY = load_plugins()


@pytest.mark.parametrize("component", REGISTRY.components, ids=lambda c: f"{c.kind}-{c.id}")
def test_built_in_plugin_conforms(component: Component, smaller: Callable[[Component], None]) -> None:
    smaller(component)
    failed = [outcome for outcome in check_component(component, REGISTRY) if outcome.error]
    assert failed == []


def failures(kind: str, cls: type) -> str:
    """Return the errors of all checks on a class."""
    component = Component(kind, "toy", "toys", "1.0", cls)
    return "; ".join(outcome.error for outcome in check_component(component, REGISTRY) if outcome.error)


class Good(Objective):
    """Passes all checks (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Add noise."""
        return batch.inputs + torch.rand(batch.inputs.shape, generator=rng)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the mean square of the features."""
        return Loss(self.encoder(views).square().mean())


class DrawsGlobally(Good):
    """Draws from the global generator (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Add noise without using rng."""
        return batch.inputs + torch.rand(batch.inputs.shape)


class ChangesInputs(Good):
    """Adds noise in place (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Add noise to the batch."""
        return batch.inputs.add_(torch.rand(batch.inputs.shape, generator=rng))


class KeepsCountOutsideState(Good):
    """Counts its calls outside of its state (ours)."""

    seen = 0

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss that grows with the number of calls."""
        self.seen += 1
        return Loss(self.encoder(views).square().mean() * self.seen)


class IsNaN(Good):
    """Has a loss that is not a number (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return NaN."""
        return Loss(self.encoder(views).mean() * torch.nan)


class IsVector(Good):
    """Has a loss that is not a scalar (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return one loss for each item."""
        return Loss(self.encoder(views).square().mean(1))


class IsDetached(Good):
    """Trains only its head (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = torch.nn.Linear(encoder.dim, 1)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss whose gradient does not reach the encoder."""
        return Loss(self.head(self.encoder(views).detach()).square().mean())


class IsFrozen(IsDetached):
    """Trains its head on an encoder that is frozen (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        encoder.requires_grad_(False)
        encoder.register_buffer("passes", torch.zeros(()))

    def players(self) -> list[Player]:
        """Return one player, the head."""
        return [Player("main", list(self.head.parameters()))]


class CountsWhileFrozen(IsFrozen):
    """Counts its passes in a buffer of the frozen encoder, as batch norm in train mode does (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the loss, and count."""
        self.encoder.get_buffer("passes").add_(1)
        return super().forward(views, player)


class ForgetsFeatures(Good):
    """Names its embedding wrongly (ours)."""

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return an embedding that is not named `features`."""
        return {"feature": self.encoder(inputs)}


class HidesState(Good):
    """Embeds with a number that is not in its state (ours)."""

    shift = 0.0

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Increase the shift."""
        self.shift += 1
        return {}

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return shifted features."""
        return {"features": self.encoder(inputs) + self.shift}


class Undocumented(Good):
    def players(self) -> list[Any]:
        """Return no players."""
        return []


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (DrawsGlobally, "drew from the global generator; use rng"),
        (KeepsCountOutsideState, "resumed training ended with different weights: encoder"),
        (ChangesInputs, "make_views() changed the batch"),
        (IsNaN, "the loss is nan"),
        (IsVector, "the loss must be a scalar, got shape (16,)"),
        (IsDetached, "no parameter of the encoder changed"),
        (CountsWhileFrozen, "training changed an encoder that is frozen"),
        (ForgetsFeatures, "embed() must return 'features', got ['feature']"),
        (HidesState, "a loaded state gives different embeddings"),
        (Undocumented, "the class has no docstring"),
    ],
)
def test_method_that_breaks_the_contract_gets_a_message_that_says_how(cls: type, message: str) -> None:
    assert message in failures("objective", cls)


@pytest.mark.parametrize("cls", [Good, IsFrozen])
def test_method_that_keeps_the_contract_passes(cls: type) -> None:
    assert failures("objective", cls) == ""


class WrongDim(TinyEncoder):
    """Declares 12 features and returns 3 (ours)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return too few features."""
        return super().forward(inputs)[:, :3]


def test_encoder_with_a_wrong_dim_fails() -> None:
    assert failures("encoder", TinyEncoder) == ""
    assert "features have shape (4, 3), expected (4, 12)" in failures("encoder", WrongDim)


class GraphEncoder(TinyGraphEncoder):
    """Encoder of graphs (ours)."""

    kinds = frozenset({"graphs"})
    others: Any = None

    def maps(self, inputs: Any) -> dict[str, Any]:
        """Return the maps, or others."""
        return self.others or super().maps(inputs)

    def forward(self, inputs: Any) -> Tensor:
        """Return the sums of the nodes over each graph."""
        nodes = super().maps(inputs)["second"]
        return nodes.values.new_zeros(len(inputs), self.dim).index_add(0, nodes.graph, nodes.values)


class SeesItsBatch(GraphEncoder):
    """Centres the features over the batch (ours)."""

    def forward(self, inputs: Any) -> Tensor:
        """Return features less their mean."""
        features = super().forward(inputs)
        return features - features.mean(0)


class DoesTwoThings(GraphEncoder):
    """Returns other features beside the maps (ours)."""

    def features_and_maps(self, inputs: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return twice the features."""
        return 2 * self(inputs), self.maps(inputs)


class LosesAMap(GraphEncoder):
    """Returns fewer maps beside the features (ours)."""

    def features_and_maps(self, inputs: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the first map only."""
        return self(inputs), dict(list(self.maps(inputs).items())[:1])


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (SeesItsBatch, "in eval mode the features of an item depend on the other items of its batch"),
        (DoesTwoThings, "its features differ from those of forward()"),
        (LosesAMap, "its maps are ['first'], those of maps() ['first', 'second']"),
    ],
)
def test_encoder_of_graphs_that_breaks_the_contract_fails(cls: type, message: str) -> None:
    assert message in failures("encoder", cls)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (None, ""),
        ({"a": torch.zeros(2, 3, 4)}, ""),
        ({"a": torch.zeros(2, 3)}, "map 'a' has shape (2, 3), expected (2, channels, locations), or a NodeMap"),
        ({"a": torch.zeros(3, 3, 4)}, "map 'a' has shape (3, 3, 4)"),
        ({"a": None}, "map 'a' has shape NoneType"),
        ({"a": NodeMap(torch.zeros(9, 2), torch.zeros(8))}, "map 'a' has values of shape (9, 2) for (8,) nodes"),
        (
            {"a": NodeMap(torch.zeros(1, 2), torch.zeros(1))},
            "map 'a' must have the nodes of the graphs, in their order",
        ),
    ],
)
def test_maps_of_graphs_are_rows_of_locations_or_nodes(
    others: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GraphEncoder, "others", others)
    assert message in failures("encoder", GraphEncoder) if message else failures("encoder", GraphEncoder) == ""


class InStages(Good):
    """Trains its encoder, then a head (ours)."""

    names = ("encoder", "head")

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = torch.nn.Linear(encoder.dim, 1)

    def stages(self) -> list[Stage]:
        """Return a stage for each part."""
        parts = zip(self.names, (self.encoder, self.head), strict=True)
        return [Stage(name=name, players=[Player(name, list(part.parameters()))]) for name, part in parts]

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the mean square of the features or of the head."""
        features = self.encoder(views)
        return Loss((features if player == "encoder" else self.head(features)).square().mean())


class IdleStage(InStages):
    """Gives its head no gradient (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss that is flat in the head."""
        return Loss(self.encoder(views).square().mean() + 0 * self.head.weight.sum() + 0 * self.head.bias.sum())


class NamesTwice(InStages):
    """Gives two stages one name (ours)."""

    names = ("one", "one")


def test_each_stage_is_trained_and_must_move_its_players() -> None:
    assert failures("objective", InStages) == ""
    assert "no parameter of the player 'head' changed in its stage" in failures("objective", IdleStage)
    assert "two stages are named 'one'" in failures("objective", NamesTwice)


class ReadsFactors(Good):
    """Needs factors and a teacher (ours)."""

    uses_factors = True

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig, *, teacher: Objective) -> None:
        super().__init__(encoder, data, config)
        self.teachers = [teacher]
        self.head = torch.nn.Linear(encoder.dim, 2)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return inputs and factors."""
        assert batch.factors is not None
        return batch.inputs, batch.factors.float()

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the squared error of the factors, and of the teacher's features."""
        features, taught = self.encoder(views[0]), self.teachers[0].encoder(views[0])
        return Loss((self.head(features) - views[1]).square().mean() + (features - taught).square().mean())


class SavesItsTeacher(ReadsFactors):
    """Registers the teacher as a part of itself (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig, *, teacher: Objective) -> None:
        super().__init__(encoder, data, config, teacher=teacher)
        self.teacher = teacher


def test_a_method_with_factors_and_a_teacher_passes_unless_it_saves_the_teacher() -> None:
    assert failures("objective", ReadsFactors) == ""
    assert "the teacher is saved with the method (teacher." in failures("objective", SavesItsTeacher)


class ReadsSounds(Good):
    """Reads no kind of data that is made here (ours)."""

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but sounds."""
        return None if data.kind == "sound" else "needs sounds"


def test_a_method_of_which_nothing_was_tried_fails_with_the_reason() -> None:
    said = failures("objective", ReadsSounds)
    assert "nothing was tried, because it skips all made data (image: needs sounds; vector: needs sounds;" in said


class BreaksOnPairs(Good):
    """Reads vectors and, as it says, pairs (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs, of which pairs have no shape."""
        return batch.inputs.reshape(batch.inputs.shape)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip all but vectors and pairs."""
        return None if data.kind in ("vector", "pairs") else "needs vectors or pairs"


def test_outcomes_name_the_kinds_that_were_tried_and_the_one_that_failed() -> None:
    component = Component("objective", "toy", "toys", "1.0", BreaksOnPairs)
    outcomes = [outcome for outcome in check_component(component, REGISTRY) if "make_views" in outcome.check]
    assert [outcome.check[-19:] for outcome in outcomes] == ["d (on vector, pairs)"[1:]]
    assert str(outcomes[0].error).startswith("on pairs: AttributeError: 'Pair' object has no attribute 're")


class Dots(Dataset):
    """Images of 2 x 2 pixels (ours)."""

    images: Any = torch.zeros(6, 1, 2, 2, dtype=torch.uint8)
    labels = torch.arange(6) % 3

    def __init__(self, root: Path, config: NoConfig) -> None:
        pass

    def spec(self) -> DataSpec:
        """Describe one split of three classes."""
        return DataSpec(shape=(1, 2, 2), splits={"train": 6}, num_classes=3, name="dots")

    def digest(self) -> str:
        """Return a version."""
        return "dots-1"

    def load(self, split: str) -> Split:
        """Return the items."""
        return Split(self.images, self.labels)


class ReadDots:
    """Reader of images."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: Tensor) -> Tensor:
        """Return the images at index."""
        return self.images[index]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": torch.arange(6)}, "item 3 has the label 3, but spec() declares 3 classes"),
        ({"labels": torch.zeros(6, 1, dtype=torch.int64)}, "labels are torch.int64 of shape (6, 1), but must be"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, "labels are torch.int64 of shape (7,), but must be"),
        ({"images": torch.full((6, 1, 2, 2), 255.0)}, "image 0 of 6 has the value 255, but float images must be in"),
        ({"images": torch.zeros(5, 1, 2, 2), "labels": None}, "it has 5 items, but spec() declares 6"),
        ({"images": ReadDots(torch.full((6, 1, 2, 2), -1.0))}, "image 0 of 6 has the value -1, but float images"),
    ],
)
def test_dataset_fails_its_check_in_the_words_of_a_run(
    fields: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures("dataset", Dots) == ""
    for name, value in fields.items():
        monkeypatch.setattr(Dots, name, value)
    assert f"split 'train': {words}" in failures("dataset", Dots).replace("in a batch that begins with item 0, ", "")
    dots = Dots(Path(), NoConfig())
    with pytest.raises(DataMissingError, match=re.escape(words)):
        next(open_split(load_split(dots, dots.spec(), "train"), torch.device("cpu")).batches(6))


class ImpossibleScore(Evaluator):
    """Returns a fraction above one (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Return an impossible score."""
        return Evaluation(scores=[Score(metric="much", value=1.5, n=1)], protocol="none")


def test_task_with_an_impossible_score_fails() -> None:
    assert "much is a fraction and must be in [0, 1], got 1.5" in failures("evaluator", ImpossibleScore)


class WrongItems(Evaluator):
    """Returns per-item results whose mean is not the score (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Return a score of 0 with items of which half are hits."""
        n = len(frozen.splits["test"].embeddings["features"])
        items = {"top1": PerItem(torch.arange(n) % 2 == 0)}
        return Evaluation(scores=[Score(metric="top1", value=0.0, n=n)], protocol="none", items=items)


def test_task_whose_items_do_not_agree_with_its_score_fails() -> None:
    assert "per-item results: top1 is 0, and the mean of its values 0.5" in failures("evaluator", WrongItems)


def test_checks_are_selected_by_name_id_or_package() -> None:
    assert [c.id for c in select("nac", REGISTRY)] == ["bench-core/nac"]
    assert len(select("bench-core", REGISTRY)) == len(
        [c for c in REGISTRY.components if c.distribution == "bench-core"]
    )
    with pytest.raises(UnknownNameError, match="no component or package named 'ncaa'"):
        select("ncaa", REGISTRY)


def test_plugin_that_did_not_load_is_named_with_its_reason() -> None:
    registry = Registry([], [BrokenPlugin("ijepa", "bench-ijepa", "ImportError: no module named timm")])
    for name in ("ijepa", "bench-ijepa"):
        with pytest.raises(CheckError, match=r"plugin 'ijepa' of bench-ijepa did not load: ImportError: no module"):
            select(name, registry)
    with pytest.raises(UnknownNameError, match="no component or package named 'vae'"):
        select("vae", registry)


def test_each_outcome_has_the_sentence_of_its_check_and_its_draws_are_always_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[float] = []

    def draws(cls: type) -> None:
        """It draws."""
        drawn.append(float(torch.rand(())))

    def lacks_data(cls: type) -> None:
        """It is read."""
        raise DataMissingError("it is not here")

    component, state = Component("dataset", "toy", "toys", "1.0", Dots), torch.get_rng_state()
    monkeypatch.setattr("bench_core.conformance.components.CHECKS", ())
    monkeypatch.setattr("bench_core.conformance.check._CHECKS_OF_CLASS", {"dataset": (draws, lacks_data)})
    outcomes = [(o.check, o.error, o.tried) for o in check_component(component, REGISTRY)]
    assert outcomes == [("It draws", None, True), ("It is read (not tried: it is not here)", None, False)]
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    list(check_component(component, REGISTRY))
    assert drawn[0] == drawn[1]


def test_assert_conforms_raises_with_every_failed_check() -> None:
    registry = Registry([Component("objective", "toy", "toys", "1.0", IsNaN)])
    with pytest.raises(CheckError, match=r"toys/toy: .*the loss is nan"):
        assert_conforms("toy", registry)
    assert_conforms("nac")


def test_a_failure_names_the_line_to_look_at() -> None:
    from bench_methods.simclr import SimCLR

    class Breaks(Good):
        """Fails in its loss (ours)."""

        def forward(self, views: Any, player: str = "main") -> Loss:
            """Raise an error."""
            raise ValueError("no luck")  # the line

    line = next(n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text.endswith("# the line"))
    component = Component("objective", "toy", "toys", "1.0", Breaks)
    failed = [outcome for outcome in check_component(component, REGISTRY) if "no luck" in (outcome.error or "")]
    assert failed
    assert {outcome.where for outcome in failed} == {f"test_check.py:{line}"}
    assert not any(o.where for o in check_component(Component("objective", "toy", "toys", "1.0", SimCLR), REGISTRY))


def test_capabilities_are_named() -> None:
    assert "Generative" in capabilities(REGISTRY.get("objective", "vae"))
    assert capabilities(REGISTRY.get("objective", "simclr")) == []
    assert capabilities(REGISTRY.get("encoder", "stored")) == ["StoredFeatures"]
