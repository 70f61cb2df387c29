"""Task layers: a linear probe on each of the encoder's maps, shallow to deep, and on its features.

The scores tell in which layer classes become linearly separable. The last layers of a method may serve its own loss, so
that a layer in the middle has better features. Each map is averaged over a grid as fine as `max_features` allows, and
probed like the features in the task `linear`. A map of nodes is averaged over the nodes of each graph; where the items
are nodes themselves, each keeps its own values.

Paper: Zhang, Isola, Efros, ECCV 2016, https://arxiv.org/abs/1603.08511 (probes by layer)
Code:  https://github.com/yukimasano/self-label (max-pool to about 9,600 features, SGD, ten crops)
Note:  ours are averages, a few hundred features and a probe at its optimum, which a CPU can afford; the numbers are not
       comparable with the papers'.

Shapes: N items, C channels, h x w positions or L locations, s x s cells, V nodes, K classes.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from bench_core.data import NodeMap, open_split
from bench_core.evaluation.classification import classes_skip_reason, constant_accuracy, number_of_classes, top_accuracy
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.linear_probe import GRID, MAX_ITERATIONS, VALIDATION, fit_probe, scaled
from bench_core.evaluation.rows import gathered

_MAPS = {  # kind of data -> what is made of its maps
    "nodes": "the values of each node in each of the encoder's maps",
    "graphs": "each of the encoder's maps averaged over the nodes of a graph",
}
_BATCH = 512  # images at once; the size changes no number beyond rounding, as the encoder is in eval mode


@dataclass(frozen=True, kw_only=True)
class LayersConfig(Config):
    """Parameters of the probes, which are those of `linear`."""

    max_features: int = param(
        256,
        "maximal number of features of a map after averaging; a map of more channels keeps one feature a channel",
        "ours: seconds on a CPU; SeLa about 9600",
        ge=1,
    )
    grid: tuple[float, ...] = param(GRID, "penalties to choose from, per item", "as linear", gt=0)
    validation_fraction: float = param(
        VALIDATION, "part of each training class that is held out to choose the penalty", "as linear", gt=0, lt=1
    )
    max_iterations: int = param(MAX_ITERATIONS, "maximal number of L-BFGS steps of one fit", "as linear", ge=1)

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
    revision = 2  # 2: the grid of penalties is that of linear; the features count where nothing can be held out
    family = "classification"

    def __init__(self, config: LayersConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one class for each item, or without a train or test split."""
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Probe each layer; the first score is that of the layer with the least held-out loss.

        Raises:
            BenchError: Two layers would have the same metric name, or a layer has values that are not finite.
        """
        config = self.config
        _, train_labels = labelled_embedding(frozen, "train", "features")
        _, labels = labelled_embedding(frozen, "test", "features")
        num_classes = number_of_classes(frozen.data)
        train_layers, test_layers = self._layers(frozen, "train"), self._layers(frozen, "test")
        accuracy, losses, notes = {}, {}, []
        for name in train_layers:
            train, test = scaled(train_layers[name], test_layers[name], frozen.memory)
            probe = fit_probe(
                train, train_labels, num_classes, stream(frozen.seed, "layers", "validation"), frozen.device,
                grid=config.grid, validation_fraction=config.validation_fraction, max_iterations=config.max_iterations,
            )  # fmt: skip
            accuracy[name] = top_accuracy(probe.fit.logits(test), labels)
            if probe.held_out_loss is not None:
                losses[name] = probe.held_out_loss
            state = "" if probe.fit.converged else ", NOT converged"
            notes.append(f"{name}: {train.shape[1]:,} features, {probe.note}{state}")
        chosen = min(losses, key=losses.__getitem__, default="features")
        how = "chosen on held-out training items" if losses else "as no training item can be held out to choose a layer"
        chance = constant_accuracy(train_labels, labels, num_classes)
        values = {"top1": accuracy[chosen]} | {f"top1_{_snake(name)}": value for name, value in accuracy.items()}
        return Evaluation(
            scores=[
                Score(metric=metric, value=value, chance=chance, n=len(labels)) for metric, value in values.items()
            ],
            protocol=(
                f"test split; {_MAPS.get(frozen.data.kind) or self._grid(frozen.data)}, and the "
                f"features as they are; standardised on train; logistic regression to its optimum, {probe.protocol}; "
                "top1: of the layer of least such loss, of the features where nothing can be held out; "
                "chance: always the most frequent training class"
            ),
            notes=[f"top1 is that of {chosen}, {how}", *notes],
            curves={"layers": {"depth": list(range(len(accuracy))), "top1": list(accuracy.values())}},
        )

    def _grid(self, data: DataSpec) -> str:
        """Say what is made of the maps of images, and of maps with a row of locations."""
        cells = "s x s grid" if data.is_image else "row of cells"
        most = f"{self.config.max_features:,} features"
        return f"each of the encoder's maps averaged over the finest {cells} of at most {most}"

    @torch.inference_mode()
    def _layers(self, frozen: Frozen, split: str) -> dict[str, Tensor]:
        """Return layer -> averages (N, D) float32 on the CPU, shallow to deep, `features` last."""
        encoder, items = frozen.method().encoder, open_split(frozen.inputs(split), frozen.device)
        batches = (
            {
                name: averaged(name, values, batch.inputs, self.config.max_features).cpu()
                for name, values in encoder.maps(batch.inputs).items()
            }
            for batch in items.batches(_BATCH)
        )
        layers = gathered(batches, len(items))
        _check_names([*layers, "features"])
        return layers | {"features": labelled_embedding(frozen, split, "features")[0]}


def averaged(name: str, values: Any, inputs: Any, max_features: int) -> Tensor:
    """Average a map of any form to one row for each input.

    Args:
        name: Name of the map, for messages.
        values: (N, C, h, w), (N, C, L) or a NodeMap.
        inputs: What the encoder made the map of.
        max_features: As for `pooled`. Nodes have no order, so the values of a NodeMap become one average.

    Returns:
        (N, D).

    Raises:
        BenchError: The map has none of these forms.
    """
    if isinstance(values, NodeMap):
        return mean_of_nodes(values, len(inputs))
    if isinstance(values, Tensor) and values.ndim in (3, 4):
        return pooled(values, max_features)
    got = f"the shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"the type {type(values).__name__}"
    raise BenchError(
        f"the map {name!r} of this encoder has {got}; `maps` must give (N, C, h, w), (N, C, locations) or a NodeMap."
    )


def mean_of_nodes(values: NodeMap, count: int) -> Tensor:
    """Average a map over the nodes of each graph, (count, C); a graph without nodes gets 0.

    Args:
        values: Map of V nodes.
        count: Number of graphs N.
    """
    sums = values.values.new_zeros(count, values.values.shape[1]).index_add(0, values.graph, values.values)
    nodes = torch.bincount(values.graph, minlength=count)
    return sums / nodes.clamp(min=1)[:, None]


def pooled(values: Tensor, max_features: int) -> Tensor:
    """Average a map over a grid of s x s cells, s as large as `max_features` and the map allow, at least 1.

    Args:
        values: (N, C, h, w); or (N, C, L), which gets a row of cells instead.
        max_features: Upper limit of C times the cells, unless C alone is larger (then there is one cell).

    Returns:
        (N, C * s * s); where a side of the map has fewer than s positions, the grid has that many cells along it.
    """
    most = max(1, max_features // values.shape[1])  # cells
    if values.ndim == 3:
        return F.adaptive_avg_pool1d(values, min(most, values.shape[2])).flatten(1)
    height, width = values.shape[2:]
    cells = math.isqrt(most)
    return F.adaptive_avg_pool2d(values, (min(cells, height), min(cells, width))).flatten(1)


def _check_names(layers: Sequence[str]) -> None:
    """Refuse layers whose metrics would have the same name: one score would hide the other."""
    for first, second in itertools.combinations(layers, 2):
        if _snake(first) == _snake(second):
            raise BenchError(
                f"the layers {first!r} and {second!r} of this encoder get the same metric name, top1_{_snake(first)}; "
                "rename one of its `maps`: names must differ in letters or digits, from 'features', too."
            )


def _snake(name: str) -> str:
    """Write a layer's name in snake_case, for a metric."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"layers": Layers}
