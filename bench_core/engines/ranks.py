"""Ranks of a chain: started on this machine by `bench run --ranks N`, or by torchrun or srun on one or several.

torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in each process that it starts. srun sets SLURM_PROCID and
SLURM_STEP_NUM_TASKS, but it may as well start processes that share the chains of a plan; so `--ranks` must say the
same number, or auto.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch._C._distributed_c10d import TCPStore

from bench_core.devices import find_device, split_devices
from bench_core.engines.child_process import POLL_S, ChildProcess, Ended
from bench_core.engines.resources import visible_gpus
from bench_core.errors import RequestError
from bench_core.output import say
from bench_core.planning.chains import Plan
from bench_core.running.rank_follower import follow
from bench_core.running.rank_leader import START_S, RankLeader
from bench_core.running.setting import RunSetting

_END_S = 10.0  # for other ranks to end once there is no more work
_FIRST_PORT, _PORTS = 20000, 20000
_LOOPBACK = ("lo", "lo0")  # names of the network interface of a machine with itself


@dataclass(frozen=True)
class RankPlace:
    """Place of this process among ranks, as torchrun or srun gives it.

    Attributes:
        rank: Number of this rank, from 0.
        size: Number of ranks.
        local_rank: Number of this rank among those of its machine.
        host: Machine on which the ranks find one another.
        port: Port there.
        hosts_store: Whether this process opens that port.
    """

    rank: int
    size: int
    local_rank: int
    host: str
    port: int
    hosts_store: bool

    def connect(self) -> TCPStore:
        """Return the store in which the ranks find one another."""
        return TCPStore(
            self.host, self.port, is_master=self.hosts_store, wait_for_workers=False, timeout=timedelta(seconds=START_S)
        )


def rank_place(ranks: int | str, environment: Mapping[str, str] = os.environ) -> RankPlace | None:
    """Return what torchrun or srun says about this process; None where it was started alone.

    Args:
        ranks: What `--ranks` says.
        environment: Environment variables.

    Raises:
        RequestError: torchrun has started another number of processes.
    """
    if "RANK" in environment and int(environment.get("WORLD_SIZE", "1")) > 1:
        rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        if ranks not in (1, "auto", size):
            raise RequestError(f"ranks is {ranks}, but {size} processes were started for it; leave out --ranks.")
        agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        host, port = environment.get("MASTER_ADDR", "127.0.0.1"), int(environment.get("MASTER_PORT", "29500"))
        return RankPlace(rank, size, int(environment.get("LOCAL_RANK", rank)), host, port, rank == 0 and not agent)
    size = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if size > 1 and ranks in ("auto", size):
        rank = int(environment["SLURM_PROCID"])
        port = _FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % _PORTS
        host = environment.get("MASTER_ADDR") or _first_host(environment["SLURM_STEP_NODELIST"])
        local_rank = int(environment.get("SLURM_LOCALID", "0"))
        return RankPlace(rank, size, local_rank, host, int(environment.get("MASTER_PORT", port)), rank == 0)
    return None


def _first_host(nodes: str) -> str:
    """Return the first of the machines that Slurm writes as `node[3-5]`."""
    command = ["scontrol", "show", "hostnames", nodes]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def device_of_rank(device: str, place: RankPlace) -> str:
    """Return the device of a rank that torchrun or srun has started, of those of its machine.

    Raises:
        RequestError: The machine has fewer GPUs than ranks.
    """
    names = split_devices(device)
    if len(names) == 1 and find_device(device) != torch.device("cuda"):
        return device
    count = len(names) if len(names) > 1 else torch.cuda.device_count()
    if count == 1 and len(names) == 1:
        return device  # srun has left one GPU to each rank
    if place.local_rank >= count:
        raise RequestError(f"rank {place.rank} has no GPU of its own among {count}; start fewer ranks on a machine.")
    return names[place.local_rank] if len(names) > 1 else f"cuda:{place.local_rank}"


def settle_ranks(setting: RunSetting, chains: int) -> RunSetting:
    """Return the setting of a run with a number of ranks, where it is "auto", for the number of missing chains.

    A chain gets more than one GPU only where there are fewer chains than GPUs. Where `jobs` is "auto", so many chains
    run side by side as there are GPUs for, and on CPUs one.

    Raises:
        RequestError: There are fewer GPUs than ranks.
    """
    device = find_device(setting.device)
    names = split_devices(setting.device)
    gpus = (names if len(names) > 1 else visible_gpus()) if device.type == "cuda" else []
    ranks = max(1, len(gpus) // max(1, chains)) if setting.ranks == "auto" else setting.ranks
    if ranks > 1 and device.type == "mps":
        raise RequestError("several ranks need CPUs or NVIDIA GPUs; leave out --ranks, or add --device cpu.")
    if 0 < len(gpus) < ranks:
        raise RequestError(f"ranks is {ranks}, but {len(gpus)} GPUs can be used; add --ranks {len(gpus)}.")
    if ranks > 1 and setting.jobs == "auto":
        return replace(setting, ranks=ranks, jobs=max(1, min(chains, len(gpus) // ranks)))
    return replace(setting, ranks=ranks)


def follow_place(plan: Plan, place: RankPlace, setting: RunSetting) -> None:
    """Work as another rank than 0 until rank 0 has no more work, or is gone."""
    try:
        store = place.connect()
    except torch.distributed.DistNetworkError:
        say(
            f"rank {place.rank}: no rank 0 answers on {place.host}:{place.port}; it has ended, or found no work",
            err=True,
        )
        return
    follow(plan, store, place.rank, place.size, setting)


@contextmanager
def leading(setting: RunSetting, command: Sequence[str], place: RankPlace | None) -> Iterator[RunSetting]:
    """Lead the ranks of a run in this block: those that torchrun or srun has started, or else some of this machine.

    Args:
        setting: Settings of the run; `ranks` is a number.
        command: Command that runs the whole request, by which ranks are started on this machine.
        place: What torchrun or srun says about this process, rank 0.

    Yields:
        The setting, with a leader where there are several ranks.
    """
    if place:
        leader = RankLeader(place.connect(), place.size)
        local = None
    elif setting.ranks != 1:
        local = LocalRanks(command, int(setting.ranks), setting)
        leader = RankLeader(local.store, local.size, local.start, local.ended)
        setting = replace(setting, device=split_devices(setting.device)[0])
    else:
        yield setting
        return
    try:
        yield replace(setting, leader=leader)
    finally:
        leader.end()
        if local:
            local.close()


class LocalRanks:
    """The other ranks of a chain as processes of this machine, started when they are needed first."""

    def __init__(self, command: Sequence[str], size: int, setting: RunSetting) -> None:
        """Open the store in which the ranks find one another; no process is started.

        Args:
            command: Command that runs the whole request.
            size: Number of ranks, with rank 0, which is this process.
            setting: Gives the device.
        """
        for name in _LOOPBACK:
            if name in (known for _, known in socket.if_nameindex()):
                os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        self.command, self.size = command, size
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        uses_gpus = find_device(setting.device) == torch.device("cuda")
        self.gpus = visible_gpus() if uses_gpus and len(split_devices(setting.device)) == 1 else []
        self.processes: dict[int, ChildProcess] = {}

    def start(self) -> None:
        """Start each rank that does not run."""
        self.ended()
        for rank in range(1, self.size):
            if rank not in self.processes:
                environment = {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.size),
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.store.port),
                }  # fmt: skip
                if self.gpus:
                    environment["CUDA_VISIBLE_DEVICES"] = self.gpus[rank]
                self.processes[rank] = ChildProcess(self.command, _show_nothing, environment=environment)

    def ended(self) -> str | None:
        """Return how a rank has ended since the last call, or None."""
        reasons = []
        for rank, process in list(self.processes.items()):
            if ended := process.poll(stop=False):
                del self.processes[rank]
                reasons.append(_how(rank, ended))
        return "; ".join(reasons) or None

    def close(self) -> None:
        """Wait a little until all have ended, and end the others."""
        deadline = time.monotonic() + _END_S
        while self.processes and time.monotonic() < deadline:
            self.ended()
            time.sleep(POLL_S)
        for process in self.processes.values():
            process.kill()


def _show_nothing(line: str) -> None:
    """Show no line of another rank: rank 0 shows the same."""


def _how(rank: int, ended: Ended) -> str:
    """Say how the process of a rank has ended."""
    if ended.code < 0:
        return f"rank {rank} was killed by {signal.Signals(-ended.code).name}"
    last = next((line for line in reversed(ended.last_lines) if line.strip()), "it printed no reason")
    return f"rank {rank} ended with exit code {ended.code}: {last}"
