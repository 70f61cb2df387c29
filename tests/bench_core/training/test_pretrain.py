import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import Batch, Encoder, EpochContext, Loss, NoConfig, Objective, Player, Recipe, Split
from bench_core.data import open_split
from bench_core.planning.chains import Plan
from bench_core.training.autosave import NoAutosave
from bench_core.training.pretrain import pretrain

CPU = torch.device("cpu")


class Recorder(Objective):
    """Records the batches that it is given and a draw from its generator."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return inputs, indices and a random number."""
        return batch.inputs, batch.index, torch.rand((), generator=rng)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a part above its ceiling and one below."""
        inputs, index, draw = views
        self.seen = [*getattr(self, "seen", []), index.tolist()]
        self.draws = [*getattr(self, "draws", []), float(draw)]
        loss = self.encoder(inputs).square().mean()
        return Loss(
            loss, {"information": torch.tensor(1.5), "fine": torch.tensor(0.5)}, {"information": 1.0, "fine": 1.0}
        )


class Untrained(Recorder):
    """Has no players."""

    def players(self) -> list[Player]:
        """Return an empty list."""
        return []


@pytest.fixture
def train(tiny_encoder: Encoder, plan_of: Callable[..., Plan], tmp_path: Path) -> Callable[..., Any]:
    data = plan_of().chains[0].data
    split = Split(torch.zeros(50, 1, 8, 8, dtype=torch.uint8))

    def run(
        cls: type[Objective] = Recorder, seed: int = 0, on_first_step: Callable[[], None] = lambda: None, **recipe: Any
    ) -> Any:
        method = cls(tiny_encoder, data, NoConfig())
        cost = pretrain(
            method, open_split(split, CPU), Recipe(**{"epochs": 3, "batch_size": 16, **recipe}),
            seed=seed, device=CPU, precision="fp32", log=tmp_path / "log.jsonl", on_first_step=on_first_step,
        )  # fmt: skip
        return method, cost, [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    return run


def test_each_epoch_has_every_full_batch_once_in_another_order(train: Callable[..., Any]) -> None:
    method, cost, log = train()
    assert cost["steps"] == len(method.seen) == 9
    epochs = [[i for batch in method.seen[3 * k : 3 * k + 3] for i in batch] for k in range(3)]
    assert all(len(set(epoch)) == 48 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [line["step"] for line in log] == [3, 6, 9]


def test_first_step_is_told_once(train: Callable[..., Any]) -> None:
    told: list[int] = []
    train(on_first_step=lambda: told.append(1))
    assert told == [1]


def test_order_of_the_data_and_stream_of_views_depend_on_the_seed_alone(train: Callable[..., Any]) -> None:
    first, again, other_seed = (train(seed=seed)[0] for seed in (0, 0, 1))
    assert first.seen == again.seen
    assert first.draws == again.draws
    assert first.seen != other_seed.seen
    assert first.draws != other_seed.draws


def test_part_above_its_ceiling_is_in_the_log(train: Callable[..., Any]) -> None:
    _, _, log = train()
    assert log[0]["information_above_ceiling"] == 1.0
    assert "fine_above_ceiling" not in log[0]


def test_learning_rate_follows_the_recipe(train: Callable[..., Any]) -> None:
    _, _, log = train(learning_rate=0.5, schedule="steps", milestones=(0.5,), epochs=4)
    assert [line["learning_rate"] for line in log] == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_method_without_players_is_not_trained(train: Callable[..., Any]) -> None:
    method, cost, log = train(Untrained)
    assert log == []
    assert cost["pretrain_s"] == 0.0
    assert cost["images_per_s"] is None
    assert not hasattr(method, "seen")


def test_split_smaller_than_a_batch_is_one_batch(train: Callable[..., Any]) -> None:
    method, _, _ = train(batch_size=64, epochs=1)
    assert [len(batch) for batch in method.seen] == [50]


class Hooked(Recorder):
    """Collapses, warns, and records when its hooks are called."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a part below its floor, and a warning."""
        loss = super().forward(views, player)
        return Loss(loss.total, {"spread": torch.tensor(0.01)}, floors={"spread": 0.1}, warnings=("mind the gap",))

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Record epoch and step."""
        self.steps = [*getattr(self, "steps", []), (context.epoch, context.step)]
        return {"hooked": context.step}

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Record epoch and step, and count the images of a pass."""
        self.steps.append((context.epoch, context.step))
        return {"images": sum(len(batch.index) for batch in context.batches())}


def test_collapse_and_warning_are_in_the_log_and_returned(train: Callable[..., Any]) -> None:
    _, cost, log = train(Hooked)
    assert log[0]["spread_below_floor"] == 0.1
    assert cost["warnings"] == ["mind the gap", "spread 0.01 is below 0.1: collapsed, or not off its start yet"]


def test_hooks_get_epoch_and_step_and_passes_hold_every_image(train: Callable[..., Any]) -> None:
    method, _, log = train(Hooked, epochs=2)
    assert method.steps == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5), (2, 6)]
    assert [line["hooked"] for line in log[:2]] == [2, 5]
    assert log[2] == {"step": 6, "after_training": {"images": 50}}


class Passes(Recorder):
    """Records the order of its passes over the data."""

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Pass over the data once."""
        self.passes = [*getattr(self, "passes", []), [i for b in context.batches() for i in b.index.tolist()]]
        return {}


def test_each_pass_over_the_data_has_every_item_once_in_another_random_order(train: Callable[..., Any]) -> None:
    method, _, _ = train(Passes, epochs=2)
    first, second = method.passes
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != sorted(first)  # files lie sorted by class, and batch norm must not see one at a time
    assert train(Passes, epochs=2)[0].passes == method.passes


class Modes(Recorder):
    """Records whether it is in train mode, and leaves it after each epoch as a pass without gradients would."""

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """Record the mode."""
        self.modes = [*getattr(self, "modes", []), self.training]
        return {}

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Record the mode, and change it."""
        self.modes.append(self.training)
        if len(self.modes) % 4 == 0:  # the last step of an epoch
            self.eval()
        return super().forward(views, player)


def test_each_epoch_begins_in_train_mode(train: Callable[..., Any]) -> None:
    assert train(Modes, epochs=2)[0].modes == [True] * 8


def test_speed_is_images_over_seconds(train: Callable[..., Any]) -> None:
    _, cost, log = train()
    assert cost["images_per_s"] == pytest.approx(9 * 16 / cost["pretrain_s"])
    assert log[0]["images_per_s"] == pytest.approx(3 * 16 / log[0]["seconds"], rel=0.2)  # the seconds are rounded


def test_a_checkpoint_may_be_saved_after_each_step_and_each_epoch(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[str]()
    monkeypatch.setattr(NoAutosave, "after_step", lambda self: calls.append("step"))
    monkeypatch.setattr(NoAutosave, "after_epoch", lambda self: calls.append("epoch"))
    train(epochs=2)
    assert calls == ["step", "step", "step", "epoch"] * 2
