"""The line that an epoch leaves in a training's log."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench_core.contracts import Loss
from bench_core.errors import TrainingError


def epoch_line(losses: Sequence[Mapping[str, Loss]], step: int) -> dict[str, Any]:
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
