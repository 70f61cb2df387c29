"""Trials find what would fail at the first step, and leave everything as it was."""

import copy
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder, EpochContext, Loss, NoConfig, Objective, Player, Recipe, Split
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts.keywords import named_only, needs
from bench_core.data import open_split
from bench_core.errors import CheckError
from bench_core.plugins import Component, load_plugins
from bench_core.training.trial import refuse_wrong_features, step_fault

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 1000}, num_classes=3)
CPU = torch.device("cpu")


class Shrink(Objective):
    """Makes features small."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(self.encoder(views).square().mean())


class Normed(Shrink):
    """Has a batch norm."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.norm = nn.BatchNorm1d(encoder.dim)

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss((self.norm(self.encoder(views)) - 1).square().mean())


class Contrasts(Shrink):
    """Learns from differences between items alone."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        features = self.encoder(views)
        return Loss((features - features.mean(0)).square().mean())


class Deviates(Shrink):
    """Divides by the number of other items."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(self.encoder(views).std(0).mean())


class Rests(Shrink):
    """Trains nothing."""

    def players(self) -> list[Player]:
        return []


def build(cls: type[Objective]) -> Callable[[DataSpec], Objective]:
    return lambda data: cls(TinyEncoder(data), data, NoConfig())


def fault(cls: type[Objective], batch_size: int, data: DataSpec = DATA) -> str | None:
    return step_fault(build(cls), Recipe(), data, batch_size)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Normed, "ValueError: Expected more than 1 value per channel when training, got input size"),
        (Contrasts, "its loss has no gradient"),
        (Deviates, "the loss of main is nan"),
    ],
)
def test_method_that_learns_nothing_from_one_item_has_a_fault(cls: type[Objective], words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert words in str(fault(cls, 1))
        assert fault(cls, 2) is None


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("cls", [Shrink, Rests])
def test_method_that_learns_from_any_batch_has_none(cls: type[Objective], batch_size: int) -> None:
    assert fault(cls, batch_size) is None


NEEDS_TWO = {
    "amdim", "barlow_twins", "byol", "dim", "mine", "mine_bottleneck", "noisy_dim", "simclr", "simsiam", "vicreg",
}  # fmt: skip


def reads_images(component: Component) -> bool:
    """Return True for a method that learns from images with any encoder and without a teacher."""
    cls = component.cls
    keywords = named_only(cls.skip_reason, encoder_class=TinyEncoder, encoder_config=NoConfig())
    return cls.skip_reason(DATA, cls.Config(), **keywords) is None and not needs(cls, "teacher")


METHODS = [component for component in load_plugins().of_kind("objective") if reads_images(component)]


@pytest.mark.parametrize("component", METHODS, ids=lambda component: component.name)
def test_built_in_method_learns_from_two_items_and_most_from_one(
    component: Component, smaller: Callable[[Component], None]
) -> None:
    smaller(component)

    def build_component(data: DataSpec) -> Objective:
        objective: Objective = component.cls(TinyEncoder(data), data, component.cls.Config())
        return objective

    assert step_fault(build_component, component.cls.recipe, DATA, 2) is None
    assert (step_fault(build_component, component.cls.recipe, DATA, 1) is not None) == (component.name in NEEDS_TWO)


@pytest.mark.parametrize("fields", [{"num_classes": None}, {"num_classes": None, "num_labels": 4}, {"num_classes": 3}])
def test_method_that_uses_labels_gets_labels_of_the_declared_kind(fields: dict[str, Any]) -> None:
    seen: list[Batch] = []

    class Labelled(Shrink):
        """Keeps its batch."""

        uses_labels = True

        def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
            seen.append(batch)
            return batch.inputs

    data = DataSpec(shape=(1, 8, 8), splits={"train": 1000}, **fields)
    found = fault(Labelled, 2, data)
    if data.num_labels is None and data.num_classes is None:
        assert "needs labels" in str(found)
    else:
        (batch,) = seen
        assert found is None
        assert batch.labels is not None
        assert batch.labels.shape == ((2, 4) if data.num_labels else (2,))
        assert batch.inputs.dtype == torch.float32
        assert 0 <= batch.inputs.min() <= batch.inputs.max() <= 1


def test_method_is_prepared_for_its_step_as_in_a_training() -> None:
    calls: list[tuple[str, EpochContext]] = []

    class Prepares(Shrink):
        """Notes what is called before the step."""

        def before_epoch(self, context: EpochContext) -> dict[str, float]:
            calls.append(("epoch", context))
            assert [len(batch.index) for batch in context.batches()] == [3] * 8
            return {}

        def before_step(self, context: EpochContext) -> dict[str, float]:
            calls.append(("step", context))
            return {}

    assert fault(Prepares, 3) is None
    assert [name for name, _ in calls] == ["epoch", "step"]


@pytest.mark.parametrize(("device", "kept"), [("cpu", []), ("cuda", [0]), ("cuda:1", [1])])
def test_generator_of_the_device_is_kept_by_the_trial_of_an_encoder(
    device: str, kept: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def fork_rng(devices: list[int]) -> AbstractContextManager[None]:
        asked.append(devices)
        return nullcontext()

    monkeypatch.setattr(torch.random, "fork_rng", fork_rng)
    monkeypatch.setattr("bench_core.training.trial.open_split", lambda split, device: open_split(split, CPU))
    refuse_wrong_features(TinyEncoder(DATA), "tiny", Split(torch.rand(2, 1, 8, 8)), torch.device(device))
    assert asked == [kept]


def test_made_data_have_the_shape_of_the_dataset() -> None:
    shapes = []

    class Looks(Shrink):
        """Keeps the shapes."""

        def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
            shapes.append(tuple(batch.inputs.shape))
            return torch.zeros(len(batch.inputs), 1, 8, 8)

    def build_on_images(data: DataSpec) -> Objective:
        return Looks(TinyEncoder(DATA), data, NoConfig())

    for shape in ((5,), (1, 2, 3), (2, 4, 4, 4)):
        step_fault(build_on_images, Recipe(), DataSpec(shape=shape, splits={"train": 9}), 3)
    assert shapes == [(3, 5), (3, 1, 2, 3), (3, 2, 4, 4, 4)]


def test_trial_of_a_step_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    fault(Normed, 1)
    fault(Shrink, 2)
    assert torch.equal(state, torch.get_rng_state())


def test_trial_of_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    drawn: list[float] = []

    class Draws(Shrink):
        """Draws from the global generator, as dropout does."""

        def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
            drawn.append(float(torch.rand(())))
            return batch.inputs

    for _ in range(2):
        fault(Draws, 2)
        torch.rand(7)
    assert drawn[0] == drawn[1]


class Wrong(TinyEncoder):
    """Returns features that are changed by a function."""

    change: Callable[[Tensor], Any] = staticmethod(lambda features: features)

    def forward(self, inputs: Tensor) -> Tensor:
        changed: Tensor = self.change(super().forward(inputs))
        return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[:, :3], r"encoder tiny: features have shape \(2, 3\), expected \(2, 12\): its dim is 12\. Mend"),
        (lambda f: f[:1], r"shape \(1, 12\)"),
        (lambda f: f[..., None, None], r"shape \(2, 12, 1, 1\)"),
        (lambda f: f.double(), "features are torch.float64, not float32"),
        (lambda f: (f, f), r"features are a tuple, expected a tensor \(2, 12\)"),
    ],
)
def test_encoder_whose_features_are_not_as_declared_is_refused(
    change: Callable[[Tensor], Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wrong, "change", staticmethod(change))
    with pytest.raises(CheckError, match=words):
        refuse_wrong_features(Wrong(DATA), "tiny", Split(torch.zeros(5, 1, 8, 8)), CPU)


def test_trial_of_an_encoder_changes_neither_its_state_nor_the_generator() -> None:
    class Normed(TinyEncoder):
        """Has batch norm and dropout."""

        def __init__(self, data: DataSpec) -> None:
            super().__init__(data)
            self.norm = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))

        def maps(self, inputs: Tensor) -> dict[str, Tensor]:
            return super().maps(self.norm(inputs))

    encoder = Normed(DATA)
    split = Split(torch.rand(5, 1, 8, 8))
    before, rng = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    refuse_wrong_features(encoder, "tiny", split, CPU)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())
    assert all(module.training for module in encoder.modules())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_encoder_that_is_tried_in_eval_mode_stays_in_it() -> None:
    encoder = TinyEncoder(DATA).eval()
    refuse_wrong_features(encoder, "tiny", Split(torch.rand(1, 1, 8, 8)), CPU)
    assert not encoder.training
