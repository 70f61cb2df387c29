"""Cells do not leak into each other: order, other cells and other processes change no score."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bench_core import Batch, Evaluation, Evaluator, Frozen, Loss, NoConfig, Objective, Recipe, Score
from bench_core.cli.group import main
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu", command="test")


class Drops(Objective):
    """Draws from the global generator when it is built and in every step (a toy)."""

    Config = NoConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=2, batch_size=16)

    def __init__(self, encoder: Any, data: Any, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.head = nn.Sequential(nn.Linear(encoder.dim, 4), nn.Dropout())

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss((self.head(self.encoder(views)) - torch.rand(())).square().mean())


class Greedy(Evaluator):
    """Changes its copy of the method, draws from the global generator, and leaves other settings behind (a toy)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        method, drawn = frozen.method().train(), float(torch.rand(()))
        with torch.no_grad():
            for parameter in method.parameters():
                parameter.mul_(1 + drawn)
        value = sum(float(parameter.double().sum()) for parameter in method.parameters())
        torch.manual_seed(99)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        return Evaluation(scores=[Score(metric="weights", value=value, unit="sum", n=1)], protocol="sum of weights")


@pytest.fixture
def rows(registry: Registry, add: Add) -> Registry:
    """The tiny plugins, those above, and a second dataset."""
    add("objective", "drops", Drops)
    add("evaluator", "greedy", Greedy)
    add("dataset", "others", type("Others", (registry.get("dataset", "blobs").cls,), {"digest": lambda self: "o"}))
    return registry


def scores(store: Store) -> dict[str, Any]:
    return {record.key: record.scores for record in store.records()}


@pytest.mark.usefixtures("rows")
def test_order_and_other_cells_change_no_score(plan_of: PlanOf, tmp_path: Path) -> None:
    data, methods, tasks, seeds = ["blobs", "others"], ["shrink", "drops"], ["spread", "greedy"], [0, 1]
    together, reversed_, alone = (Store(tmp_path / name) for name in ("together", "reversed", "alone"))
    run_plan(plan_of(datasets=data, methods=methods, tasks=tasks, seeds=seeds), together, CPU)
    reordered = {"datasets": data[::-1], "methods": methods[::-1], "tasks": tasks[::-1], "seeds": seeds[::-1]}
    run_plan(plan_of(**reordered), reversed_, CPU)
    for task in tasks:  # the second finds the chain trained, and nothing of it in memory
        run_plan(plan_of(datasets=["others"], methods=["drops"], tasks=[task], seeds=[1]), alone, CPU)
    assert len(scores(together)) == 16
    assert scores(together) == scores(reversed_)
    distinct = {tuple(by_metric.values()) for by_metric in scores(together).values()}
    assert len(distinct) == 8  # both datasets hold the same images
    assert scores(alone) == {key: scores(together)[key] for key in scores(alone)}
    assert len(scores(alone)) == 2


@pytest.mark.slow
def test_two_processes_on_one_store_give_the_scores_of_one(tmp_path: Path) -> None:
    words = ["--tasks", "knn", "--epochs", "1", "--device", "cpu", "--set", "digits.train_size=256", "--quiet"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench_core", "run", *words, "--store", str(tmp_path / "two"), "--methods", methods],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for methods in ("random,nac", "nac")  # both processes run the chain of nac
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    alone = ["run", *words, "--store", str(tmp_path / "one"), "--methods", "nac,random"]
    assert CliRunner().invoke(main, alone).exit_code == 0
    assert len(scores(Store(tmp_path / "one"))) == 2
    assert scores(Store(tmp_path / "two")) == scores(Store(tmp_path / "one"))
