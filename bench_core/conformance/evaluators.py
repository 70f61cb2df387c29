"""Checks of tasks, on toy embeddings. The docstring of each check is its line in `bench check`."""

import copy
import math
import re
from collections.abc import Sequence
from typing import Any

import torch

from bench_core.config import NoConfig
from bench_core.conformance.toys import (
    FACTORS,
    NUM_CLASSES,
    NUM_ITEMS,
    TinyEncoder,
    Untrained,
    factors_of,
    require,
    split_of,
)
from bench_core.contracts import DataSpec, Embedded, Evaluation, Frozen, Objective, OtherData, Score
from bench_core.errors import DataMissingError
from bench_core.store.per_item import items_error


def _toy_frozen(spec: DataSpec, others: Sequence[str]) -> Frozen:
    """Make a trained method whose features are Gaussian clusters, one for each class, and whose code is their signs.

    Args:
        spec: Description of the toy images.
        others: Names of other datasets that the task reads; they get toy images as well.
    """
    rng = torch.Generator().manual_seed(7)
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        objective = Untrained(TinyEncoder(spec), spec, NoConfig()).eval()
    dim = objective.encoder.dim  # the size that the toy method embeds to, for tasks that embed more images
    centres = torch.randn(NUM_CLASSES, dim, generator=rng) * 2

    def embedded(count: int) -> Embedded:
        labels = torch.arange(count) % NUM_CLASSES
        features = centres[labels] + torch.randn(count, dim, generator=rng)
        return Embedded({"features": features, "code": features > 0}, labels, factors_of(count))

    def method() -> Objective:
        return copy.deepcopy(objective)

    splits = {name: embedded(count) for name, count in spec.splits.items()}
    other_data = {name: OtherData(spec, lambda split: split_of(spec)) for name in others}
    return Frozen(splits, spec, 0, torch.device("cpu"), method, lambda name: split_of(spec), other_data)


def _check_scores(cls: Any) -> None:
    """Scores are finite, reproducible, and the means of their items; embeddings stay unchanged."""
    splits = {"train": NUM_ITEMS, "test": NUM_ITEMS}
    spec = DataSpec(shape=(3, 32, 32), splits=splits, num_classes=NUM_CLASSES, factors=FACTORS)
    evaluator = cls(cls.Config())
    reason = evaluator.skip_reason(spec, Untrained)
    if reason is not None:
        raise DataMissingError(f"the task skips the toy data: {reason}")
    results: list[Evaluation] = []
    for _ in range(2):
        frozen = _toy_frozen(spec, evaluator.datasets(spec))
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
    fault = items_error(results[0], splits)
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
