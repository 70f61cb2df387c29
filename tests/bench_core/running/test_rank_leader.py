"""Rank 0 and another rank meet, fail, and meet again; the other one is a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch._C._distributed_c10d import TCPStore

from bench_core.errors import TrainingError
from bench_core.running import rank_leader
from bench_core.running.rank_leader import RankLeader

OTHER = """
import sys, torch
from torch._C._distributed_c10d import TCPStore
from bench_core.running.rank_leader import next_meeting, report_failure
store, last = TCPStore("127.0.0.1", int(sys.argv[1])), 0
while meeting := next_meeting(store, 1, 2, torch.device("cpu"), last):
    last, group = meeting
    try:
        while work := group.hear():
            if work["does"] == "fail":
                report_failure(store, last, 1, "MemoryError: none left")
                break
            group.counts(7)
    except RuntimeError:  # rank 0 has left
        pass
    group.close()
"""
CPU = torch.device("cpu")


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Iterator[RankLeader]:
    """Rank 0 of two; the other one runs, and has ended by itself at the end."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    command = [sys.executable, "-c", OTHER, str(store.port)]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as other:
        leader = RankLeader(store, 2, ended=lambda: None if other.poll() is None else "rank 1 has ended")
        yield leader
        leader.end()
        assert other.wait(60) == 0


def test_failure_of_another_rank_has_its_reason_and_the_next_piece_of_work_is_done(leader: RankLeader) -> None:
    with leader.together(CPU, {"does": "count"}) as group:
        assert group.counts(3) == [3, 7]
    with (
        pytest.raises(TrainingError, match=r"^rank 1 failed: MemoryError: none left$"),
        leader.together(CPU, {"does": "fail"}) as group,
    ):
        group.counts(3)
    with pytest.raises(TrainingError, match="rank 1 failed"), leader.together(CPU, {"does": "fail"}) as group:
        group.sum(torch.ones(3))  # it waits on the connections of tensors, not of words
    assert leader.group is None
    with leader.together(CPU, {"does": "count"}) as group:
        assert group.counts(4) == [4, 7]
    with pytest.raises(ValueError, match="of rank 0 alone"), leader.together(CPU, {"does": "count"}):
        raise ValueError("of rank 0 alone")
    with leader.together(CPU, {"does": "count"}) as group:
        assert group.counts(5) == [5, 7]


def test_rank_that_has_ended_or_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with (
        pytest.raises(TrainingError, match="rank 1 was killed by SIGKILL"),
        RankLeader(store, 2, ended=lambda: "rank 1 was killed by SIGKILL").together(CPU, {}),
    ):
        pass
    monkeypatch.setattr(rank_leader, "START_S", 0.2)
    with (
        pytest.raises(TrainingError, match=r"of 3 ranks, 1, 2 did not come within 0\.2 s"),
        RankLeader(store, 3).together(CPU, {}),
    ):
        pass
