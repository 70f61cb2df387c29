"""Checks of evaluators."""

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
    need,
    split_of,
)
from bench_core.contracts import (
    DataSpec,
    Embedded,
    Evaluation,
    Frozen,
    Objective,
    OtherData,
    Score,
)
from bench_core.errors import DataMissingError
from bench_core.store.per_item import items_fault


def _frozen(spec: DataSpec, others: Sequence[str]) -> Frozen:
    """Gaussian clusters, one a class, as features; their signs as code. Other data sets are made images, too."""
    rng = torch.Generator().manual_seed(7)
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        objective = Untrained(TinyEncoder(spec), spec, NoConfig()).eval()
    dim = objective.encoder.dim  # as the method's own, for tasks that embed more
    centres = torch.randn(NUM_CLASSES, dim, generator=rng) * 2

    def embedded(count: int) -> Embedded:
        labels = torch.arange(count) % NUM_CLASSES
        features = centres[labels] + torch.randn(count, dim, generator=rng)
        return Embedded({"features": features, "code": features > 0}, labels, factors_of(count))

    def method() -> Objective:
        return copy.deepcopy(objective)

    splits = {name: embedded(count) for name, count in spec.splits.items()}
    elsewhere = {name: OtherData(spec, lambda split: split_of(spec)) for name in others}
    return Frozen(splits, spec, 0, torch.device("cpu"), method, lambda name: split_of(spec), elsewhere)


def _measures(cls: Any) -> None:
    """Scores are finite, snake_case, the same twice and the means of their items; embeddings stay as they were."""
    splits = {"train": NUM_ITEMS, "test": NUM_ITEMS}
    spec = DataSpec(shape=(3, 32, 32), splits=splits, num_classes=NUM_CLASSES, factors=FACTORS)
    evaluator = cls(cls.Config())
    reason = evaluator.skip_reason(spec, Untrained)
    if reason is not None:
        raise DataMissingError(f"it skips the made data: {reason}")
    results: list[Evaluation] = []
    for _ in range(2):
        frozen = _frozen(spec, evaluator.datasets(spec))
        before = copy.deepcopy(frozen.splits)
        results.append(cls(cls.Config()).evaluate(frozen))
        for name, split in before.items():
            same = all(torch.equal(v, frozen.splits[name].embeddings[k]) for k, v in split.embeddings.items())
            need(same, f"the embeddings of {name!r} were changed")
    need(bool(results[0].scores), "no score was returned")
    need(bool(results[0].protocol), "the protocol is empty; say split, solver, k, distance, ties")
    for score in results[0].scores:
        _refuse_bad_score(score)
    names = [score.metric for score in results[0].scores]
    need(len(names) == len(set(names)), f"a metric stands twice in {names}")
    fault = items_fault(results[0], splits)
    need(fault is None, f"per-item results: {fault}")
    values = [[score.value for score in result.scores] for result in results]
    need(values[0] == values[1], f"the same embeddings gave {values[0]} and {values[1]}")


def _refuse_bad_score(score: Score) -> None:
    need(re.fullmatch(r"[a-z][a-z0-9_]*", score.metric) is not None, f"metric {score.metric!r} is not snake_case")
    need(isinstance(score.value, int | float) and math.isfinite(score.value), f"{score.metric} is {score.value!r}")
    need(score.unit != "fraction" or 0 <= score.value <= 1, f"{score.metric} is a fraction, got {score.value}")
    need(score.n > 0, f"{score.metric} is over n = {score.n} items")


CHECKS = (_measures,)
