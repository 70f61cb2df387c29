"""Losses of an epoch, and the line that they leave in the log of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench_core.contracts import Loss
from bench_core.errors import TrainingError


def stack_losses(losses: Sequence[Mapping[str, Loss]]) -> dict[str, Loss]:
    """Stack the losses of several steps into one Loss for each player.

    Args:
        losses: One mapping for each of S >= 1 steps, from a player's name to its loss.

    Returns:
        Player's name -> Loss whose `total` and `parts` are tensors of shape (S,), still on the device. The names of its
        parts, its bounds and its warnings are those of the last step.
    """
    stacked = {}
    for player, last in losses[-1].items():
        total = torch.stack([step[player].total for step in losses])
        parts = {name: torch.stack([step[player].parts[name] for step in losses]) for name in last.parts}
        stacked[player] = Loss(total, parts, last.ceilings, last.floors, last.warnings, last.hints)
    return stacked


def unstack_losses(stacked: Mapping[str, Loss]) -> list[Mapping[str, Loss]]:
    """Split what `stack_losses` returned into the losses of each step again."""
    num_steps = len(next(iter(stacked.values())).total) if stacked else 0
    losses: list[Mapping[str, Loss]] = []
    for k in range(num_steps):
        step = {}
        for player, loss in stacked.items():
            parts = {name: values[k] for name, values in loss.parts.items()}
            step[player] = Loss(loss.total[k], parts, loss.ceilings, loss.floors, loss.warnings, loss.hints)
        losses.append(step)
    return losses


def epoch_line(stacked: Mapping[str, Loss], step: int) -> dict[str, Any]:
    """Return the log line of an epoch: the mean of the loss and of each of its parts.

    Example: `{"step": 90, "loss": 5.1, "contrast": 5.0}`. Where a method has several players, `loss` is their sum and
    each number of a player has its name before it: `generator.loss`.

    Args:
        stacked: Losses of all steps of the epoch, from `stack_losses`. Here the host waits for the GPU.
        step: Steps done since the beginning of the training.

    Raises:
        TrainingError: The loss of a step is not finite.
    """
    line: dict[str, Any] = {"step": step, "loss": 0.0}
    warnings: list[str] = []
    for player, loss in stacked.items():
        prefix = "" if len(stacked) == 1 else f"{player}."
        totals = loss.total.float().cpu()
        _refuse_non_finite(player, totals, loss.parts, step)
        line["loss"] += float(totals.mean())
        if prefix:
            line[f"{prefix}loss"] = float(totals.mean())
        for part, values in loss.parts.items():
            line[prefix + part] = float(values.float().mean())
        warnings += loss.warnings
        warnings += _check_bounds(line, prefix, loss)
    if warnings:
        line["warnings"] = warnings
    return line


def _refuse_non_finite(player: str, totals: Tensor, parts: Mapping[str, Tensor], step: int) -> None:
    """Raise TrainingError for the first step of an epoch whose loss is not finite; (S,) totals on the CPU."""
    bad_steps = (~totals.isfinite()).nonzero()
    if len(bad_steps) == 0:
        return
    first = int(bad_steps[0])
    values = {name: float(part[first]) for name, part in parts.items()}
    raise TrainingError(
        f"the loss of {player} is {float(totals[first])} at step {step - len(totals) + first}; its parts: {values}"
    )


def _check_bounds(line: dict[str, Any], prefix: str, loss: Loss) -> list[str]:
    """Mark in the line each part that is beyond a bound of its loss, and return a warning for each.

    The comparisons are written so that NaN is beyond every bound.
    """

    def hint(part: str) -> str:
        return f"; {loss.hints[part]}" if part in loss.hints else ""

    warnings = []
    for part, ceiling in loss.ceilings.items():
        mean = line[prefix + part]
        if not mean <= ceiling * (1 + 1e-4) + 1e-4:
            line[f"{prefix}{part}_above_ceiling"] = ceiling
            warnings.append(f"{prefix}{part} {mean:.4g} is above its ceiling {ceiling:.4g}: a defect{hint(part)}")
    for part, floor in loss.floors.items():
        mean = line[prefix + part]
        if not mean >= floor:
            line[f"{prefix}{part}_below_floor"] = floor
            what = "collapsed, or not off its start yet"
            warnings.append(f"{prefix}{part} {mean:.4g} is below {floor:.4g}: {what}{hint(part)}")
    return warnings
