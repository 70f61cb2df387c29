"""A frozen method made of tensors, for tests of evaluators."""

from collections.abc import Callable, Mapping
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Frozen

Freeze = Callable[..., Frozen]


@pytest.fixture
def freeze() -> Freeze:
    """Split name -> (embeddings by name, labels), to what evaluators get."""

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
