"""State of a training: all that a checkpoint holds, so that a resumed training ends with the bits of one not stopped.

`Counters` says how far a training is; `TrainingState` adds the method, its optimisers and its random generators.
"""

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
from bench_core.store.fields import Test, field_errors, is_count, is_mapping, is_number
from bench_core.store.record_schema import is_all_sources, is_sources
from bench_core.training.epoch_log import stack_losses, unstack_losses
from bench_core.training.kept_weights import KeptWeights, is_kept

_LOG_LINES_IN_ERROR = 5


@dataclass
class Counters:
    """Counters and logs of a running training.

    Attributes:
        epoch: Whole epochs done.
        batch: Batches done in the current epoch.
        step: Batches done since the beginning.
        stage: Name of the current stage.
        stage_begin: Whole epochs done before the current stage.
        shuffle: State that the generator of the data's order had before it drew the order of the current epoch.
        notes: Numbers that the method's hooks returned in the current epoch, for its line of the log.
        losses: One mapping for each batch of the current epoch, from a player's name to its loss.
        log: One line for each epoch done.
        resumed: How often the training was stopped and resumed.
        earlier_sources: Other code that trained before a resumption: part ("method") -> digest, for each version once.
        seconds_before: Seconds that the training took in processes before this one.
        epoch_seconds_before: Seconds that the current epoch took in processes before this one.
        started: Clock when this process began to train.
        epoch_started: Clock when this process began with the current epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    stage: str = "main"
    stage_begin: int = 0
    shuffle: Tensor | None = None
    notes: dict[str, float] = field(default_factory=dict)
    losses: list[Mapping[str, Loss]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    resumed: int = 0
    earlier_sources: list[dict[str, str]] = field(default_factory=list)
    seconds_before: float = 0.0
    epoch_seconds_before: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    epoch_started: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Return the seconds that the whole training took until now, in all its processes."""
        return self.seconds_before + time.perf_counter() - self.started

    def epoch_seconds(self) -> float:
        """Return the seconds that the current epoch took until now, in all its processes."""
        return self.epoch_seconds_before + time.perf_counter() - self.epoch_started

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Leave the seconds of a block out of those of the training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.started += time.perf_counter() - began

    def begin_epoch(self, shuffle: torch.Generator) -> None:
        """Start a new epoch; call it before the order of the epoch's batches is drawn from `shuffle`."""
        self.shuffle = shuffle.get_state()
        self.notes = {}
        self.losses = []
        self.epoch_seconds_before = 0.0
        self.epoch_started = time.perf_counter()

    def end_step(self, losses: Mapping[str, Loss]) -> None:
        """Count a batch and keep its losses, by player."""
        self.losses.append(losses)
        self.batch += 1
        self.step += 1

    def end_epoch(self, line: dict[str, Any]) -> None:
        """Count an epoch and add its line to the log."""
        self.log.append(line)
        self.epoch += 1
        self.batch = 0


