"""A helper that trains a tiny plugin with the real harness, and reads what was stored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from bench_core.planning.chains import Chain, Plan
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log
from bench_core.store.record import Record


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        chain: The chain that was run.
        state: State dict of the trained method.
        log: One dict for each line of the log.
        record: Record of the first task.
    """

    chain: Chain
    state: dict[str, Tensor]
    log: list[dict[str, Any]]
    record: Record


@pytest.fixture
def train(tmp_path: Path) -> Callable[[Plan], Trained]:
    """Return a function that runs the only chain of a plan."""

    def run(plan: Plan) -> Trained:
        store = Store(tmp_path / "runs")
        assert run_plan(plan, store, RunSetting(device="cpu")) == []
        (chain,) = plan.chains
        record = store.record(chain.cells[0].key)
        assert record is not None
        folder = store.chain_folder(chain.key)
        return Trained(chain, load_file(folder / "weights.safetensors"), read_finished_log(folder), record)

    return run
