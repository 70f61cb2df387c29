"""Every registered plugin keeps to the contract; a plugin that breaks it is told how."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, EpochContext, Evaluation, Evaluator, Frozen, Loss, NoConfig, Objective
from bench_core.conformance import assert_conforms, check_component, select
from bench_core.conformance.toys import TinyEncoder
from bench_core.errors import CheckError, UnknownNameError
from bench_core.plugins import Component, load_plugins

REGISTRY = load_plugins()


@pytest.mark.parametrize("component", REGISTRY.components, ids=lambda c: f"{c.kind}-{c.id}")
def test_a_built_in_plugin_conforms(component: Component, smaller: Callable[[Component], None]) -> None:
    smaller(component)
    failed = [outcome for outcome in check_component(component, REGISTRY) if outcome.error]
    assert failed == []


def failures(kind: str, cls: type) -> str:
    """What the checks say of a class."""
    component = Component(kind, "made", "toys", "1.0", cls)
    return "; ".join(outcome.error for outcome in check_component(component, REGISTRY) if outcome.error)


class Good(Objective):
    """Keeps to everything (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Noise."""
        return batch.inputs + torch.rand(batch.inputs.shape, generator=rng)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Shrink."""
        return Loss(self.encoder(views).square().mean())


class DrawsGlobally(Good):
    """Does not use rng (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Noise from the global generator."""
        return batch.inputs + torch.rand(batch.inputs.shape)


class ChangesInputs(Good):
    """In place (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Noise into the batch."""
        return batch.inputs.add_(torch.rand(batch.inputs.shape, generator=rng))


class Forgets(Good):
    """Keeps a count outside of its state (ours)."""

    seen = 0

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Shrink, the more the later."""
        self.seen += 1
        return Loss(self.encoder(views).square().mean() * self.seen)


class IsNaN(Good):
    """Diverges (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Not a number."""
        return Loss(self.encoder(views).mean() * torch.nan)


class IsVector(Good):
    """Forgets the mean (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """One loss a row."""
        return Loss(self.encoder(views).square().mean(1))


class IsDetached(Good):
    """Learns nothing (ours)."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = torch.nn.Linear(encoder.dim, 1)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Of a frozen encoder."""
        return Loss(self.head(self.encoder(views).detach()).square().mean())


class ForgetsFeatures(Good):
    """Embeds under another name (ours)."""

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Not `features`."""
        return {"feature": self.encoder(inputs)}


class HidesState(Good):
    """What it embeds by is not in its state (ours)."""

    shift = 0.0

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Grows."""
        self.shift += 1
        return {}

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Shifted."""
        return {"features": self.encoder(inputs) + self.shift}


class Undocumented(Good):
    def players(self) -> list[Any]:
        """Nobody."""
        return []


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (DrawsGlobally, "drew from the global generator; use rng"),
        (Forgets, "after a stop and a start the training ended otherwise: encoder"),
        (ChangesInputs, "make_views changed the batch"),
        (IsNaN, "the loss is nan"),
        (IsVector, "the loss must be a scalar, got shape (16,)"),
        (IsDetached, "no parameter of the encoder moved"),
        (ForgetsFeatures, "embed must give 'features', got ['feature']"),
        (HidesState, "a loaded state gives other embeddings"),
        (Undocumented, "the class has no docstring"),
    ],
)
def test_an_objective_that_breaks_the_contract_is_told_how(cls: type, message: str) -> None:
    assert message in failures("objective", cls)


def test_an_objective_that_keeps_to_it_passes() -> None:
    assert failures("objective", Good) == ""


class WrongDim(TinyEncoder):
    """Says 12, gives 3 (ours)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Too few."""
        return super().forward(inputs)[:, :3]


def test_an_encoder_with_the_wrong_dim_is_told_so() -> None:
    assert failures("encoder", TinyEncoder) == ""
    assert "features (4, 3), expected (4, 12)" in failures("encoder", WrongDim)


class TooMuch(Evaluator):
    """A fraction above one, from a generator of nobody (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Wrong."""
        from bench_core import Score

        return Evaluation(scores=[Score(metric="much", value=1.5, n=1)], protocol="none")


def test_an_evaluator_with_an_impossible_score_is_told_so() -> None:
    assert "much is a fraction, got 1.5" in failures("evaluator", TooMuch)


class OtherItems(Evaluator):
    """Per-item results of something else (ours)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """All wrong, half of them right."""
        from bench_core import PerItem, Score

        n = len(frozen.splits["test"].embeddings["features"])
        items = {"top1": PerItem(torch.arange(n) % 2 == 0)}
        return Evaluation(scores=[Score(metric="top1", value=0.0, n=n)], protocol="none", items=items)


def test_an_evaluator_whose_items_are_not_those_of_its_score_is_told_so() -> None:
    assert "per-item results: top1 is 0, and the mean of its values 0.5" in failures("evaluator", OtherItems)


def test_checks_are_selected_by_name_id_or_package() -> None:
    assert [c.id for c in select("nac", REGISTRY)] == ["bench-core/nac"]
    assert len(select("bench-core", REGISTRY)) == len(
        [c for c in REGISTRY.components if c.distribution == "bench-core"]
    )
    with pytest.raises(UnknownNameError, match="no component or package named 'ncaa'"):
        select("ncaa", REGISTRY)


def test_assert_conforms_raises_with_every_failed_check() -> None:
    from bench_core.plugins import Registry

    registry = Registry([Component("objective", "made", "toys", "1.0", IsNaN)])
    with pytest.raises(CheckError, match=r"toys/made: .*the loss is nan"):
        assert_conforms("made", registry)
    assert_conforms("nac")
