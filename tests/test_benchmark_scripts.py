"""Scripts under benchmarks/ run, each at a size that takes a moment."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from bench_core import Recipe
from benchmarks import image_reading, jobs, overhead, ranks, startup, step
from benchmarks.contest import Contender, Timing


def test_contenders_of_simclr_step_run_and_train_the_same_network() -> None:
    with torch.random.fork_rng([]):
        contest = step.step_contest("convnet", step.small_convnet, batch=8, steps=2, side=8, around=nullcontext)
        for contender in contest.contenders:
            contender.run()
        images = step.random_images(8, 8)
        ours, theirs = (sum(p.numel() for p in network.parameters()) for network in _networks(images))
    assert ours == theirs
    names = {contender.name for contender in contest.contenders}
    assert all({goal.ours, goal.theirs} <= names for goal in contest.goals)


def _networks(images: torch.Tensor) -> tuple[torch.nn.Module, torch.nn.Module]:
    return step.our_simclr(step.small_convnet, images), step.lightly_network(step.small_convnet, images)


def test_parts_of_measured_run_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "TASKS", ("knn",))
    timings = {timing.name: timing for timing in overhead.parts("digits", 1, 1)}
    assert set(timings) == {overhead.WHOLE, overhead.ARITHMETIC, "embedding", "task knn", "training steps"}

    def seconds(timing: Timing) -> float:
        return timing.cpu_s[0]

    parts = [seconds(timings[name]) for name in ("embedding", "task knn", "training steps")]
    assert seconds(timings[overhead.ARITHMETIC]) == pytest.approx(sum(parts))
    assert 0 < seconds(timings[overhead.ARITHMETIC]) < seconds(timings[overhead.WHOLE])


def test_startup_benchmark_runs_the_command_line() -> None:
    startup.bench("--version")()
    names = [contender.name for contest in startup.contests() for contender in contest.contenders]
    assert all({b.way, b.beyond} <= set(names) for contest in startup.contests() for b in contest.budgets)
    assert "_BENCH_COMPLETE" not in os.environ


def test_contenders_of_image_reading_read_every_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = image_reading.make_folder(tmp_path, images=70, photo=(40, 30))
    contest = image_reading.contest(folder, 8, workers=0)
    assert [contender.run() for contender in contest.contenders] == [2] * 4  # batches of 64
    shards = image_reading.shards_contest(image_reading.make_shards(folder), 8, workers=0)
    assert shards.contenders[0].run() == 2  # the library's loader leaves files open, which is an error here
    monkeypatch.setattr(image_reading, "FILES", (100, 200))
    monkeypatch.setattr(image_reading, "SETTLED_NS", 0)
    planning = image_reading.planning_contest(folder)
    assert [budget.seconds for budget in planning.budgets] == [100 * image_reading.SECONDS_PER_FILE]
    planning.contenders[-1].run()
    names = {contender.name for contender in contest.contenders}
    assert all({goal.ours, goal.theirs} <= names for goal in contest.goals)


def test_benchmark_of_jobs_runs_the_main_job_of_the_readme() -> None:
    contests = jobs.contests()
    names = {contender.name for contender in contests[0].contenders}
    assert all({budget.way, budget.beyond} <= names for budget in contests[0].budgets)
    assert all({goal.ours, goal.theirs} <= names for goal in contests[1].goals)
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert f"bench run {' '.join(jobs.MAIN_JOB)}\n" in readme
    jobs.bench([*jobs.MAIN_JOB, "--dry-run"])
    ran: list[int] = []
    [timing] = jobs.without_warm_up([Contender("a", lambda: ran.append(1))], rounds=3)
    assert len(ran) == len(timing.cpu_s) == 3
    [in_wall] = jobs.in_wall_seconds(lambda rounds: [timing], 3)
    assert in_wall.cpu_s == timing.wall_s


def test_benchmark_of_ranks_trains_the_methods_that_it_names() -> None:
    images = ranks.random_images(4, 32)
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=1, batch_size=4)
    with torch.random.fork_rng([]):
        for method in ("simclr", *ranks.METHODS):
            objective = ranks.build_method(method, "convnet", images)
            before = ranks.flat(objective)
            assert not torch.equal(ranks.by_loop(objective, images, recipe, None), before)
    assert len(ranks.contests()) == 4 + len(ranks.METHODS)
