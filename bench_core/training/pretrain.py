"""The training loop: one for every method."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench_core.config import build
from bench_core.contracts import Batch, EpochContext, Loss, Objective, Player, Recipe
from bench_core.data import Source
from bench_core.devices import peak_memory_gib, reset_peak_memory
from bench_core.errors import StoreError
from bench_core.seeds import stream, stream_seed
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.epoch_log import epoch_line
from bench_core.training.optimizers import make_optimizer, rate_factor
from bench_core.training.state import Training

OnEpoch = Callable[[int, int, Mapping[str, Any]], None]


@dataclass
class Turn:
    """A player with its optimisers: one for each group with a recipe of its own, the first for all others."""

    player: Player
    optimizers: Sequence[tuple[Recipe, torch.optim.Optimizer]]

    def play(self, objective: Objective, views: Any, autocast: torch.autocast) -> Loss:
        """The player's steps on one batch; only its own parameters get a gradient and move."""
        for _ in range(self.player.steps):
            with autocast:
                loss: Loss = objective(views, self.player.name)
            for _, optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss.total, inputs=[p for p in self.player.parameters if p.requires_grad])
            for _, optimizer in self.optimizers:
                optimizer.step()
        return loss

    def set_rate(self, step: int, num_steps: int, steps_per_epoch: int) -> None:
        """The rate of this step."""
        for recipe, optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * rate_factor(recipe, step, num_steps, steps_per_epoch)


def pretrain(
    objective: Objective,
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    precision: str,
    log: Path,
    on_epoch: OnEpoch = lambda epoch, num_epochs, line: None,
    checkpoints: Checkpoints | None = None,
) -> dict[str, Any]:
    """Train a method in place.

    Args:
        objective: On the device, freshly initialised.
        source: The train split.
        recipe: How it is trained.
        seed: Of the chain; the streams `shuffle`, `passes`, `views` and `dropout` come from it. All methods see the
            data in the same order; their views are drawn from the same stream, but each draws as much as it needs.
        device: Of the objective.
        precision: "fp32" or "bf16" (autocast).
        log: JSON lines, one an epoch: mean of each part of the loss, images/s, peak memory; written at the end.
        on_epoch: Called with epochs done, epochs in all and the line of the log.
        checkpoints: Where it goes on from if it was stopped, and saves where it stands; None keeps nothing.

    Returns:
        Steps, seconds, images/s and peak memory of the whole run, and the `warnings` of its last epoch.

    Raises:
        TrainingError: A loss was not finite; says at which step, and its parts.
        StoreError: The newest checkpoint is of another method.
        Stopped: The process was told to stop, and where the training stands is saved.
    """
    turns = [_turn(player, recipe) for player in objective.players()]
    num_epochs = recipe.epochs if turns else 0
    steps_per_epoch = max(1, len(source) // recipe.batch_size)
    num_steps = num_epochs * steps_per_epoch
    shuffle, views_rng = stream(seed, "shuffle"), stream(seed, "views", device=device)
    order = stream(seed, "passes")
    passes = _passes(objective, source, recipe, order)
    generators = {"shuffle": shuffle, "views": views_rng, "passes": order}
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    reset_peak_memory(device)
    training = Training(objective, [own for turn in turns for _, own in turn.optimizers], generators, device)
    with torch.random.fork_rng(_cuda_indices(device)), training.telling():
        torch.manual_seed(stream_seed(seed, "dropout"))
        if checkpoints and (state := checkpoints.latest()):
            try:
                training.resume(state)
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise StoreError(
                    f"the checkpoints in {checkpoints.folder} do not fit this method; was its code changed? Delete "
                    "that folder and run again."
                ) from error
        at = training.at
        while at.epoch < num_epochs:
            context = EpochContext(at.epoch, num_epochs, at.step, num_steps, passes, views_rng)
            objective.train()
            if at.batch == 0:
                at.begin_epoch(shuffle)
                at.notes |= objective.before_epoch(context)
            batches = source.batches(
                recipe.batch_size, rng=shuffle, drop_last=True, labels=objective.uses_labels, skip=at.batch
            )
            for batch in batches:
                at.notes |= objective.before_step(replace(context, step=at.step))
                for turn in turns:
                    turn.set_rate(at.step, num_steps, steps_per_epoch)
                at.end_step(_step(objective, turns, batch, views_rng, autocast))
                if checkpoints and at.batch < steps_per_epoch and checkpoints.due(epoch_ends=False):
                    checkpoints.save(at.step, training.state())
            line = epoch_line(at.losses, at.step)
            images, seconds = at.batch * min(recipe.batch_size, len(source)), at.epoch_seconds()
            line |= {
                "epoch": at.epoch + 1,
                "seconds": round(seconds, 4),
                "images_per_s": round(images / seconds, 1),
                "learning_rate": turns[0].optimizers[0][1].param_groups[0]["lr"],
                "peak_memory_gib": peak_memory_gib(device),
                **at.notes,
            }
            at.end_epoch(line)
            on_epoch(at.epoch, num_epochs, line)
            if checkpoints and checkpoints.due(epoch_ends=True):
                checkpoints.save(at.step, training.state())
        lines = list(at.log)
        if turns:
            context = EpochContext(num_epochs, num_epochs, at.step, num_steps, passes, views_rng)
            if last := objective.after_training(context):
                lines.append({"step": at.step, "after_training": dict(last)})
    log.write_text("".join(json.dumps(line, allow_nan=True) + "\n" for line in lines), encoding="utf-8")
    seconds = at.seconds()
    return {
        "steps": at.step,
        "pretrain_s": seconds if turns else 0.0,
        "images_per_s": at.step * min(recipe.batch_size, len(source)) / seconds if at.step else None,
        "peak_memory_gib": peak_memory_gib(device),
        "warnings": at.log[-1].get("warnings", []) if at.log else [],
    }


def _turn(player: Player, recipe: Recipe) -> Turn:
    own = build(Recipe, dict(player.recipe), f"player {player.name}", base=recipe)
    apart = {id(p) for group in player.groups for p in group.parameters}
    parts = [(own, [p for p in player.parameters if id(p) not in apart])]
    parts += [
        (build(Recipe, dict(g.recipe), f"player {player.name}", base=own), list(g.parameters)) for g in player.groups
    ]
    return Turn(player, [(recipe, make_optimizer(parameters, recipe)) for recipe, parameters in parts if parameters])


def _step(
    objective: Objective, turns: Sequence[Turn], batch: Batch, rng: torch.Generator, autocast: torch.autocast
) -> dict[str, Loss]:
    """All players take their turn on one batch; their losses come back detached, on the device."""
    views = objective.make_views(batch, rng)
    losses = {turn.player.name: _detached(turn.play(objective, views, autocast)) for turn in turns}
    objective.after_step()
    return losses


def _detached(loss: Loss) -> Loss:
    return replace(loss, total=loss.total.detach(), parts={k: v.detach() for k, v in loss.parts.items()})


def _passes(objective: Objective, source: Source, recipe: Recipe, order: torch.Generator) -> Callable[[], Any]:
    """In random order: files often lie sorted by class, and batch norm in train mode must not see one at a time."""
    return lambda: source.batches(recipe.batch_size, rng=order, labels=objective.uses_labels)


def _cuda_indices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
