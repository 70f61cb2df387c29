import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import Batch, Encoder, EpochContext, Loss, NoConfig, Objective, ParameterGroup, Player, Recipe, Split
from bench_core.data import open_split
from bench_core.planning.plan import Plan
from bench_core.training.pretrain import pretrain

CPU = torch.device("cpu")


class Counts(Objective):
    """Remembers what it was given."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Indices and a draw."""
        return batch.inputs, batch.index, torch.rand((), generator=rng)

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Bounded by one, and above it."""
        inputs, index, draw = views
        self.seen = [*getattr(self, "seen", []), index.tolist()]
        self.draws = [*getattr(self, "draws", []), float(draw)]
        loss = self.encoder(inputs).square().mean()
        return Loss(
            loss, {"information": torch.tensor(1.5), "fine": torch.tensor(0.5)}, {"information": 1.0, "fine": 1.0}
        )


class Nobody(Counts):
    """No players."""

    def players(self) -> list[Player]:
        """Nobody."""
        return []


@pytest.fixture
def train(tiny_encoder: Encoder, plan_of: Callable[..., Plan], tmp_path: Path) -> Callable[..., Any]:
    data = plan_of().chains[0].data
    split = Split(torch.zeros(50, 1, 8, 8, dtype=torch.uint8))

    def run(cls: type[Objective] = Counts, seed: int = 0, **recipe: Any) -> Any:
        method = cls(tiny_encoder, data, NoConfig())
        cost = pretrain(
            method, open_split(split, CPU), Recipe(**{"epochs": 3, "batch_size": 16, **recipe}),
            seed=seed, device=CPU, precision="fp32", log=tmp_path / "log.jsonl",
        )  # fmt: skip
        return method, cost, [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    return run


def test_each_epoch_sees_every_full_batch_once_in_another_order(train: Callable[..., Any]) -> None:
    method, cost, log = train()
    assert cost["steps"] == len(method.seen) == 9
    epochs = [[i for batch in method.seen[3 * k : 3 * k + 3] for i in batch] for k in range(3)]
    assert all(len(set(epoch)) == 48 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [line["step"] for line in log] == [3, 6, 9]


def test_all_methods_see_the_same_order_and_the_same_stream_of_views_at_a_seed(train: Callable[..., Any]) -> None:
    first, same, other = (train(seed=seed)[0] for seed in (0, 0, 1))
    assert first.seen == same.seen
    assert first.draws == same.draws
    assert first.seen != other.seen
    assert first.draws != other.draws


def test_an_estimate_above_its_ceiling_is_logged_as_a_defect(train: Callable[..., Any]) -> None:
    _, _, log = train()
    assert log[0]["information_above_ceiling"] == 1.0
    assert "fine_above_ceiling" not in log[0]


def test_the_rate_follows_the_recipe(train: Callable[..., Any]) -> None:
    _, _, log = train(learning_rate=0.5, schedule="steps", milestones=(0.5,), epochs=4)
    assert [line["learning_rate"] for line in log] == pytest.approx([0.5, 0.5, 0.05, 0.05])


def test_without_players_nothing_is_trained(train: Callable[..., Any]) -> None:
    method, cost, log = train(Nobody)
    assert log == []
    assert cost["pretrain_s"] == 0.0
    assert cost["images_per_s"] is None
    assert not hasattr(method, "seen")


def test_a_split_smaller_than_a_batch_is_one_batch(train: Callable[..., Any]) -> None:
    method, _, _ = train(batch_size=64, epochs=1)
    assert [len(batch) for batch in method.seen] == [50]


class Watched(Counts):
    """Collapses, warns, and notes when its hooks are called."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """A part below its floor."""
        loss = super().forward(views, player)
        return Loss(loss.total, {"spread": torch.tensor(0.01)}, floors={"spread": 0.1}, warnings=("mind the gap",))

    def before_step(self, context: EpochContext) -> Mapping[str, float]:
        """Remember the step."""
        self.steps = [*getattr(self, "steps", []), (context.epoch, context.step)]
        return {"hooked": context.step}

    def after_training(self, context: EpochContext) -> Mapping[str, float]:
        """Pass over the data once more."""
        self.steps.append((context.epoch, context.step))
        return {"images": sum(len(batch.index) for batch in context.batches())}


def test_a_collapse_and_a_warning_are_in_the_log_and_come_back(train: Callable[..., Any]) -> None:
    _, cost, log = train(Watched)
    assert log[0]["spread_below_floor"] == 0.1
    assert cost["warnings"] == ["mind the gap", "spread 0.01 is below 0.1: collapsed, or not off its start yet"]


def test_hooks_know_the_step_and_the_last_one_sees_every_image(train: Callable[..., Any]) -> None:
    method, _, log = train(Watched, epochs=2)
    assert method.steps == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5), (2, 6)]
    assert [line["hooked"] for line in log[:2]] == [2, 5]
    assert log[2] == {"step": 6, "after_training": {"images": 50}}


class Grouped(Counts):
    """The first parameter keeps its rate."""

    def players(self) -> list[Player]:
        """One, with a group."""
        first, *_ = parameters = list(self.parameters())
        group = ParameterGroup([first], {"schedule": "constant", "learning_rate": 0.25, "optimizer": "sgd"})
        return [Player("main", parameters, groups=[group])]


def test_a_group_has_a_recipe_of_its_own(train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from bench_core.training import pretrain as module

    turns = []
    real = module._turn

    def keep(player: Player, recipe: Recipe) -> module.Turn:
        turns.append(real(player, recipe))
        return turns[-1]

    monkeypatch.setattr(module, "_turn", keep)
    train(Grouped, learning_rate=0.5, schedule="linear", epochs=2, batch_size=16)
    (_, usual), (_, own) = turns[0].optimizers
    assert {group["lr"] for group in own.param_groups} == {0.25}
    assert all(group["lr"] == pytest.approx(0.5 * (1 - 5 / 6)) for group in usual.param_groups)
    assert sum(len(group["params"]) for group in own.param_groups) == 1


class Passes(Counts):
    """Remembers what its passes over the data gave."""

    def before_epoch(self, context: EpochContext) -> Mapping[str, float]:
        """One pass."""
        self.passes = [*getattr(self, "passes", []), [i for b in context.batches() for i in b.index.tolist()]]
        return {}


def test_a_pass_over_the_data_sees_everything_once_in_another_random_order_each_time(train: Callable[..., Any]) -> None:
    method, _, _ = train(Passes, epochs=2)
    first, second = method.passes
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != sorted(first)  # files lie sorted by class, and batch norm must not see one at a time
    assert train(Passes, epochs=2)[0].passes == method.passes


class NotANumber(Counts):
    """A part that is no number."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Beside a sound loss."""
        nan = torch.tensor(float("nan"))
        return Loss(super().forward(views, player).total, {"a": nan, "b": nan}, {"a": 1.0}, {"b": 0.0})


def test_a_part_that_is_no_number_keeps_no_bound(train: Callable[..., Any]) -> None:
    _, cost, _ = train(NotANumber)
    assert len(cost["warnings"]) == 2
