"""Ranks that `bench run` starts, or that torchrun or srun has started: who they are, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench_core.engines import ranks, resources
from bench_core.engines.ranks import RankPlace, device_of_rank, rank_place, settle_ranks
from bench_core.engines.resources import places_of
from bench_core.errors import RequestError
from bench_core.running.setting import RunSetting

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "4000"}
SRUN = {
    "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "40007",
    "SLURM_STEP_NODELIST": "n[0-1]", "MASTER_ADDR": "n0",
}  # fmt: skip


def test_processes_of_torchrun_are_ranks_whatever_was_typed() -> None:
    expected = RankPlace(1, 2, 1, "127.0.0.1", 4000, hosts_store=False)
    assert rank_place(1, TORCHRUN) == rank_place("auto", TORCHRUN) == rank_place(2, TORCHRUN) == expected
    agent = {**TORCHRUN, "RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    assert not (rank_place(1, agent) or expected).hosts_store
    assert (rank_place(1, {**TORCHRUN, "RANK": "0"}) or expected).hosts_store
    with pytest.raises(RequestError, match="ranks is 4, but 2 processes were started"):
        rank_place(4, TORCHRUN)


def test_processes_of_srun_are_ranks_only_where_their_number_was_typed() -> None:
    assert rank_place(1, SRUN) is None  # eight processes of one command share its chains
    assert rank_place(3, SRUN) is None
    assert rank_place(2, SRUN) == rank_place("auto", SRUN) == RankPlace(0, 2, 0, "n0", 20007, hosts_store=True)
    assert rank_place("auto", {}) is None


def test_each_rank_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    place = RankPlace(3, 4, 1, "n0", 4000, hosts_store=False)
    assert device_of_rank("auto", place) == "cuda:1"
    assert device_of_rank("cuda:4,cuda:6", place) == "cuda:6"
    with pytest.raises(RequestError, match="rank 3 has no GPU of its own among 2"):
        device_of_rank("auto", RankPlace(3, 4, 2, "n0", 4000, hosts_store=False))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device_of_rank("cuda", place) == "cuda"  # srun has left one to each


@pytest.mark.parametrize(
    ("gpus", "chains", "expected"), [(8, 1, (8, 1)), (8, 3, (2, 3)), (8, 8, (1, "auto")), (2, 9, (1, "auto"))]
)
def test_auto_gives_a_chain_several_gpus_where_chains_are_fewer(
    monkeypatch: pytest.MonkeyPatch, gpus: int, chains: int, expected: tuple[int, object]
) -> None:
    monkeypatch.setattr(ranks, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(ranks, "visible_gpus", lambda: list(map(str, range(gpus))))
    setting = settle_ranks(RunSetting(device="cpu", ranks="auto", jobs="auto"), chains)
    assert (setting.ranks, setting.jobs) == expected


def test_auto_is_one_on_cpus_and_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle_ranks(RunSetting(device="cpu", ranks="auto"), 1).ranks == 1
    assert settle_ranks(RunSetting(device="cpu", ranks=4), 1).ranks == 4
    monkeypatch.setattr(ranks, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(ranks, "visible_gpus", lambda: ["0", "1"])
    with pytest.raises(RequestError, match="ranks is 4, but 2 GPUs can be used; add --ranks 2"):
        settle_ranks(RunSetting(device="cpu", ranks=4), 1)


def test_chains_of_several_ranks_have_as_many_gpus_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [place.device for place in places_of("cuda:0,cuda:3,cuda:4,cuda:5", 2)] == ["cuda:0,cuda:3", "cuda:4,cuda:5"]
    monkeypatch.setattr(resources, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(resources, "visible_gpus", lambda: ["0", "1", "2", "3", "4"])
    variables = [place.environment["CUDA_VISIBLE_DEVICES"] for place in places_of("cuda", 2)]
    assert variables == ["0,1", "2,3"]
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places_of("cuda", 8)] == ["0,1,2,3,4"]


def test_ranks_must_be_whole_and_cannot_be_compiled() -> None:
    with pytest.raises(RequestError, match="ranks must be auto or a whole number from 1, got 0"):
        RunSetting(device="cpu", ranks=0)
    with pytest.raises(RequestError, match="compile works with one rank only"):
        RunSetting(device="cpu", ranks=2, compiled=True)


def until(condition: Callable[[], bool], *, is_so: bool = True, seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while condition() != is_so:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def other_rank(leader: int) -> int:
    """Process id of the other rank that a process has started."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text(encoding="ascii").split()
    return int(children[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ranks_stop_with_a_checkpoint_and_a_rank_that_dies_ends_the_chain_with_its_reason(tmp_path: Path) -> None:
    words = "run --methods simclr --tasks knn --epochs 4000 --device cpu --ranks 2"
    command = [sys.executable, "-m", "bench_core", *words.split(), f"--store={tmp_path / 'store'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def trains() -> bool:
        assert run.poll() is None, log.read_text(encoding="utf-8")
        lines = [path.read_bytes() for path in tmp_path.glob("store/chains/*/log.jsonl")]
        return any(lines) and any(line.count(b"\n") > before for line in lines)

    ends, before = [], 0
    for name, number in (("stopped", signal.SIGTERM), ("resumed", signal.SIGKILL)):
        log = tmp_path / f"{name}.log"
        with log.open("wb") as output, subprocess.Popen(command, stderr=output, stdout=output, env=environment) as run:
            until(trains)
            other = other_rank(run.pid)
            os.kill(run.pid if number == signal.SIGTERM else other, number)
            ends.append(run.wait(60))
            until(Path(f"/proc/{other}").exists, is_so=False)
        before = max(path.read_bytes().count(b"\n") for path in tmp_path.glob("store/chains/*/log.jsonl"))
    assert ends == [75, 1]
    assert "resumes at epoch" in (tmp_path / "resumed.log").read_text(encoding="utf-8")
    assert not list((tmp_path / "store" / "chains").glob("*/weights.safetensors"))
    (attempt,) = (tmp_path / "store").glob("**/attempts/**/*.json")
    assert json.loads(attempt.read_text(encoding="utf-8"))["error"] == "rank 1 was killed by SIGKILL"
