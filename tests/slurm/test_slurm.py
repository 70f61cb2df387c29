"""Runs in a real Slurm of four nodes on this machine, disturbed in every way; the store is that of an undisturbed run.

The cases run side by side, each in a thread: most of their time they wait for Slurm. `python tests/slurm --all` runs
the long ones, too.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench_core.store import Store
from bench_core.store.claims import Claims
from tests.slurm.cluster import Cluster, missing_packages, slurm_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing_packages()), reason=missing_packages()),
]
BENCH = [sys.executable, "-P", "-m", "bench_core"]
ONE_CHAIN = ["--methods", "simclr", "--tasks", "knn", "--datasets", "digits", "--device", "cpu"]
TRAINED = [*ONE_CHAIN, "--epochs", "50", "--checkpoint-every", "1"]
NAC = "nac on digits with convnet, seed 0"
RUN_ALL = os.environ.get("BENCH_SLURM") == "all"
PATIENCE_S = 1800.0 if RUN_ALL else 600.0
HELD_S = 6.0
SLEEPER = '''
"""An encoder of which one step takes longer than any time limit."""

import time

import torch
from torch import nn


class Sleeper(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 8)

    def forward(self, images):
        if self.training and len(images) > 8:
            time.sleep(600)
        return self.layer(images.flatten(1))


def build():
    return Sleeper()
'''


@dataclass
class Lab:
    """A folder with a store, in which commands are typed on the login node."""

    cluster: Cluster
    folder: Path
    held_since: dict[str, float] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "runs"

    def bench(self, *words: str, code: int = 0) -> str:
        """Run `bench` and return all that it printed."""
        environment = {**self.cluster.environment, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        done = subprocess.run(
            [*BENCH, *words], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def submit(self, *words: str, slurm: tuple[str, ...] = ("time=10",)) -> str:
        """Submit a request and return the id of its first job."""
        printed = self.bench("run", *words, "--engine", "slurm", *[f"--slurm={text}" for text in slurm])
        (jobs,) = re.findall(r"jobs (\d+)", printed)
        return str(jobs)

    def until(self, what: str, holds: Callable[[], Any]) -> None:
        """Wait until something holds, and let jobs that were queued again begin at once."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{what} did not happen: {self.queue()} {self.logs()}"
            if not RUN_ALL:
                for job in self.held_jobs():
                    subprocess.run(
                        ["scontrol", "update", f"jobid={job}", "starttime=now"],
                        env=self.cluster.environment, capture_output=True, check=False,
                    )  # fmt: skip
            time.sleep(0.3)

    def held_jobs(self) -> list[str]:
        """Return the jobs that were queued again some seconds ago: at once their nodes would still refuse them."""
        held = re.findall(r"(\S+)\|PENDING\|BeginTime", self.queue())
        now = time.monotonic()
        self.held_since = {job: self.held_since.get(job, now) for job in held}
        return [job for job, since in self.held_since.items() if now - since > HELD_S]

    def queue(self) -> str:
        """Return the elements of this store in the queue: id|state|reason|node."""
        names = {path.read_text() for path in (self.store / "slurm" / "jobs").glob("*.json")}
        wanted = ",".join(re.findall(r'"name": ?"([^"]+)"', " ".join(names)))
        return self.cluster.call("squeue", "--array", "-h", f"--name={wanted or 'none'}", "-o", "%i|%T|%r|%N")

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.store / "slurm" / "logs").rglob("*.log")))

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in self.store.glob("chains/*.under-way/*.safetensors"))

    def is_done(self) -> bool:
        return not self.queue().strip()

    def rows(self) -> dict[str, Any]:
        """Return the records without what differs from run to run."""
        return {
            record.key: {name: value for name, value in record.stored.items() if name not in ("provenance", "cost")}
            for record in Store(self.store).records()
        }

    def check(self, reference: dict[str, Any]) -> None:
        """The store holds the same as that of an undisturbed run, and no claim."""
        self.until("the end of its processes", lambda: not Claims(self.store).holders())
        assert self.rows() == reference


