"""Where a training stands: all that a checkpoint holds, so that going on gives the bits of never having stopped."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench_core.contracts import Loss

_TOLD = 5  # lines of the log that a failure takes along


@dataclass
class Standing:
    """Counters and logs of a training under way.

    Attributes:
        epoch: Whole epochs done.
        batch: Batches done of the epoch under way.
        step: Batches done in all.
        shuffle: State of the generator of the data's order before it drew that of the epoch under way.
        notes: What the hooks reported in it.
        losses: Of its batches, by player.
        log: A line for each epoch done.
        spent: Seconds until this process began; `epoch_spent` those of the epoch under way.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    shuffle: Tensor | None = None
    notes: dict[str, float] = field(default_factory=dict)
    losses: list[Mapping[str, Loss]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    spent: float = 0.0
    epoch_spent: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    epoch_started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Of the whole training."""
        return self.spent + time.perf_counter() - self.started

    def epoch_seconds(self) -> float:
        """Of the epoch under way."""
        return self.epoch_spent + time.perf_counter() - self.epoch_started

    def begin_epoch(self, shuffle: torch.Generator) -> None:
        """Before the order of its batches is drawn."""
        self.shuffle, self.notes, self.losses = shuffle.get_state(), {}, []
        self.epoch_spent, self.epoch_started = 0.0, time.perf_counter()

    def end_step(self, losses: Mapping[str, Loss]) -> None:
        """A batch is done."""
        self.losses.append(losses)
        self.batch += 1
        self.step += 1

    def end_epoch(self, line: dict[str, Any]) -> None:
        """All its batches are done."""
        self.log.append(line)
        self.epoch += 1
        self.batch = 0


@dataclass
class Training:
    """A method with its optimisers and generators, which a checkpoint holds beside the standing.

    Attributes:
        generators: By name; "shuffle" orders the data.
    """

    objective: nn.Module
    optimizers: Sequence[Optimizer]
    generators: Mapping[str, torch.Generator]
    device: torch.device
    at: Standing = field(default_factory=Standing)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What fails in here says how training went until then: its notes are the last lines of the log."""
        try:
            yield
        except Exception as error:
            for line in self.at.log[-_TOLD:]:
                error.add_note(f"log: {json.dumps(line)}")
            raise

    def state(self) -> dict[str, Any]:
        """For `Checkpoints.save`."""
        at = self.at
        states = {name: generator.get_state() for name, generator in self.generators.items()}
        if at.batch and at.shuffle is not None:
            states["shuffle"] = at.shuffle
        return {
            "objective": self.objective.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generators": states,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "counts": [at.epoch, at.batch, at.step],
            "notes": at.notes,
            "losses": _stacked(at.losses) if at.batch else {},
            "log": at.log,
            "seconds": [at.seconds(), at.epoch_seconds()],
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, here or in a process that is no more."""
        self.objective.load_state_dict(state["objective"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
            _as_parameters_lie(optimizer)
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        epoch, batch, step = state["counts"]
        spent, epoch_spent = state["seconds"]
        self.at = Standing(
            epoch, batch, step, self.generators["shuffle"].get_state(), dict(state["notes"]),
            _apart(state["losses"], batch, self.device), list(state["log"]), spent, epoch_spent,
        )  # fmt: skip


def _as_parameters_lie(optimizer: Optimizer) -> None:
    """Moments in the layout of their parameter: another order of the sums would be other last bits."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


def _stacked(losses: Sequence[Mapping[str, Loss]]) -> dict[str, dict[str, Any]]:
    """Losses of several batches, each number of each player as one tensor."""
    return {
        player: {
            "total": torch.stack([entry[player].total for entry in losses]),
            "parts": {part: torch.stack([entry[player].parts[part] for entry in losses]) for part in last.parts},
            "ceilings": dict(last.ceilings),
            "floors": dict(last.floors),
            "warnings": list(last.warnings),
        }
        for player, last in losses[-1].items()
    }


def _apart(stacked: Mapping[str, Mapping[str, Any]], batches: int, device: torch.device) -> list[Mapping[str, Loss]]:
    """The reverse of `_stacked`."""
    return [
        {
            player: Loss(
                own["total"][k].to(device),
                {part: values[k].to(device) for part, values in own["parts"].items()},
                own["ceilings"],
                own["floors"],
                own["warnings"],
            )
            for player, own in stacked.items()
        }
        for k in range(batches)
    ]
