"""The training loop: one for every method."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench_core.contracts import Batch, EpochContext, Objective, Recipe
from bench_core.data import Source
from bench_core.devices import peak_memory_gib, reset_peak_memory
from bench_core.files import write_bytes
from bench_core.seeds import stream, stream_seed
from bench_core.training.autosave import make_autosave
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.distributed import alone, shared_rows
from bench_core.training.epoch_log import epoch_line, stack_losses
from bench_core.training.kept_weights import make_kept_weights
from bench_core.training.players import PlayerOptimizers, train_step
from bench_core.training.rank_autosave import RankAutosave
from bench_core.training.rank_group import RankGroup
from bench_core.training.stages import make_stages
from bench_core.training.state import Counters, TrainingState

OnEpoch = Callable[[int, int, Mapping[str, Any]], None]
AlongTheWay = Callable[[Objective, int], Mapping[str, Any]]


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
    along: AlongTheWay = lambda objective, epoch: {},
    on_first_step: Callable[[], None] = lambda: None,
    checkpoints: Checkpoints | None = None,
    ranks: RankGroup | None = None,
) -> dict[str, Any]:
    """Train a method in place.

    Args:
        objective: The method, on the device, freshly initialised.
        source: The train split.
        recipe: Optimiser, learning rate, epochs and batch size of the training.
        seed: Seed of the chain; the streams `shuffle`, `passes`, `views` and `dropout` come from it. All methods see
            the data in the same order. Their views are drawn from the same stream, but each method draws as much as it
            needs.
        device: Device of the objective.
        precision: "fp32" or "bf16" (autocast).
        log: File that is written at the end: one JSON line for each epoch with the mean of each part of the loss,
            images/s and peak memory; the stage where there are several; and the epoch whose weights are kept so far,
            where a method keeps those of the least loss.
        on_epoch: Called after each epoch with the epochs done, the epochs in all, and the epoch's line of the log.
        along: Called after each epoch with the method and the epochs done; what it returns is added to the epoch's
            line. It leaves the method and all random streams as they are, and its time is not the training's.
        on_first_step: Called once, after the first step that this process makes: what it takes of a device is then
            known.
        checkpoints: Where the training resumes from and saves to; None saves nothing.
        ranks: Processes that train this method together, each of which calls this function with the same arguments;
            rank 0 alone reads checkpoints and writes them and the log. None trains in this process alone.

    Returns:
        Steps, seconds, images/s and peak memory of the whole training, the `warnings` of its last epoch, how often it
        was `resumed`, the `earlier_sources`: digests of other code that took part before a resumption, the
        `epochs_trained`, and the `kept_epoch`: the one whose weights the training ended with, counted from 1, None
        where they are those of the last step.

    Raises:
        CheckError: The stages of the method contradict each other, or its `keeps` or `patience` does not exist.
        RequestError: There are fewer epochs than stages.
        TrainingError: A loss is not finite; the message holds its step and its parts.
        StoreError: The newest checkpoint does not fit this method, for example because its code changed.
        Stopped: A stop was requested; the training is saved as a checkpoint.
        LeaderStoppedError: In other ranks than 0, where rank 0 stops.
    """
    # ---------------------------------------------------------------------------------------------------- set-up
    stages = make_stages(objective, recipe)
    trains_anything = any(stage.trainers for stage in stages)
    num_epochs = sum(stage.num_epochs for stage in stages)
    images_per_step = source.step_items(recipe.batch_size)
    steps_per_epoch = max(1, len(source) // max(1, images_per_step))
    num_steps = num_epochs * steps_per_epoch

    shuffle_rng = stream(seed, "shuffle")
    views_rng = stream(seed, "views", device=device)
    passes_rng = stream(seed, "passes")
    generators = {"shuffle": shuffle_rng, "views": views_rng, "passes": passes_rng}
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    training = TrainingState(
        objective,
        {stage.name: stage.optimizers for stage in stages},
        generators,
        device,
        Counters(stage=stages[0].name),
        sources=checkpoints.sources if checkpoints else {},
        kept=make_kept_weights(objective),
    )
    leads = ranks is None or ranks.leads
    autosave = make_autosave(checkpoints if leads else None, training, steps_per_epoch)
    if ranks:
        autosave = RankAutosave(autosave, training, ranks)
    batches_of = partial(
        source.batches, recipe.batch_size, labels=objective.uses_labels, factors=objective.uses_factors
    )

    def pass_over_data() -> Iterator[Batch]:
        # In random order: files often lie sorted by class, and batch norm in train mode must not see one at a time.
        return batches_of(rng=passes_rng)

    def context() -> EpochContext:
        counters = training.counters
        return EpochContext(
            counters.epoch, num_epochs, counters.step, num_steps, pass_over_data, views_rng, counters.stage
        )

    reset_peak_memory(device)
    with torch.random.fork_rng(_cuda_indices(device)), training.log_on_failure(), shared_rows(objective, ranks):
        torch.manual_seed(stream_seed(seed, "dropout"))
        autosave.resume()
        counters = training.counters
        resumed_at = counters.step
        if checkpoints and counters.step and leads:
            checkpoints.warn(f"resumes at epoch {counters.epoch} of {num_epochs}")

        # --------------------------------------------------------------------------------------------------- loop
        names = [stage.name for stage in stages]
        for stage in stages[names.index(counters.stage) :]:
            training.begin_stage(stage.name)
            objective.begin_stage(context())
            first_step, stage_steps = counters.stage_begin * steps_per_epoch, stage.num_epochs * steps_per_epoch
            while not training.stage_is_over(stage.num_epochs):
                objective.train()
                if counters.batch == 0:  # not where training was resumed within the epoch
                    counters.begin_epoch(shuffle_rng)
                    counters.notes |= objective.before_epoch(context())
                batches = batches_of(rng=shuffle_rng, drop_last=True, skip=counters.batch)
                for batch in batches:
                    counters.notes |= objective.before_step(context())
                    for trainer in stage.trainers:
                        trainer.set_learning_rates(counters.step - first_step, stage_steps, steps_per_epoch)
                    if training.kept and counters.batch == steps_per_epoch - 1:
                        training.kept.before_last_step(objective)
                    losses = train_step(objective, stage.trainers, batch, views_rng, autocast)
                    counters.end_step(losses)
                    if counters.step == resumed_at + 1:
                        on_first_step()
                    autosave.after_step()

                line = _log_line(counters, stage.trainers, images_per_step, device)
                if len(stages) > 1:
                    line["stage"] = stage.name
                if training.kept:
                    training.kept.end_epoch(line["epoch"], line["loss"])
                    line["kept_epoch"] = training.kept.epoch
                if leads:
                    with counters.left_out(), alone():
                        line |= along(objective, line["epoch"])
                counters.end_epoch(line)
                if leads:
                    on_epoch(counters.epoch, num_epochs, line)
                autosave.after_epoch()
            if training.kept:
                training.kept.restore(objective)

        # ---------------------------------------------------------------------------------------------------- end
        lines = list(counters.log)
        if trains_anything:
            results = objective.after_training(context())
            if results:
                lines.append({"step": counters.step, "after_training": dict(results)})

    if leads:
        write_bytes(log, "".join(json.dumps(line, allow_nan=True) + "\n" for line in lines).encode())
    seconds = counters.seconds()
    return {
        "steps": counters.step,
        "pretrain_s": seconds if trains_anything else 0.0,
        "images_per_s": counters.step * images_per_step / seconds if counters.step else None,
        "peak_memory_gib": peak_memory_gib(device),
        "warnings": counters.log[-1].get("warnings", []) if counters.log else [],
        "resumed": counters.resumed,
        "earlier_sources": counters.earlier_sources,
        "epochs_trained": counters.epoch,
        "kept_epoch": (training.kept.epoch or None) if training.kept else None,
    }


def _log_line(
    counters: Counters, trainers: Sequence[PlayerOptimizers], images_per_step: int, device: torch.device
) -> dict[str, Any]:
    """Return the line of the log for the epoch whose batches are all done: losses, speed, rate, memory, notes."""
    line = epoch_line(stack_losses(counters.losses), counters.step)
    seconds = counters.epoch_seconds()
    return line | {
        "epoch": counters.epoch + 1,
        "seconds": round(seconds, 4),
        "images_per_s": round(counters.batch * images_per_step / seconds, 1),
        "learning_rate": trainers[0].learning_rate(),
        "peak_memory_gib": peak_memory_gib(device),
        **counters.notes,
    }


def _cuda_indices(device: torch.device) -> list[int]:
    return [device.index or 0] if device.type == "cuda" else []
