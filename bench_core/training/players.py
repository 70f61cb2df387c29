"""Players of a method with their optimisers, and the training step that moves all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bench_core.config import build
from bench_core.contracts import Batch, Loss, Objective, Player, Recipe
from bench_core.errors import CheckError
from bench_core.training.distributed import average_gradients
from bench_core.training.optimizers import make_optimizer, rate_factor


@dataclass
class PlayerOptimizers:
    """One player and the optimisers that move its parameters.

    Attributes:
        player: The player, as the method gave it.
        optimizers: Each with the recipe that sets its learning rate. The first moves the parameters that are in no
            `ParameterGroup`; then comes one for each group.
    """

    player: Player
    optimizers: Sequence[tuple[Recipe, Optimizer]]

    def step(self, objective: Objective, views: Any, autocast: torch.autocast) -> Loss:
        """Take the player's optimiser steps (`player.steps`) on one batch.

        Only the player's own parameters get a gradient and move.

        Returns:
            The loss before the last of these steps.

        Raises:
            CheckError: The method returned no scalar loss.
        """
        for _ in range(self.player.steps):
            with autocast:
                loss: Loss = objective(views, self.player.name)
            if fault := loss_fault(loss):
                raise CheckError(fault)
            for _, optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            trained = [parameter for parameter in self.player.parameters if parameter.requires_grad]
            torch.autograd.backward(loss.total, inputs=trained)
            average_gradients(trained)
            for _, optimizer in self.optimizers:
                optimizer.step()
        return loss

    def set_learning_rates(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """Set each optimiser's learning rate to what its recipe says for this step of the player's stage."""
        for recipe, optimizer in self.optimizers:
            rate = recipe.learning_rate * rate_factor(recipe, step, num_steps, steps_per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate

    def learning_rate(self) -> float:
        """Return the learning rate of the first optimiser."""
        rate: float = self.optimizers[0][1].param_groups[0]["lr"]
        return rate


def loss_fault(loss: object) -> str | None:
    """Say what is wrong with what a method's `forward` returned, or return None. Reads no value from the device."""
    if not isinstance(loss, Loss):
        return f"forward must return a Loss, got {type(loss).__name__}"
    for name, part in {"the loss": loss.total, **{f"part {name!r}": part for name, part in loss.parts.items()}}.items():
        if not isinstance(part, Tensor):
            return f"{name} must be a tensor, got {type(part).__name__}"
        if part.ndim:
            return f"{name} must be a scalar, got shape {tuple(part.shape)}"
    return None


def make_player_optimizers(player: Player, recipe: Recipe) -> PlayerOptimizers:
    """Build the optimisers of a player.

    Args:
        player: Its own recipe changes the method's; the recipe of one of its groups changes the player's.
        recipe: The method's recipe.
    """
    where = f"player {player.name}"  # named in the error about a wrong value
    player_recipe = build(Recipe, dict(player.recipe), where, base=recipe)
    in_groups = {id(parameter) for group in player.groups for parameter in group.parameters}
    ungrouped = [parameter for parameter in player.parameters if id(parameter) not in in_groups]

    optimizers = []
    if ungrouped:
        optimizers.append((player_recipe, make_optimizer(ungrouped, player_recipe)))
    for group in player.groups:
        group_recipe = build(Recipe, dict(group.recipe), where, base=player_recipe)
        if group.parameters:
            optimizers.append((group_recipe, make_optimizer(group.parameters, group_recipe)))
    return PlayerOptimizers(player, optimizers)


def train_step(
    objective: Objective,
    trainers: Sequence[PlayerOptimizers],
    batch: Batch,
    rng: torch.Generator,
    autocast: torch.autocast,
) -> dict[str, Loss]:
    """Train all players, one after another, on the views of one batch.

    Args:
        objective: The method; its `after_step` is called at the end.
        trainers: The players with their optimisers, in the order in which they move.
        batch: On the device.
        rng: Generator on the device from which the views are drawn.
        autocast: Context in which the losses are computed.

    Returns:
        The loss of each player by its name, detached, still on the device: reading it here would wait for the GPU.
    """
    views = objective.make_views(batch, rng)
    losses = {}
    for trainer in trainers:
        losses[trainer.player.name] = _detached(trainer.step(objective, views, autocast))
    objective.after_step()
    return losses


def _detached(loss: Loss) -> Loss:
    parts = {name: part.detach() for name, part in loss.parts.items()}
    return replace(loss, total=loss.total.detach(), parts=parts)
