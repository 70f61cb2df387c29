from typing import Any, cast

import pytest
import torch
from torch import nn

from bench_core import Batch, Loss, Objective, ParameterGroup, Player, Recipe
from bench_core.training.players import loss_fault, make_player_optimizers, train_step

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


class Pulled(nn.Module):
    """Two weights that are pulled to 0; the second player pulls the sum. It counts its steps (a toy)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(2.0))
        self.steps = 0

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str) -> Loss:
        return Loss((self.first if player == "a" else self.first + self.second) * views.sum())

    def after_step(self) -> None:
        self.steps += 1


def test_each_player_steps_once_on_its_own_weights_along_the_gradient_of_its_own_batch() -> None:
    method = Pulled()
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, momentum=0.0)
    players = [Player("a", [method.first]), Player("b", [method.second], steps=2)]
    trainers = [make_player_optimizers(player, recipe) for player in players]
    for number in (1, 2):
        batch = Batch(torch.ones(2), torch.arange(2))
        autocast = torch.autocast("cpu", enabled=False)
        losses = train_step(cast(Objective, method), trainers, batch, torch.Generator(), autocast)
        assert method.first.item() == pytest.approx(1 - 0.2 * number)  # the gradient is 2, the sum of the inputs
        assert method.second.item() == pytest.approx(2 - 0.4 * number)  # two steps
        assert method.steps == number
    assert {name: loss.total.item() for name, loss in losses.items()} == pytest.approx(
        {"a": 0.8 * 2, "b": (0.6 + 1.4) * 2}  # before their last step
    )
