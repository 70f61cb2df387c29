"""A training that is stopped anywhere resumes from its checkpoint and ends with the bits of one that was not stopped.

The methods stand for all kinds of state: one player, two players, queues, moving averages, renewed labels.
"""

import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Objective, Recipe, Split
from bench_core.data import open_split
from bench_core.plugins import load_plugins
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped

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
TIMES = {"seconds", "images_per_s", "peak_memory_gib"}


def train(method: Objective, digits: Tensor, folder: Path, stops_after: int | None) -> list[dict[str, Any]] | None:
    """Train with checkpoints in the folder; return the log without times, or None if it was stopped."""
    stop, steps, after_step = Stop(), itertools.count(1), method.after_step

    def counted_step() -> None:
        after_step()
        if next(steps) == stops_after:
            stop.request(signal.SIGTERM)

    method.after_step = counted_step  # type: ignore[method-assign]  # of this object alone
    source = open_split(Split((digits[:64] * 255).to(torch.uint8)), torch.device("cpu"))
    checkpoints = Checkpoints(folder / "checkpoints", interval=1e6, stop=stop)
    try:
        with stop.deferred():
            pretrain(
                method, source, RECIPE, seed=0, device=torch.device("cpu"), precision="fp32",
                log=folder / "log.jsonl", checkpoints=checkpoints,
            )  # fmt: skip
    except Stopped:
        return None
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


@pytest.mark.parametrize("name", METHODS)
def test_resumed_training_ends_with_the_same_bits_and_the_same_log(
    name: str, make: Callable[..., Objective], digits: Tensor, tmp_path: Path
) -> None:
    cls = load_plugins().get("objective", name).cls
    (tmp_path / "whole").mkdir()
    not_stopped = make(cls, DATA, **METHODS[name])
    expected = train(not_stopped, digits, tmp_path / "whole", None)
    for steps in (1, 3, 2):  # stopped after the first step, at the end of an epoch, within the next
        assert train(make(cls, DATA, **METHODS[name]), digits, tmp_path, steps) is None
    resumed = make(cls, DATA, **METHODS[name])
    assert train(resumed, digits, tmp_path, None) == expected
    weights, expected_weights = resumed.state_dict(), not_stopped.state_dict()
    assert [key for key in expected_weights if not torch.equal(weights[key], expected_weights[key])] == []
