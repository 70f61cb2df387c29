"""Following of elements: what is shown and recorded, with programs that stand in for Slurm's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.engines import slurm_follow
from bench_core.engines.slurm import Submission
from bench_core.engines.slurm_follow import follow, last_attempts, tails_of
from bench_core.planning.chains import Plan
from bench_core.running.failures import UnfinishedCell
from bench_core.running.progress import NoProgress
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.slurm_jobs import SubmittedElement, log_file, write_job
from bench_core.training.stopping import Stop, Stopped

PlanOf = Callable[..., Plan]


class Kept(NoProgress):
    """Keeps the lines, and after some calls something."""

    def __init__(self, store: Store, then: Callable[[], None] = lambda: None) -> None:
        self.lines: list[str] = []
        self.then = then

    def log(self, text: str) -> None:
        self.lines.append(text)
        self.then()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of squeue, which prints the file `queue`, and of scontrol, which prints the file `job`."""
    for name, file in (("squeue", "queue"), ("scontrol", "job")):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\ncat "{tmp_path}/bin/{file}"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    for name in ("LOOK_S", "ASK_S", "_LATE_S"):
        monkeypatch.setattr(slurm_follow, name, 0.01)
    return tmp_path / "bin"


@pytest.fixture
def plan(plan_of: PlanOf) -> Plan:
    return plan_of()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def followed(plan: Plan, store: Store, progress: Kept, stop: Stop | None = None) -> list[UnfinishedCell]:
    (chain,) = plan.chains
    element = SubmittedElement(chain.key, "whole", "the chain", "a/b.log")
    write_job(store, "12", "bench-1", [element])
    submission = Submission("bench-1", (("12", element),), ())
    log = log_file(store, element)
    log.parent.mkdir(parents=True)
    log.write_text("before\n")
    tails, before = tails_of(store, submission), last_attempts(plan, store)
    with log.open("a") as file:
        file.write("== 2026-11-30 08:49:10 UTC: job 12 on n0, start 1\n  epoch 1/2\n\nhalf a li")
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60",), wait=True, stop=stop or Stop())
    return follow(plan, store, setting, submission, progress, tails, before)


@pytest.mark.parametrize(
    ("state", "kind", "word"),
    [
        ("OUT_OF_MEMORY", "oom", "ended as OUT_OF_MEMORY without a result; its log is"),
        ("CANCELLED", "preempted", "ended as CANCELLED without a result; give the same command again"),
        ("NODE_FAIL", "killed", "ended as NODE_FAIL"),
        ("", "killed", "ended without a result"),
    ],
)
def test_element_that_ended_without_a_word_is_recorded_with_what_slurm_says(
    plan: Plan, store: Store, slurm: Path, state: str, kind: str, word: str
) -> None:
    (slurm / "queue").touch()
    (slurm / "job").write_text(f"JobId=12 JobState={state} Reason=None\n" if state else "")
    progress = Kept(store)
    (cell,) = followed(plan, store, progress)
    assert progress.lines == ["the chain: job 12 on n0, start 1", "the chain: epoch 1/2"]
    assert cell.kind == kind
    assert word in cell.error
    assert "(job 12)" in cell.error


def test_following_goes_on_while_slurm_does_not_answer(plan: Plan, store: Store, slurm: Path) -> None:
    (slurm / "job").touch()

    def answer() -> None:
        if any("squeue fails" in line for line in progress.lines):
            (slurm / "queue").touch()

    progress = Kept(store, answer)
    (cell,) = followed(plan, store, progress)
    assert cell.kind == "killed"


def test_stop_signal_ends_the_following(plan: Plan, store: Store, slurm: Path) -> None:
    (slurm / "queue").write_text("12|RUNNING|n0|None\n")
    stop = Stop()

    def request() -> None:
        with stop.deferred():
            stop.request(2)

    with pytest.raises(Stopped):
        followed(plan, store, Kept(store, request), stop)
    assert not store.attempts()
