"""A training that is stopped anywhere resumes from its checkpoint and ends with the bits of one that was not stopped.

The methods stand for all kinds of state: one player, two players, queues, moving averages, renewed labels.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Objective, Recipe
from bench_core.plugins import load_plugins

DATA = DataSpec(
    shape=(1, 8, 8), splits={"train": 64, "test": 16}, num_classes=10, mean=(0.3,), std=(0.4,), views="glyph"
)
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"output_dim": 16},
    "uctrl": {"latent_dim": 8, "width": 8},
    "moco": {"output_dim": 16, "queue_size": 64, "parts": 1},
    "byol": {"hidden_dim": 32, "output_dim": 16},
    "sela": {"clusters": 8, "heads": 2, "updates": 5},
    "swav": {"hidden_dim": 32, "output_dim": 16, "prototypes": 16, "queue": 64, "queue_start": 0},
    "noisy_dim": {"dim": 4, "estimator": "dv"},
    "vae": {"latent_dim": 8, "width": 8},
}
RECIPE = Recipe(optimizer="sgd", learning_rate=1e-2, batch_size=16, epochs=2, warmup_epochs=1)  # 8 steps


@pytest.mark.parametrize("name", METHODS)
def test_resumed_training_ends_with_the_same_bits_and_the_same_log(
    name: str, make: Callable[..., Objective], train: Callable[..., Any], digits: Tensor, tmp_path: Path
) -> None:
    cls = load_plugins().get("objective", name).cls
    (tmp_path / "whole").mkdir()
    not_stopped = make(cls, DATA, **METHODS[name])
    expected = train(not_stopped, digits[:64], tmp_path / "whole", RECIPE)
    for steps in (1, 3, 2):  # stopped after the first step, at the end of an epoch, within the next
        assert train(make(cls, DATA, **METHODS[name]), digits[:64], tmp_path, RECIPE, steps) is None
    resumed = make(cls, DATA, **METHODS[name])
    assert train(resumed, digits[:64], tmp_path, RECIPE) == expected
    weights, expected_weights = resumed.state_dict(), not_stopped.state_dict()
    assert [key for key in expected_weights if not torch.equal(weights[key], expected_weights[key])] == []
