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

from bench_core import BenchError, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream
from bench_core.data import open_split
from bench_core.evaluation.classification import constant_accuracy, top_accuracy, why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.linear_probe import fit_probe, standardise

_BATCH = 512  # eval mode: the size changes no number beyond rounding


@dataclass(frozen=True, kw_only=True)
class LayersConfig:
    """The probe is that of `linear` with a shorter grid."""

    max_features: int = param(
        256, "of a map after averaging, C * s * s; more where C is larger", "ours: seconds on a CPU; SeLa about 9600"
    )
    grid: tuple[float, ...] = param(
        (1e-1, 1e-2, 1e-3), "penalties to choose from", "ours: as linear, less the weakest, which cost most"
    )
    validation_fraction: float = param(0.1, "part of each training class on which the penalty is chosen", "as linear")
    max_iterations: int = param(1000, "L-BFGS steps of one fit at most", "as linear")

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("max_features", "max_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not self.grid or min(self.grid) <= 0:
            raise ValueError(f"penalties must be > 0, got {self.grid}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be in (0, 1), got {self.validation_fraction}")


class Layers(Evaluator):
    """Test accuracy of a linear probe on each layer, and on the layer that training items choose."""

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