def whole_board(lab: Lab, reference: dict[str, Any]) -> None:
    """Sources first, evaluation on other nodes, arrays that are cut; then nothing is missing."""
    words = ["--methods", "nac,simclr", "--set", "simclr.init=nac", "--tasks", "knn,retrieval", "--seeds", "0-1"]
    words += ["--datasets", "digits", "--epochs", "1", "--device", "cpu"]
    table = '[slurm]\ntime = "10"\nsetup = ["touch was-set-up"]\n[slurm.evaluation]\ntime = "5"\n'
    (lab.folder / "bench.toml").write_text(table)
    printed = lab.bench("run", *words, "--engine", "slurm", "--wait")
    assert "submitted 8 elements" in printed
    assert "nac on digits with convnet, seed 1: job " in printed
    assert "epoch 1/1" in printed
    assert re.search(r"nac .*\d\d\.\d", printed), printed  # the table
    assert not (lab.store / "attempts").exists()
    assert (lab.folder / "was-set-up").exists()
    assert (lab.store / "slurm" / "logs" / "digits" / "convnet" / "simclr" / "seed-1.log").is_file()
    again = lab.bench("run", *words, "--engine", "slurm")
    assert "submitted" not in again
    local = Lab(lab.cluster, lab.folder / "local")
    local.folder.mkdir()
    local.bench("run", *words, "--jobs", "1")
    lab.check(local.rows())


def preemption(lab: Lab, reference: dict[str, Any]) -> None:
    """The signal before a time limit, then a requeue by Slurm: the chain goes on both times."""
    job = lab.submit(*TRAINED)
    lab.until("a checkpoint", lab.checkpoints)
    lab.cluster.call("scancel", "--signal=USR2", job)
    lab.until("a second start", lambda: "start 2" in lab.logs())
    assert "queued again" in lab.logs()
    before = lab.checkpoints()
    lab.until("a later checkpoint", lambda: lab.checkpoints() > before)
    lab.cluster.call("scontrol", "requeue", job)
    lab.until("a third start", lambda: "start 3" in lab.logs())
    assert "stopped by Slurm" in lab.logs()
    lab.until("the end", lab.is_done)
    lab.check(reference)
    assert sum("epoch 50/50" in line for line in lab.logs().splitlines()) == 1


def cancelled(lab: Lab, reference: dict[str, Any]) -> None:
    """The line that is printed cancels; nothing is left behind, and the same command goes on."""
    printed = lab.bench("run", *TRAINED, "--engine", "slurm", "--slurm=time=10")
    (line,) = re.findall(r"to cancel: (scancel --name=\S+)", printed)
    again = lab.bench("run", *TRAINED, "--engine", "slurm", "--slurm=time=10")
    assert "submitted" not in again
    assert line in again
    lab.until("a checkpoint", lab.checkpoints)
    lab.cluster.call(*line.split())
    lab.until("the end", lab.is_done)
    lab.until("the end of its processes", lambda: not Claims(lab.store).holders())
    assert not lab.rows()
    lab.submit(*TRAINED)
    lab.until("the end", lab.is_done)
    assert "queued again" not in lab.logs()
    lab.check(reference)


def dead_node(lab: Lab, reference: dict[str, Any]) -> None:
    """A node stops answering while what it started lives on: the chain is queued again, and trained once."""
    lab.submit(*TRAINED, slurm=("time=10", "partition=fragile"))
    lab.until("a checkpoint", lab.checkpoints)
    (node,) = re.findall(r"\|(n\d)$", lab.queue().strip())
    lab.cluster.kill_node(node)
    lab.until("a second start", lambda: "start 2" in lab.logs() or lab.rows())
    lab.until("the end", lab.is_done)
    lab.check(reference)


def full_disk(lab: Lab, reference: dict[str, Any]) -> None:
    """A disk that is full fails the chain with its reason; with more room the same command finishes it."""
    lab.store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(lab.store)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may make a small disk")
    try:
        lab.submit(*TRAINED)
        lab.until("the end", lab.is_done)
        assert not list((lab.store / "cells").rglob("*.json"))
        subprocess.run(["mount", "-o", "remount,size=50m", str(lab.store)], check=True)
        lab.submit(*TRAINED)
        lab.until("the end", lab.is_done)
        lab.check(reference)
    finally:
        subprocess.run(["umount", "--lazy", str(lab.store)], check=True)


