"""Trials before a training: does the encoder give what it declares, and does a method learn from batches of some size.

They change no number of the training: the encoder is called in eval mode, and a method is built anew for its trial.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from bench_core.contracts import DataSpec, Encoder, EpochContext, Objective, Recipe, Split, StoredFeatures
from bench_core.contracts.encoder import features_fault
from bench_core.data import open_split, take
from bench_core.data.made import made_split
from bench_core.errors import CheckError, one_line
from bench_core.training.players import train_step
from bench_core.training.stages import TrainedStage, make_stages

_ERROR_LENGTH = 200  # characters of an error's text in a message
_BATCHES = 8  # batches of made data that a method sees in `before_epoch`


@torch.no_grad()
def refuse_wrong_features(encoder: Encoder, name: str, train: Split, device: torch.device) -> None:
    """Refuse an encoder whose features are not float32 (N, dim), by giving it the first items of the train split.

    Args:
        encoder: The encoder, on the device. It runs in eval mode, and is set back to the mode that it was in.
        name: Name of the encoder.
        train: The train split.
        device: Device of the encoder.

    Raises:
        CheckError: The features have another shape or type.
    """
    if isinstance(encoder, StoredFeatures):
        return  # its features are compared with the splits when they are read
    first = take(train, torch.arange(min(2, len(train))))
    training = encoder.training
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        for batch in open_split(first, device).batches(2):
            fault = features_fault(encoder.eval()(batch.inputs), len(batch.index), encoder.dim)
            if fault:
                raise CheckError(f"encoder {name}: {fault}. Mend the encoder; `bench check {name}` repeats this check.")
    encoder.train(training)


def step_fault(build: Callable[[DataSpec], Objective], recipe: Recipe, data: DataSpec, batch_size: int) -> str | None:
    """Train a method for one step of each of its stages on made data, and say why batches of this size are too small.

    Args:
        build: Builds the method for a dataset, on the CPU.
        recipe: Recipe of the training.
        data: Gives the shape of the data and the kind of labels.
        batch_size: Number of items in the batch.

    Returns:
        The error of a step, or that its loss is not finite or has no gradient, with the stage where there are several;
        None if the method learns.
    """
    made = replace(data, splits={**data.splits, "train": _BATCHES * batch_size})
    try:
        with torch.random.fork_rng([]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the batch, such as the deviation of one item
            torch.manual_seed(0)
            objective = build(made).train()
            stages = [stage for stage in make_stages(objective, replace(recipe, epochs=0)) if stage.trainers]
            if not stages:
                return None
            source = open_split(made_split(made, made.num_train), torch.device("cpu"))
            batches = partial(source.batches, batch_size, labels=objective.uses_labels, factors=objective.uses_factors)
            rng, count = torch.Generator(), len(stages)
            for number, stage in enumerate(stages):
                context = EpochContext(number, count, number, count, batches, rng, stage.name)
                if fault := _fault_of_stage(objective, stage, context):
                    return fault if count == 1 else f"stage {stage.name}: {fault}"
    except Exception as error:
        return one_line(f"{type(error).__name__}: {error}")[:_ERROR_LENGTH]
    return None


def _fault_of_stage(objective: Objective, stage: TrainedStage, context: EpochContext) -> str | None:
    """Train a method for one step of a stage, and say why it learns nothing from it."""
    objective.begin_stage(context)
    objective.before_epoch(context)
    objective.before_step(context)
    batch = next(context.batches())
    losses = train_step(objective, stage.trainers, batch, context.rng, torch.autocast("cpu", enabled=False))
    for name, loss in losses.items():
        if not bool(loss.total.isfinite()):
            return f"the loss of {name} is {float(loss.total)}"
    gradients = [p.grad for trainer in stage.trainers for p in trainer.player.parameters if p.grad is not None]
    return None if any(bool((gradient != 0).any()) for gradient in gradients) else "its loss has no gradient"
