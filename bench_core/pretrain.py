"""The training loop: one for every method."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from bench_core.config import build
from bench_core.contracts import Batch, EpochContext, Loss, Objective, Player, Recipe
from bench_core.data import Source
from bench_core.errors import TrainingError
from bench_core.memory import peak_memory_gib, reset_peak_memory
from bench_core.optim import make_optimizer, rate_factor
from bench_core.seeds import stream, stream_seed

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
        log: JSON lines, one an epoch: mean of each part of the loss, images/s, peak memory.
        on_epoch: Called with epochs done, epochs in all and the line of the log.

    Returns:
        Steps, seconds, images/s and peak memory of the whole run, and the `warnings` of its last epoch.

    Raises:
        TrainingError: A loss was not finite; says at which step, and its parts.
    """
    turns = [_turn(player, recipe) for player in objective.players()]
    num_epochs = recipe.epochs if turns else 0
    steps_per_epoch = max(1, len(source) // recipe.batch_size)
    num_steps = num_epochs * steps_per_epoch
    shuffle, views_rng = stream(seed, "shuffle"), stream(seed, "views", device=device)
    passes = _passes(objective, source, recipe, stream(seed, "passes"))
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    reset_peak_memory(device)
    started, step, line = time.perf_counter(), 0, dict[str, Any]()
    with torch.random.fork_rng(_cuda_indices(device)), log.open("w", encoding="utf-8") as lines:
        torch.manual_seed(stream_seed(seed, "dropout"))
        for epoch in range(num_epochs):
            context = EpochContext(epoch, num_epochs, step, num_steps, passes, views_rng)
            objective.train()
            tick = time.perf_counter()
            notes = dict(objective.before_epoch(context))
            losses: list[Mapping[str, Loss]] = []
            batches = source.batches(recipe.batch_size, rng=shuffle, drop_last=True, labels=objective.uses_labels)
            for batch in batches:
                notes |= objective.before_step(replace(context, step=step))
                for turn in turns:
                    turn.set_rate(step, num_steps, steps_per_epoch)
                losses.append(_step(objective, turns, batch, views_rng, autocast))
                step += 1
            line = _line(losses, step)
            seconds = time.perf_counter() - tick
            images = len(losses) * min(recipe.batch_size, len(source))
            line |= {
                "epoch": epoch + 1,
                "seconds": round(seconds, 4),
                "images_per_s": round(images / seconds, 1),
                "learning_rate": turns[0].optimizers[0][1].param_groups[0]["lr"],
                "peak_memory_gib": peak_memory_gib(device),
                **notes,
            }
            _write(lines, line)
            on_epoch(epoch + 1, num_epochs, line)
        if turns:
            context = EpochContext(num_epochs, num_epochs, step, num_steps, passes, views_rng)
            if last := objective.after_training(context):
                _write(lines, {"step": step, "after_training": dict(last)})
    seconds = time.perf_counter() - started
    return {
        "steps": step,
        "pretrain_s": seconds if turns else 0.0,
        "images_per_s": step * min(recipe.batch_size, len(source)) / seconds if step else None,
        "peak_memory_gib": peak_memory_gib(device),
        "warnings": line.get("warnings", []),
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


def _line(losses: Sequence[Mapping[str, Loss]], step: int) -> dict[str, Any]:
    """Means over an epoch: `loss`, summed over players, and parts; where players are several, each under its name."""
    line: dict[str, Any] = {"step": step, "loss": 0.0}
    warnings: list[str] = []
    for player, last in losses[-1].items():
        prefix = "" if len(losses[-1]) == 1 else f"{player}."
        totals = torch.stack([entry[player].total.float() for entry in losses]).cpu()
        if not totals.isfinite().all():
            first = int((~totals.isfinite()).nonzero()[0])
            parts = {k: float(v) for k, v in losses[first][player].parts.items()}
            where = step - len(losses) + first
            raise TrainingError(f"the loss of {player} is {float(totals[first])} at step {where}; its parts: {parts}")
        line["loss"] += float(totals.mean())
        if prefix:
            line[f"{prefix}loss"] = float(totals.mean())
        for part in last.parts:
            line[prefix + part] = _mean([entry[player].parts[part] for entry in losses])
        warnings += last.warnings
        for part, ceiling in last.ceilings.items():
            if not line[prefix + part] <= ceiling * (1 + 1e-4) + 1e-4:  # nor where it is no number
                line[f"{prefix}{part}_above_ceiling"] = ceiling
                warnings.append(
                    f"{prefix}{part} {line[prefix + part]:.4g} is above its ceiling {ceiling:.4g}: a defect"
                )
        for part, floor in last.floors.items():
            if not line[prefix + part] >= floor:
                line[f"{prefix}{part}_below_floor"] = floor
                found = f"{prefix}{part} {line[prefix + part]:.4g}"
                warnings.append(f"{found} is below {floor:.4g}: collapsed, or not off its start yet")
    if warnings:
        line["warnings"] = warnings
    return line


def _mean(values: Sequence[Tensor]) -> float:
    return float(torch.stack([value.float() for value in values]).mean())


def _passes(objective: Objective, source: Source, recipe: Recipe, order: torch.Generator) -> Callable[[], Any]:
    """In random order: files often lie sorted by class, and batch norm in train mode must not see one at a time."""
    return lambda: source.batches(recipe.batch_size, rng=order, labels=objective.uses_labels)


def _write(lines: TextIO, line: Mapping[str, Any]) -> None:
    lines.write(json.dumps(line, allow_nan=True) + "\n")
    lines.flush()


def _cuda_indices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
