"""Processes for chains, on a store on which another run works: its chains are put off, waited for, or dropped."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.engines.processes import run_in_processes
from bench_core.planning.chains import Plan
from bench_core.running.failures import attempt
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.claims import Claims
from bench_core.training.stopping import Stop, Stopped

PlanOf = Callable[..., Plan]
QUICK = RunSetting(device="cpu", isolate=True, jobs=1, claim_beat=0.05, claim_stale=0.5)
# Stands in for the process of a chain. sys.argv is: store, "--only-chain", key of the chain, ...
NOTES_ITS_CHAIN = """
import pathlib, sys
with (pathlib.Path(sys.argv[1]).parent / "begun").open("a") as file:
    print(sys.argv[3], file=file)
sys.exit("Error: nothing is trained here")
"""


class Lines(NoProgress):
    """Keeps the lines of a run, and calls a function at each."""

    def __init__(self, on_line: Callable[[str], object] = lambda line: None) -> None:
        self.lines: list[str] = []
        self.on_line = on_line

    def log(self, text: str) -> None:
        self.lines.append(text)
        self.on_line(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.create()
    return store


@pytest.fixture
def others(store: Store) -> Iterator[Claims]:
    """The claims of another process, as far as files can tell."""
    with Claims(store.path, 0.05, 0.5) as claims:
        yield claims


def command(store: Store) -> list[str]:
    return [sys.executable, "-S", "-c", NOTES_ITS_CHAIN, str(store.path)]


def begun(store: Store) -> list[str]:
    """Return the chains for which processes were started."""
    file = store.path.parent / "begun"
    return file.read_text().split() if file.exists() else []


def test_chain_of_another_run_is_put_off_and_waited_for(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of(seeds=[0, 1])
    first, second = plan.chains
    claim = others.try_claim(first.key)
    assert claim is not None
    progress = Lines(lambda line: claim.release() if line.startswith("waiting for") else None)
    failed = run_in_processes(plan, store, QUICK, command(store), progress)
    assert begun(store) == [second.key, first.key]
    assert len(failed) == 2
    assert [line for line in progress.lines if line.startswith("waiting for")] == [
        f"waiting for {first.label}, trained by process {os.getpid()} on {os.uname().nodename}"
    ]


def test_chain_that_another_run_finishes_or_fails_meanwhile_is_not_started(
    plan_of: PlanOf, store: Store, others: Claims
) -> None:
    plan = plan_of(seeds=[0, 1])
    second = plan.chains[1]
    claims = [others.try_claim(chain.key) for chain in plan.chains]

    def finish(line: str) -> None:
        if line.startswith(f"waiting for {second.label}"):
            for claim in claims:
                assert claim is not None
                claim.release()
            run_plan(plan_of(seeds=[0]), store, RunSetting(device="cpu"))
            store.add_attempt(attempt(second.cells[0], "nan", "the loss is inf", [], 1.0, {}))

    progress = Lines(finish)
    failed = run_in_processes(plan, store, QUICK, command(store), progress)
    assert begun(store) == []
    assert [(cell.seed, cell.kind, cell.error) for cell in failed] == [(1, "nan", "the loss is inf")]
    assert "  done by another run" in progress.lines
    assert "  failed in another run" in progress.lines


def test_chain_of_a_run_that_gives_no_sign_of_life_is_started(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of()
    claim = others.try_claim(plan.chains[0].key)
    assert claim is not None
    claim._ended.set()
    assert len(run_in_processes(plan, store, QUICK, command(store))) == 1
    assert begun(store) == [plan.chains[0].key]


def test_stop_signal_ends_the_wait(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of()
    assert others.try_claim(plan.chains[0].key)
    setting = replace(QUICK, stop=Stop())
    began = time.monotonic()
    with pytest.raises(Stopped):
        run_in_processes(plan, store, setting, command(store), Lines(lambda line: setting.stop.request(signal.SIGTERM)))
    assert time.monotonic() - began < 5
    assert begun(store) == []
