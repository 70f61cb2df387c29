"""Checks of tasks, on an example of each kind of data. The docstring of each check is its line in `bench check`."""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench_core.conformance.examples import build_method
from bench_core.conformance.toys import (
    NUM_CLASSES,
    SIDES,
    TinyEncoder,
    Untrained,
    image_spec,
    require,
    split_of,
)
from bench_core.contracts import DataSpec, Embedded, Evaluation, Example, Frozen, Objective, OtherData, Score, Split
from bench_core.store.per_item import items_error
from bench_core.training.embed import embed_split


def _toy_frozen(spec: DataSpec, others: Sequence[str]) -> Frozen:
    """Make a trained method of toy images, see `_frozen_clusters`."""
    example = Example(data=spec, splits={name: split_of(spec) for name in spec.splits}, encoder=TinyEncoder)
    return _frozen_clusters(example, others)


def _frozen(example: Example, others: Sequence[str]) -> Frozen:
    """Make a trained method for a task: clusters, or the embeddings of the method that the example names.

    Args:
        example: Data, encoder and method.
        others: Names of other datasets that the task reads; they get toy images.
    """
    if example.method in (None, Untrained):
        return _frozen_clusters(example, others)
    method = build_method(example.method, example, seed=7).eval()
    parts = {
        name: Embedded(embed_split(method, split, torch.device("cpu")), split.labels, split.factors)
        for name, split in example.splits.items()
    }
    return _frozen_of(example, parts, method, others)


def _frozen_clusters(example: Example, others: Sequence[str]) -> Frozen:
    """Make a trained method whose features are Gaussian clusters, one for each class, and whose code is their signs."""
    rng = torch.Generator().manual_seed(7)
    method = build_method(Untrained, example, seed=7).eval()
    dim = method.encoder.dim  # the size that the toy method embeds to, for tasks that embed more inputs
    centres = torch.randn(NUM_CLASSES, dim, generator=rng) * 2

    def embedded(split: Split) -> Embedded:
        classes = torch.arange(len(split)) % NUM_CLASSES
        features = centres[classes] + torch.randn(len(split), dim, generator=rng)
        return Embedded({"features": features, "code": features > 0}, split.labels, split.factors)

    return _frozen_of(example, {name: embedded(s) for name, s in example.splits.items()}, method, others)


def _frozen_of(example: Example, parts: Mapping[str, Embedded], method: Objective, others: Sequence[str]) -> Frozen:
    images = example.data if example.data.is_image else image_spec(SIDES[0])
    other_data = {name: OtherData(images, lambda split: split_of(images)) for name in others}
    cpu, splits = torch.device("cpu"), example.splits
    return Frozen(parts, example.data, 0, cpu, lambda: copy.deepcopy(method), lambda name: splits[name], other_data)


def _check_scores(cls: Any, example: Example) -> None:
    """Scores are finite, reproducible, and the means of their items; embeddings stay unchanged."""
    others = cls(cls.Config()).datasets(example.data)
    results: list[Evaluation] = []
    for _ in range(2):
        frozen = _frozen(example, others)
        before = copy.deepcopy(frozen.splits)
        results.append(cls(cls.Config()).evaluate(frozen))
        for name, split in before.items():
            for embedding, original in split.embeddings.items():
                same = torch.equal(original, frozen.splits[name].embeddings[embedding])
                require(same, f"evaluate() changed the embedding {embedding!r} of split {name!r}")
    require(bool(results[0].scores), "evaluate() returned no score")
    require(bool(results[0].protocol), "the protocol is empty; name split, solver, k, distance, ties")
    for score in results[0].scores:
        _require_valid_score(score)
    names = [score.metric for score in results[0].scores]
    require(len(names) == len(set(names)), f"two scores have the same metric: {names}")
    fault = items_error(results[0], example.data.splits)
    require(fault is None, f"per-item results: {fault}")
    values = [[score.value for score in result.scores] for result in results]
    require(values[0] == values[1], f"the same embeddings gave {values[0]} and then {values[1]}")


def _require_valid_score(score: Score) -> None:
    require(re.fullmatch(r"[a-z][a-z0-9_]*", score.metric) is not None, f"metric {score.metric!r} is not snake_case")
    require(
        isinstance(score.value, int | float) and math.isfinite(score.value),
        f"{score.metric} must be a finite number, got {score.value!r}",
    )
    require(
        score.unit != "fraction" or 0 <= score.value <= 1,
        f"{score.metric} is a fraction and must be in [0, 1], got {score.value}",
    )
    require(score.n > 0, f"{score.metric} must be over n > 0 items, got {score.n}")


CHECKS = (_check_scores,)
