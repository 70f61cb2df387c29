"""A store with toy curves and images of each kind, which is run once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench_core import Evaluation, Evaluator, Frozen, NoConfig, Score
from bench_core.planning.chains import Plan
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store


class Size(Evaluator):
    """A fraction, and a curve or grid of each kind (a toy)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        features = frozen.splits["test"].embeddings["features"]
        size, seed = float(features.abs().mean()) % 1, float(frozen.seed)
        plane = features[:, :2].tolist()
        return Evaluation(
            scores=[Score(metric="top1", value=size, n=16)],
            protocol="mean",
            curves={
                "projection_pca": {
                    "x": [x for x, _ in plane],
                    "y": [y for _, y in plane],
                    "label": [k % 2 for k in range(len(plane))],
                },
                "pr_2_bits": {"recall": [0.1 + seed / 10, 0.5, 1.0], "precision": [1.0, 0.5, 0.1]},
                "histogram": {"centre": [-1.0, 0.0, 1.0], "density": [0.1, seed, 0.1], "prior": [0.2, 0.4, 0.2]},
                "layers": {"layer": [0, 1], "accuracy": [0.5, 0.7 + seed / 10]},
                "over_k": {"neighbours": [1 + seed, 5.0], "accuracy": [0.5, 0.7], "again": [0.1, 0.2]},
            },
            images={"samples": torch.full((3, 1, 4, 4), 255 * frozen.seed, dtype=torch.uint8)},
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="package")
def finished_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store that the first test runs and the others copy."""
    return tmp_path_factory.mktemp("finished") / "runs"


@pytest.fixture
def entries(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], store: Store, finished_store: Path
) -> list[Entry]:
    """Three rows of two tasks at two seeds, all done in `store`."""
    add("evaluator", "size", Size)
    plan = plan_of(tasks=["spread", "size"], sweeps={"shrink.factor": [0.0, 1.0, 5.0]}, seeds=[0, 1])
    if not finished_store.exists():
        assert run_plan(plan, Store(finished_store), RunSetting(device="cpu")) == []
    shutil.copytree(finished_store, store.path)
    return plan_entries(plan, store.records())
