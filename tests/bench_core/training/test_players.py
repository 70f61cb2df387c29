from typing import Any

import pytest
import torch
from torch import nn

from bench_core import Loss, ParameterGroup, Player, Recipe
from bench_core.training.players import loss_fault, make_player_optimizers

RECIPE = Recipe(learning_rate=0.5, schedule="linear")


def weights(count: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 2)) for _ in range(count)]


def test_parameter_group_has_its_own_optimizer_and_learning_rate() -> None:
    first, *others = weights(3)
    group = ParameterGroup([first], {"schedule": "constant", "learning_rate": 0.25, "optimizer": "sgd"})
    player = make_player_optimizers(Player("main", [first, *others], groups=[group]), RECIPE)
    player.set_learning_rates(step=5, num_steps=6, steps_per_epoch=3)
    (_, usual), (_, grouped) = player.optimizers
    assert [group["params"] for group in grouped.param_groups] == [[first]]
    assert [group["params"] for group in usual.param_groups] == [others]
    assert grouped.param_groups[0]["lr"] == 0.25
    assert usual.param_groups[0]["lr"] == player.learning_rate() == pytest.approx(0.5 * (1 - 5 / 6))


def test_player_whose_parameters_are_all_in_groups_has_no_optimizer_beside_theirs() -> None:
    parameters = weights(2)
    player = make_player_optimizers(Player("main", parameters, groups=[ParameterGroup(parameters, {})]), RECIPE)
    assert len(player.optimizers) == 1


def test_recipes_of_player_and_group_change_the_methods_recipe() -> None:
    first, second = weights(2)
    group = ParameterGroup([second], {"momentum": 0.1})
    player = Player("main", [first, second], recipe={"learning_rate": 0.125}, groups=[group])
    recipes = [recipe for recipe, _ in make_player_optimizers(player, RECIPE).optimizers]
    assert [recipe.learning_rate for recipe in recipes] == [0.125, 0.125]
    assert [recipe.momentum for recipe in recipes] == [0.9, 0.1]
    assert [recipe.schedule for recipe in recipes] == ["linear", "linear"]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (Loss(torch.zeros(()), {"a": torch.ones(())}), None),
        (torch.zeros(()), "forward must return a Loss, got Tensor"),
        (None, "forward must return a Loss, got NoneType"),
        (Loss(torch.zeros(16)), "the loss must be a scalar, got shape (16,)"),
        (Loss(torch.zeros(1)), "the loss must be a scalar, got shape (1,)"),
        (Loss(torch.zeros(()), {"a": torch.ones(2)}), "part 'a' must be a scalar, got shape (2,)"),
        (Loss(torch.zeros(()), {"a": 1.0}), "part 'a' must be a tensor, got float"),  # type: ignore[dict-item]
    ],
)
def test_loss_must_be_a_scalar_with_scalar_parts(loss: Any, words: str | None) -> None:
    assert loss_fault(loss) == words
