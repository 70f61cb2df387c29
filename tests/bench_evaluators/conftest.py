"""Fixtures for tests of tasks: a frozen method made of tensors, and one with an encoder and images."""

import copy
from collections.abc import Callable, Mapping
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Encoder, Frozen, NoConfig, Split
from bench_core.conformance.toys import Untrained
from bench_core.training.embed import embed_split

Freeze = Callable[..., Frozen]


@pytest.fixture
def freeze() -> Freeze:
    """Return a function that makes a Frozen from split name -> (embeddings by name, labels)."""

    def build(splits: Mapping[str, tuple[Mapping[str, Tensor], Tensor]], seed: int = 0, device: str = "cpu") -> Frozen:
        first = next(iter(splits.values()))[1]
        classes = 1 + max(int(labels.max()) for _, labels in splits.values()) if first.ndim == 1 else None
        data = DataSpec(
            shape=(1, 8, 8),
            splits={name: len(labels) for name, (_, labels) in splits.items()},
            num_classes=classes,
            num_labels=None if first.ndim == 1 else first.shape[1],
        )

        def unused(*_: object) -> NoReturn:
            raise AssertionError("these evaluators read embeddings only")

        parts = {name: Embedded(embeddings, labels) for name, (embeddings, labels) in splits.items()}
        return Frozen(parts, data, seed, torch.device(device), unused, unused)

    return build


@pytest.fixture
def freeze_encoder() -> Callable[..., Frozen]:
    """Return a function that makes a Frozen from an encoder and split name -> labelled images."""

    def build(encoder: Encoder, splits: Mapping[str, Split], num_classes: int, seed: int = 0) -> Frozen:
        first = splits["train"].inputs
        assert isinstance(first, Tensor)
        data = DataSpec(
            shape=tuple(first.shape[1:]),
            splits={name: len(split) for name, split in splits.items()},
            num_classes=num_classes,
            views="glyph",
        )
        method, cpu = Untrained(encoder, data, NoConfig()).eval().requires_grad_(False), torch.device("cpu")
        parts = {name: Embedded(embed_split(method, split, cpu), split.labels) for name, split in splits.items()}
        return Frozen(parts, data, seed, cpu, lambda: copy.deepcopy(method), lambda name: splits[name])

    return build
