"""Task finetune: train a classifier from the encoder on all labels of train.

A copy of the encoder is trained with a linear head for a fixed number of steps. The learning rate is chosen from a
grid that is the same for all methods: short runs leave out a part of train, and are compared on this part. An untrained
encoder (method `random`) under the same recipe is training from scratch, which a method has to beat.

Source: the recipe is that of `bench_core.evaluation.fine_tuning`; steps, batch and grid are ours, so that a run takes
        seconds on one core.

Shapes: N items, K classes.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import take
from bench_core.evaluation.classification import class_items, class_scores, classes_skip_reason, number_of_classes
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.fine_tuning import answers, describe, fine_tune
from bench_core.evaluation.linear_probe import held_out_part
from bench_core.views import PRESET_NAMES


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Config):
    """Parameters of fine-tuning, small enough for one core; papers train for 20 to 100 epochs."""

    steps: int = param(300, "optimiser steps of the run that is scored", "ours: seconds on a CPU", ge=1)
    search_steps: int = param(60, "optimiser steps of each run that tries a learning rate", "ours: a fifth", ge=1)
    batch_size: int = param(64, "images in a step", "ours: seconds on a CPU", ge=2)
    grid: tuple[float, ...] = param(
        (0.01, 0.03, 0.1), "peak learning rates to choose from", "ours: from SwAV's .01 for the encoder up", gt=0
    )
    validation_fraction: float = param(
        0.1, "part of each training class that is held out to choose the learning rate", "ours", gt=0, lt=1
    )
    augmentation: str = param(
        "crop_flip",
        "augmentation preset of the training images",
        "SimCLR and SwAV, fine-tuning",
        choices=PRESET_NAMES,
    )

    def __post_init__(self) -> None:
        """Check ranges, and that there is a learning rate to choose."""
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid must have one learning rate or more, got ()")


class Finetune(Evaluator):
    """Accuracy after fine-tuning on all labels.

    A copy of the encoder and a linear head are trained on all training labels; the score is top-1 accuracy on the
    test split. It tells how good a start the method gives to supervised training: compare with the method `random`,
    which is training from scratch by the same recipe. Needs one class for each item, and two training items of each
    class.
    """

    Config = FinetuneConfig
    family = "classification"

    def __init__(self, config: FinetuneConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without classes, train or test split, or with fewer than two training items a class on average."""
        if reason := classes_skip_reason(data):
            return reason
        if data.num_train < 2 * (data.num_classes or 0):
            return "needs two training items of each class"
        return None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Choose the learning rate on a part of train, fine-tune on the whole split, score on test.

        Raises:
            BenchError: Training diverges at each learning rate of the grid.
        """
        config = self.config
        train, test = frozen.inputs("train"), frozen.inputs("test")
        _, train_labels = labelled_embedding(frozen, "train", "features")
        _, labels = labelled_embedding(frozen, "test", "features")
        num_classes = number_of_classes(frozen.data)
        encoder = frozen.method().encoder

        def train_copy(part: Split, steps: int, rate: float, stage: str) -> nn.Module:
            """Fine-tune a copy of the encoder on a part of train."""
            return fine_tune(
                encoder, part, frozen.data, num_classes,
                steps=steps, batch_size=config.batch_size, learning_rate=rate, augmentation=config.augmentation,
                device=frozen.device, seed=stream_seed(frozen.seed, "finetune", stage),
            )  # fmt: skip

        rng = stream(frozen.seed, "finetune", "validation")
        held_out = held_out_part(train_labels, config.validation_fraction, num_classes, rng)
        fitted, validation = (take(train, part.nonzero().squeeze(1)) for part in (~held_out, held_out))
        losses, diverged = {}, []
        for rate in config.grid:
            logits = answers(train_copy(fitted, config.search_steps, rate, "search"), validation, frozen.device)
            loss = float(F.cross_entropy(logits, train_labels[held_out]))
            if math.isfinite(loss):
                losses[rate] = loss
            else:
                diverged.append(f"rate {rate:g}: the loss is {loss} after {config.search_steps:,} steps, not chosen")
        if not losses:
            raise BenchError(f"fine-tuning diverges: {'; '.join(diverged)}. Set smaller rates: finetune.grid=[0.001].")
        chosen = min(losses, key=losses.__getitem__)
        logits = answers(train_copy(train, config.steps, chosen, "run"), test, frozen.device)
        end = " (at the end of the grid)" if chosen in (min(config.grid), max(config.grid)) else ""
        lost = int((~logits.isfinite().all(1)).sum())
        passes = config.steps * min(config.batch_size, len(train)) / len(train)
        return Evaluation(
            scores=class_scores([logits], labels, train_labels, num_classes, "features"),
            protocol=(
                f"test split; a copy of the encoder with a linear head, {config.steps:,} steps of "
                f"{min(config.batch_size, len(train))} items of train; {describe(config.augmentation, frozen.data)}; "
                f"peak rate chosen of {', '.join(f'{rate:g}' for rate in config.grid)} by the loss on "
                f"{config.validation_fraction:.0%} of each training class after {config.search_steps:,} steps without "
                "them; last step, no augmentation; chance: always the most frequent training class"
            ),
            notes=[
                f"rate {chosen:g}{end}, chosen on {len(validation):,} held-out training items",
                f"{passes:.1f} passes over {len(train):,} training items",
                *diverged,
                *([f"the training diverged: {lost:,} of {len(test):,} test items have no answer"] if lost else []),
            ],
            curves={"rates": {"rate": list(losses), "held_out_loss": list(losses.values())}},
            items=class_items([logits], labels),
        )


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"finetune": Finetune}
