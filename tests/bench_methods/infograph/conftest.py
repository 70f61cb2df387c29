"""Small graphs, and methods on a small GIN, for tests of InfoGraph and InfoGraph*."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench_core import Batch, DataSpec, Encoder, Objective
from bench_core.data.made import made_split
from bench_encoders.gin import GIN, GINConfig

CONFIG = GINConfig(width=6, layers=2)


@pytest.fixture
def data() -> DataSpec:
    return DataSpec(shape=(5,), splits={"train": 30}, num_classes=3, kind="graphs")


@pytest.fixture
def batch(data: DataSpec) -> Batch:
    split = made_split(data, 30)
    return Batch(split.inputs, torch.arange(30), split.labels)


@pytest.fixture
def make(data: DataSpec) -> Callable[..., Any]:
    """Function that builds a method on a small GIN from a seed: make(InfoGraphSemi, tie=0.5)."""

    def build(objective: Any, seed: int = 0, **values: Any) -> Objective:
        def new_encoder(spec: DataSpec) -> Encoder:
            return GIN(spec, CONFIG)

        keywords = {"new_encoder": new_encoder} if objective.uses_labels else {}
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            method: Objective = objective(GIN(data, CONFIG), data, objective.Config(**values), **keywords)
            return method

    return build