def failed_source(lab: Lab, reference: dict[str, Any]) -> None:
    """A chain fails; the one that starts from it waits, says so, and is not trained."""
    words = ["--methods", "nac,simclr", *ONE_CHAIN[2:], "--epochs", "1", "--set", "simclr.init=nac"]
    words += ["--set", "nac.recipe.learning_rate=1e30"]
    printed = lab.bench("run", *words, "--engine", "slurm", "--slurm=time=10", "--wait", code=1)
    assert "submitted 2 elements" in printed
    attempts = {attempt["names"]["method"]: attempt for attempt in Store(lab.store).attempts()}
    assert {attempt["kind"] for attempt in attempts.values()} == {"nan"}
    assert attempts["simclr"]["error"] == f"its source chain ({NAC}) failed: {attempts['nac']['error']}"


def too_short(lab: Lab, reference: dict[str, Any]) -> None:
    """A step that is longer than the time limit is a failure that says so."""
    (lab.folder / "sleeper.py").write_text(SLEEPER)
    words = [*ONE_CHAIN, "--epochs", "1", "--encoders", "python", "--set", "python.factory=sleeper.py:build"]
    words += ["--set", "python.channels=1"]
    printed = lab.bench("run", *words, "--engine", "slurm", "--slurm=time=1", "--wait", code=1)
    (attempt,) = Store(lab.store).attempts()
    assert attempt["kind"] == "timeout", printed
    assert "time" in attempt["error"].lower()


def urgent_job(lab: Lab, reference: dict[str, Any]) -> None:
    """A job of a higher partition drives the element away, with a time of grace: it saves its state and goes on."""
    lab.submit(*TRAINED, slurm=("time=10", "partition=low", "exclusive"))
    lab.until("a checkpoint", lab.checkpoints)
    lab.cluster.call("sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 20")
    lab.until("the end", lambda: lab.is_done() and "start 2" in lab.logs())
    lab.check(reference)


def many_starts(lab: Lab, reference: dict[str, Any]) -> None:
    """A chain that needs several times its limit goes on until it is done, with Slurm's own pauses."""
    words = [*TRAINED, "--set", "simclr.recipe.epochs=1500"]
    lab.submit(*words, slurm=("time=2",))
    lab.until("the end", lab.is_done)
    assert "start 2" in lab.logs()
    local = Lab(lab.cluster, lab.folder / "local")
    local.folder.mkdir()
    local.bench("run", *words, "--jobs", "1")
    lab.check(local.rows())


SHORT = (whole_board, preemption, urgent_job, cancelled, dead_node, full_disk, failed_source, too_short)
CASES = {case.__name__: case for case in SHORT}
LONG_CASES = {case.__name__: case for case in (many_starts,)}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[dict[str, Future[None]]]":
    """Each case, running in a thread of its own."""
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_cluster(max_array_size=3, cpus=3) as cluster, ThreadPoolExecutor(len(CASES) + len(LONG_CASES)) as pool:
        alone = Lab(cluster, folder / "reference")
        alone.folder.mkdir()
        alone.bench("run", *TRAINED, "--jobs", "1")
        reference, futures = alone.rows(), {}
        for name, case in {**CASES, **(LONG_CASES if RUN_ALL else {})}.items():
            lab = Lab(cluster, folder / name)
            lab.folder.mkdir()
            futures[name] = pool.submit(case, lab, reference)
        yield futures


@pytest.mark.parametrize("name", CASES)
def test_case_in_a_real_slurm_ends_with_the_store_of_an_undisturbed_run(
    started: "dict[str, Future[None]]", name: str
) -> None:
    assert started[name].result() is None  # raises what the case has raised


@pytest.mark.skipif(not RUN_ALL, reason="takes many minutes; `python tests/slurm --all` runs it")
@pytest.mark.parametrize("name", LONG_CASES)
def test_long_case_in_a_real_slurm(started: "dict[str, Future[None]]", name: str) -> None:
    assert started[name].result() is None  # raises what the case has raised
