"""The scripts under benchmarks/ still run: each at a size that takes next to nothing."""

import os
from contextlib import nullcontext

import pytest
import torch

from benchmarks import overhead, startup, step
from benchmarks.contest import Took


def test_all_ways_of_a_simclr_step_run_and_train_the_same_network() -> None:
    with torch.random.fork_rng([]):
        contest = step.step_contest("convnet", step.small_convnet, batch=8, steps=2, side=8, around=nullcontext)
        for way in contest.ways:
            way.run()
        images = step.made_images(8, 8)
        ours, theirs = (sum(p.numel() for p in part.parameters()) for part in _networks(images))
    assert ours == theirs
    names = {way.name for way in contest.ways}
    assert all({goal.ours, goal.theirs} <= names for goal in contest.goals)


def _networks(images: torch.Tensor) -> tuple[torch.nn.Module, torch.nn.Module]:
    return step.our_simclr(step.small_convnet, images), step.lightly_network(step.small_convnet, images)


def test_a_run_taken_apart_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "TASKS", ("knn",))
    took = {one.name: one for one in overhead.parts("digits", 1, 1)}
    assert set(took) == {overhead.WHOLE, overhead.ARITHMETIC, "embedding", "task knn", "training steps"}

    def seconds(one: Took) -> float:
        return one.cpu_s[0]

    parts = [seconds(took[name]) for name in ("embedding", "task knn", "training steps")]
    assert seconds(took[overhead.ARITHMETIC]) == pytest.approx(sum(parts))
    assert 0 < seconds(took[overhead.ARITHMETIC]) < seconds(took[overhead.WHOLE])


def test_start_up_runs_the_command_line() -> None:
    startup.bench("--version")()
    names = [way.name for contest in startup.contests() for way in contest.ways]
    assert all({b.way, b.beyond} <= set(names) for contest in startup.contests() for b in contest.budgets)
    assert "_BENCH_COMPLETE" not in os.environ
