"""Probes by layer: a linear probe on each of the encoder's maps, shallow to deep, and on its features.

Where in the network classes become linearly separable; a method may serve its own loss in the last layers and be better
in the middle. Each map is averaged over a grid as fine as `max_features` allows, and probed as `linear` probes
features.

Paper: Zhang, Isola, Efros, ECCV 2016, https://arxiv.org/abs/1603.08511 (probes by layer)
Code:  https://github.com/yukimasano/self-label (max-pool to about 9,600 features, SGD, ten crops)
Note:  here averages, a few hundred features and the optimum of the probe: the cost of a CPU, not the papers' numbers.

Shapes: N items, C channels, h x w positions, s x s cells, K classes.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Score,
    hookimpl,
    param,
    stream,
)
from bench_core.data import open_split
from bench_core.evaluation.classification import constant_accuracy, top_accuracy, why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.linear_probe import fit_probe, standardise

_BATCH = 512  # eval mode: the size changes no number beyond rounding


@dataclass(frozen=True, kw_only=True)
class LayersConfig(Config):
    """Parameters of the probes, which are those of `linear` with a shorter grid."""

    max_features: int = param(
        256,
        "maximal number of features of a map after averaging; a map of more channels keeps one feature a channel",
        "ours: seconds on a CPU; SeLa about 9600",
        ge=1,
    )
    grid: tuple[float, ...] = param(
        (1e-1, 1e-2, 1e-3),
        "penalties to choose from, per item",
        "ours: as linear, less the weakest, which cost most",
        gt=0,
    )
    validation_fraction: float = param(
        0.1, "part of each training class that is held out to choose the penalty", "as linear", gt=0, lt=1
    )
    max_iterations: int = param(1000, "maximal number of L-BFGS steps of one fit", "as linear", ge=1)

    def __post_init__(self) -> None:
        """Check ranges, and that there is a penalty to choose."""
        super().__post_init__()
        if not self.grid:
            raise ValueError("grid must have one penalty or more, got ()")


class Layers(Evaluator):
    """Linear probe on every layer of the encoder.

    Each feature map is averaged over a grid of cells and probed like the features in `linear`. The first score is the
    test accuracy of the layer that held-out training items choose; then comes the accuracy of each layer. Needs one
    class for each item, and a train and a test split.
    """

    Config = LayersConfig

    def __init__(self, config: LayersConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Single labels, train and test."""
        return why_no_classes(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Probe each layer; the layer of least held-out loss gives the first score.

        Raises:
            BenchError: Two layers would have one name among the scores.
        """
        config = self.config
        _, train_labels = labelled(frozen, "train", "features")
        _, labels = labelled(frozen, "test", "features")
        num_classes = frozen.data.num_classes or int(train_labels.max()) + 1
        trains, tests = self._layers(frozen, "train"), self._layers(frozen, "test")
        accuracy, loss, notes = {}, {}, []
        for name in trains:
            train, test = standardise(trains[name], tests[name])
            probe = fit_probe(
                train, train_labels, num_classes, stream(frozen.seed, "layers", "validation"), frozen.device,
                grid=config.grid, validation_fraction=config.validation_fraction, max_iterations=config.max_iterations,
            )  # fmt: skip
            accuracy[name] = top_accuracy(probe.fit.logits(test), labels)
            loss[name] = probe.held_out_loss
            state = "" if probe.fit.converged else ", NOT converged"
            notes.append(f"{name}: {train.shape[1]:,} features, {probe.note}{state}")
        chosen = min(loss, key=lambda name: loss[name])
        chance = constant_accuracy(train_labels, labels, num_classes)
        values = {"top1": accuracy[chosen]} | {f"top1_{_snake(name)}": value for name, value in accuracy.items()}
        return Evaluation(
            scores=[
                Score(metric=metric, value=value, chance=chance, n=len(labels)) for metric, value in values.items()
            ],
            protocol=(
                f"test split; each of the encoder's maps averaged over the finest s x s grid of at most "
                f"{config.max_features:,} features, and the features as they are; standardised on train; logistic "
                f"regression to its optimum, {probe.protocol}; top1: of the layer of least such loss; "
                "chance: always the most frequent training class"
            ),
            notes=[f"top1 is that of {chosen}, chosen on held-out training items", *notes],
            curves={"layers": {"depth": list(range(len(accuracy))), "top1": list(accuracy.values())}},
        )

    @torch.inference_mode()
    def _layers(self, frozen: Frozen, split: str) -> dict[str, Tensor]:
        """Layer -> (N, C * s * s) float32 on the CPU, shallow to deep, `features` last."""
        encoder = frozen.method().encoder
        found: dict[str, list[Tensor]] = {}
        for batch in open_split(frozen.inputs(split), frozen.device).batches(_BATCH):
            for name, values in encoder.maps(batch.inputs).items():
                found.setdefault(name, []).append(pooled(values, self.config.max_features).cpu())
        _check_names([*found, "features"])
        layers = {name: torch.cat(parts).clone() for name, parts in found.items()}
        return layers | {"features": labelled(frozen, split, "features")[0]}


def pooled(values: Tensor, max_features: int) -> Tensor:
    """Means over a grid of s x s cells, s as large as `max_features` and the map allow, at least 1.

    Args:
        values: (N, C, h, w).
        max_features: C * s * s is at most this, or C.

    Returns:
        (N, C * s * s); for a map that is not square C times as many cells as it has along each side, at most s.
    """
    _, channels, height, width = values.shape
    cells = max(1, math.isqrt(max_features // channels))
    return F.adaptive_avg_pool2d(values, (min(cells, height), min(cells, width))).flatten(1)


def _check_names(layers: Sequence[str]) -> None:
    """A map that shares its score's name with another, or with the features, would hide one of them."""
    for one, other in itertools.combinations(layers, 2):
        if _snake(one) == _snake(other):
            raise BenchError(
                f"the layers {one!r} and {other!r} of this encoder have one name among the scores, "
                f"top1_{_snake(one)}; its `maps` must differ in letters or digits, from 'features', too."
            )


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"layers": Layers}
