from collections.abc import Mapping
from typing import Any

import pytest
import torch

from bench_core import Batch, DataSpec, Loss, NoConfig, Objective, Player, Recipe, Stage
from bench_core.conformance.toys import TinyEncoder
from bench_core.errors import CheckError, ConfigError, RequestError
from bench_core.training.stages import divide_epochs, make_stages, stages_of

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 9})


class Staged(Objective):
    """Has the stages that a test gives it."""

    given: list[Stage] | None = None

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(self.encoder(views).square().mean())

    def stages(self) -> list[Stage]:
        return super().stages() if self.given is None else self.given


def method(*given: Stage) -> Staged:
    objective = Staged(TinyEncoder(DATA), DATA, NoConfig())
    objective.given = list(given)
    return objective


def stage(name: str, player: str, **fields: Any) -> Stage:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    return Stage(name=name, players=[Player(player, [weight])], **fields)


@pytest.mark.parametrize(
    ("epochs", "shares", "parts"),
    [
        (10, [1.0], [10]),
        (9, [1.0, 1.0, 1.0], [3, 3, 3]),
        (10, [1.0, 1.0, 1.0], [3, 4, 3]),  # ends at 3.33, 6.67 and 10
        (10, [1.0, 2.0], [3, 7]),
        (10, [0.1, 0.9], [1, 9]),
        (10, [1e-6, 1.0, 1e-6], [1, 8, 1]),  # at least one epoch each
        (3, [100.0, 1.0, 1.0], [1, 1, 1]),
        (0, [1.0, 1.0], [0, 0]),
    ],
)
def test_epochs_are_divided_by_the_shares(epochs: int, shares: list[float], parts: list[int]) -> None:
    assert divide_epochs(epochs, shares) == parts


@pytest.mark.parametrize("epochs", range(4, 40))
def test_no_epoch_is_lost_and_no_stage_is_without_one(epochs: int) -> None:
    for shares in ([1.0, 1.0, 1.0, 1.0], [5.0, 1.0, 3.0, 0.01], [0.01, 1.0, 0.01, 9.0]):
        parts = divide_epochs(epochs, shares)
        assert sum(parts) == epochs
        assert min(parts) >= 1


def test_fewer_epochs_than_stages_are_refused_with_the_least_number() -> None:
    with pytest.raises(RequestError, match=r"3 stages.*so 2 epochs are too few; set its recipe\.epochs to 3 or more"):
        divide_epochs(2, [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "it returned no stage"),
        ([stage("a", "x"), stage("a", "y")], "two stages are named 'a'"),
        ([stage("a", "x"), stage("b", "x")], "two players are named 'x'"),
        ([stage("a", "x"), stage("b", "y", share=0.0)], "the share of stage 'b' must be > 0, got 0.0"),
        ([stage("a", "x", share=float("nan"))], "the share of stage 'a' must be > 0, got nan"),
        ([stage("a", "x"), Stage(name="b", players=[])], "stage 'b' has no players"),
        ([stage("a", "x", recipe={"epochs": 3})], "the recipe of stage 'a' sets epochs, which holds for the whole"),
        ([stage("a", "x", recipe={"batch_size": 3})], "the recipe of stage 'a' sets batch_size, which holds for"),
    ],
)
def test_stages_that_contradict_each_other_are_refused(given: list[Stage], words: str) -> None:
    with pytest.raises(CheckError, match=rf"stages\(\) of Staged: {words}"):
        stages_of(method(*given))


def test_recipe_of_a_stage_changes_the_methods_recipe_and_that_of_a_player_the_stages() -> None:
    slow: Mapping[str, Any] = {"learning_rate": 0.25, "schedule": "constant"}
    changed = Stage(
        name="b",
        players=[Player("y", [torch.nn.Parameter(torch.ones(2, 2))], recipe={"schedule": "linear"})],
        recipe=slow,
    )
    stages = make_stages(method(stage("a", "x"), changed), Recipe(learning_rate=0.5, epochs=4))
    recipes = [recipe for stage in stages for trainer in stage.trainers for recipe, _ in trainer.optimizers]
    assert [(recipe.learning_rate, recipe.schedule) for recipe in recipes] == [(0.5, "cosine"), (0.25, "linear")]
    assert [(stage.name, stage.num_epochs, len(stage.optimizers)) for stage in stages] == [("a", 2, 1), ("b", 2, 1)]


def test_parameter_of_two_stages_has_an_optimizer_without_moments_in_the_second() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    both = [Stage(name=name, players=[Player(name, [weight])]) for name in ("a", "b")]
    first, second = (stage.optimizers[0] for stage in make_stages(method(*both), Recipe(epochs=4)))
    weight.grad = torch.ones(2, 2)
    first.step()
    assert len(first.state) == 1
    assert len(second.state) == 0
    assert first.param_groups[0]["params"] == second.param_groups[0]["params"] == [weight]


def test_unknown_field_in_the_recipe_of_a_later_stage_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"stage b.*rate"):
        make_stages(method(stage("a", "x"), stage("b", "y", recipe={"rate": 1.0})), Recipe())


def test_method_with_players_alone_has_one_stage_with_all_of_its_epochs() -> None:
    objective = Staged(TinyEncoder(DATA), DATA, NoConfig())
    (only,) = make_stages(objective, Recipe(epochs=7))
    assert (only.name, only.num_epochs) == ("main", 7)
    assert [trainer.player.name for trainer in only.trainers] == ["main"]


def test_method_that_trains_nothing_has_one_stage_of_no_epochs() -> None:
    (only,) = make_stages(method(Stage(name="main", players=[])), Recipe(epochs=7))
    assert (only.num_epochs, only.trainers) == (0, [])
