"""Data and builder for tests of methods whose views are the channels of an image."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench_core import Batch, DataSpec, Encoder, Objective
from bench_core.conformance.toys import TinyEncoder


@pytest.fixture
def colours() -> DataSpec:
    return DataSpec(shape=(3, 8, 8), splits={"train": 96, "test": 10}, num_classes=10)


@pytest.fixture
def batch() -> Batch:
    images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(12), torch.arange(12) % 10)


@pytest.fixture
def build(colours: DataSpec) -> Callable[..., Any]:
    """Function that builds a method on tiny encoders from a seed: build(CMC, views="l_a_b")."""

    def made(objective: Any, *, data: DataSpec = colours, **values: Any) -> Objective:
        def new_encoder(spec: DataSpec) -> Encoder:
            return TinyEncoder(spec)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            method: Objective = objective(new_encoder(data), data, objective.Config(**values), new_encoder=new_encoder)
        return method

    return made