@dataclass
class TrainingState:
    """A method in training with its optimisers, generators and counters.

    Attributes:
        objective: The method.
        optimizers: For each stage by name, all optimisers of its players, in the same order in every process.
        generators: Random generators by name; "shuffle" draws the order of the data.
        device: Device of the method.
        counters: How far the training is.
        sources: Part of the training ("method") -> digest of its code, as far as it is known.
        kept: The weights of the least loss, for a method that keeps them (`Objective.keeps`), else None.
    """

    objective: nn.Module
    optimizers: Mapping[str, Sequence[Optimizer]]
    generators: Mapping[str, torch.Generator]
    device: torch.device
    counters: Counters = field(default_factory=Counters)
    sources: Mapping[str, str] = field(default_factory=dict)
    kept: KeptWeights | None = None

    def begin_stage(self, name: str) -> None:
        """Enter a stage unless the training is in it already, at its beginning or resumed within it."""
        if name != self.counters.stage:
            self.counters.stage, self.counters.stage_begin = name, self.counters.epoch
            self.kept = self.kept.anew() if self.kept else None

    def stage_is_over(self, num_epochs: int) -> bool:
        """Return True if the current stage has had its number of epochs, or ends early because its loss stays."""
        epoch, begin = self.counters.epoch, self.counters.stage_begin
        return epoch - begin >= num_epochs or (self.kept is not None and self.kept.is_out_of_patience(epoch))

    @contextmanager
    def log_on_failure(self) -> Iterator[None]:
        """Add the last lines of the log as notes to an error that is raised in the block."""
        try:
            yield
        except Exception as error:
            for line in self.counters.log[-_LOG_LINES_IN_ERROR:]:
                error.add_note(f"log: {json.dumps(line)}")
            raise

    def state_dict(self) -> dict[str, Any]:
        """Return everything that `load_state_dict` needs, as `Checkpoints.save` takes it.

        A method of one stage that keeps its last weights has neither `stage` nor `kept`.
        """
        counters = self.counters
        generators = {name: generator.get_state() for name, generator in self.generators.items()}
        if counters.batch and counters.shuffle is not None:
            generators["shuffle"] = counters.shuffle  # resuming within an epoch draws its order once more
        state: dict[str, Any] = {
            "objective": self.objective.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers[counters.stage]],
            "generators": generators,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "counts": [counters.epoch, counters.batch, counters.step],
            "notes": counters.notes,
            "losses": _losses_to_plain(counters.losses) if counters.batch else {},
            "log": counters.log,
            "seconds": [counters.seconds(), counters.epoch_seconds()],
            "sources": dict(self.sources),
            "resumed": counters.resumed,
            "earlier_sources": counters.earlier_sources,
        }
        if len(self.optimizers) > 1:
            state["stage"] = [counters.stage, counters.stage_begin]
        if self.kept:
            state["kept"] = self.kept.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned, in this process or in an earlier one.

        Raises:
            ValueError: A field is missing or odd; nothing was changed.
        """
        errors = [*field_errors(state, "", _STATE), *field_errors(state, "", _STATE_OPTIONAL, optional=True)]
        if errors:
            raise ValueError(errors[0])
        stage, stage_begin = state.get("stage") or (next(iter(self.optimizers)), 0)
        if stage not in self.optimizers:
            raise ValueError(f"the method has no stage {stage!r}")
        losses = _losses_from_plain(state["losses"], self.device)
        self.objective.load_state_dict(state["objective"])
        for optimizer, optimizer_state in zip(self.optimizers[stage], state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
            _restore_memory_layout(optimizer)
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)
        epoch, batch, step = state["counts"]
        seconds_before, epoch_seconds_before = state["seconds"]
        self.counters = Counters(
            epoch=epoch,
            batch=batch,
            step=step,
            stage=stage,
            stage_begin=stage_begin,
            shuffle=self.generators["shuffle"].get_state(),
            notes=dict(state["notes"]),
            losses=losses,
            log=list(state["log"]),
            resumed=(state.get("resumed") or 0) + 1,  # a checkpoint of older code does not count
            earlier_sources=_other_sources(state, self.sources),
            seconds_before=seconds_before,
            epoch_seconds_before=epoch_seconds_before,
        )
        if self.kept and (kept := state.get("kept")):
            self.kept.load_state_dict(kept)


def _are(test: Test, number: int | None = None) -> Test:
    """Return the test for a list of so many such values; of any number by default."""
    return lambda value: isinstance(value, list) and len(value) == (number or len(value)) and all(map(test, value))


def _is_stage(value: Any) -> bool:
    """Return whether this is the name of a stage and a number of epochs."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and is_count(value[1])


_STATE: dict[str, Test] = {
    "objective": is_mapping, "optimizers": _are(is_mapping), "generators": is_mapping, "counts": _are(is_count, 3),
    "notes": is_mapping, "losses": is_mapping, "log": _are(is_mapping), "seconds": _are(is_number, 2),
}  # fmt: skip
_STATE_OPTIONAL: dict[str, Test] = {  # older checkpoints lack them, and others that need no `stage` or `kept`
    "sources": is_sources, "resumed": is_count, "earlier_sources": is_all_sources,
    "stage": _is_stage, "kept": is_kept,
}  # fmt: skip


def _other_sources(state: Mapping[str, Any], sources: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the code that has trained up to a state, each version once, without `sources`, the code that goes on."""
    versions: list[dict[str, str]] = []
    for version in (*(state.get("earlier_sources") or []), state.get("sources")):
        if version and version != sources and version not in versions:
            versions.append(version)
    return versions


def _restore_memory_layout(optimizer: Optimizer) -> None:
    """Give the optimiser's moments the strides of their parameters.

    A loaded moment is contiguous, its parameter may be channels last. Sums in another order would end in other last
    bits.
    """
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)


def _losses_to_plain(losses: Sequence[Mapping[str, Loss]]) -> dict[str, dict[str, Any]]:
    """Return losses of several steps as dicts and lists that a checkpoint can hold."""
    return {
        player: {
            "total": loss.total,
            "parts": dict(loss.parts),
            "ceilings": dict(loss.ceilings),
            "floors": dict(loss.floors),
            "warnings": list(loss.warnings),
            "hints": dict(loss.hints),
        }
        for player, loss in stack_losses(losses).items()
    }


def _losses_from_plain(plain: Mapping[str, Mapping[str, Any]], device: torch.device) -> list[Mapping[str, Loss]]:
    """Return the losses that `_losses_to_plain` was given, on the device."""
    stacked = {}
    for player, fields in plain.items():
        parts = {name: values.to(device) for name, values in fields["parts"].items()}
        total = fields["total"].to(device)
        hints = fields.get("hints", {})  # checkpoints of earlier versions have none
        stacked[player] = Loss(total, parts, fields["ceilings"], fields["floors"], fields["warnings"], hints)
    return unstack_losses(stacked)
