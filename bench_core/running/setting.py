"""Settings of a run that are in no key: the device, the number of processes, time limits."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from bench_core.devices import check_device, check_device_count, check_device_name, find_device, free_memory_gib
from bench_core.errors import RequestError, shown
from bench_core.running.loggers import check_loggers
from bench_core.running.rank_leader import RankLeader
from bench_core.store.claims import BEAT_S, BEATS_MISSED, STALE_S
from bench_core.training.stopping import Stop

ENGINES = ("local", "slurm")

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([MGT])(?:iB|B)?", re.IGNORECASE)
_UNITS = {"M": 2**20, "G": 2**30, "T": 2**40}
_LEAST_MEMORY = 2**29  # the blocks of tasks have one size on all machines, and take up to this much


@dataclass(frozen=True, kw_only=True)
class RunSetting:
    """Settings of a run that say where and how its chains run. No part of them is in a key.

    `bench run` makes one from its options, `bench_core.run` from its arguments. Every engine takes it: `run_plan`,
    which runs the chains in this process, and `run_in_processes`, which starts a process for each chain.

    Attributes:
        device: Device of training, embedding and heavy tasks: "auto", "cpu", "cuda", "cuda:1" or "mps". With
            "cuda:0,cuda:1" chains that run at the same time are divided among these.
        workers: Number of processes that read streamed data, >= 0. With 0 the training process reads it.
        data_cache: Folder of the memory maps of large splits, perhaps on a disk of this machine; None is the variable
            BENCH_DATA_CACHE, else a cache folder. See `bench_core.data.mapped`.
        memory: Memory that the tasks of a chain may use, such as "8G"; None is what the system has left. Scores do not
            depend on it, see `Frozen.memory`.
        checkpoint_every: Seconds between two checkpoints of a training, >= 0: so much training is lost at most when
            the machine dies.
        resume_anyway: Whether a training goes on from a checkpoint of other code; by default it starts anew.
        compiled: Whether training goes through `torch.compile`. Records of such chains say so.
        engine: "local" runs chains on this machine, "slurm" as elements of Slurm's job arrays.
        slurm: Options of sbatch for these elements as they were typed, see `bench_core.engines.slurm_config`.
        wait: Whether the engine slurm follows the elements until all have ended.
        isolate: Whether each chain runs in its own process.
        jobs: Number of chains that run at the same time, >= 1. Above 1 each chain runs in its own process. "auto" is
            as many as fit into the cores, the memory and the devices, see `bench_core.engines.sizes`.
        ranks: Number of processes that train each chain together, >= 1. "auto" is more than one where fewer chains are
            missing than there are GPUs, see `bench_core.engines.ranks`.
        time_limit: Seconds that the process of a chain may take, > 0; None is no limit. Needs `isolate`, or other
            `jobs` than 1.
        rerun: Methods and tasks of the request whose finished cells are run again, see `bench_core.running.rerun`.
        log: Loggers of trainings beside the store's own log, see `bench_core.running.loggers`: csv, tensorboard, wandb.
        probe_every: Epochs from one probe of a training to the next, see `bench_core.running.probe`; 0 is none.
        keep_every: Epochs from one copy of a training's weights to the next, see `kept_epochs`; 0 keeps none.
        threads: Threads of the CPU that every chain gets, as a repetition needs them; None gives each chain as many
            as its step can use, see `bench_core.running.threads`. `OMP_NUM_THREADS` wins.
        claim_beat: Seconds between two signs of life of this process for others on the same store, > 0.
        claim_stale: Seconds without one after which this process takes over the chain of another, at least three beats.
        command: What records name as the command; None is the command line of this process.
        stop: Receives the stop signals of this process.
        leader: The other ranks, in a process that leads them.

    Raises:
        RequestError: A value is out of its range, two do not fit together, or the device cannot be used.
    """

    device: str = "auto"
    workers: int = 0
    data_cache: Path | None = None
    memory: str | None = None
    checkpoint_every: float = 120.0
    resume_anyway: bool = False
    compiled: bool = False
    engine: str = "local"
    slurm: tuple[str, ...] = ()
    wait: bool = False
    isolate: bool = False
    jobs: int | Literal["auto"] = 1
    ranks: int | Literal["auto"] = 1
    time_limit: float | None = None
    rerun: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    probe_every: int = 0
    keep_every: int = 0
    threads: int | None = None
    claim_beat: float = BEAT_S
    claim_stale: float = STALE_S
    command: str | None = None
    stop: Stop = field(default_factory=Stop)
    leader: RankLeader | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check every value. All rules about these settings stand here, for the command line and for Python."""
        if not _is_whole(self.workers) or self.workers < 0:
            raise RequestError(f"workers must be a whole number from 0, got {shown(self.workers)}; 0 is the default.")
        if not _is_number(self.checkpoint_every) or self.checkpoint_every < 0:
            raise RequestError(
                f"checkpoint-every must be a number of seconds from 0, got {shown(self.checkpoint_every)}; "
                "120 is the default."
            )
        if self.data_cache is not None and self.data_cache.is_file():
            raise RequestError(f"data-cache must be a folder, got the file {shown(str(self.data_cache))}.")
        if self.memory is not None:
            _bytes(self.memory)
        check_loggers(self.log)
        self._check_engine()
        for name in ("probe_every", "keep_every"):
            if not _is_whole(value := getattr(self, name)) or value < 0:
                option = name.replace("_", "-")
                raise RequestError(f"{option} must be a number of epochs from 0, got {shown(value)}; 0 is never.")
        if self.jobs != "auto" and (not _is_whole(self.jobs) or self.jobs < 1):
            raise RequestError(
                f"jobs must be auto or a whole number from 1, got {shown(self.jobs)}; with 1 chains run one by one."
            )
        if self.ranks != "auto" and (not _is_whole(self.ranks) or self.ranks < 1):
            raise RequestError(
                f"ranks must be auto or a whole number from 1, got {shown(self.ranks)}; 1 is the default."
            )
        if self.ranks != 1 and self.compiled:
            raise RequestError("compile works with one rank only; leave out --compile or --ranks.")
        if self.time_limit is not None:
            if not _is_number(self.time_limit) or self.time_limit <= 0:
                raise RequestError(
                    f"time-limit must be a number of seconds above 0, got {shown(self.time_limit)}; leave it out for "
                    "no limit."
                )
            if not self.uses_processes:
                raise RequestError(
                    "time-limit works only where each chain has its own process, which can be ended; add --isolate "
                    "or --jobs 2 (in Python isolate=True or jobs=2)."
                )
        self._check_claims()
        if self.engine == "local" and self.jobs == "auto":
            check_device_count(self.device)  # a process that only starts others does not touch the device:
        elif self.uses_processes:  # all of its memory is for the chains
            check_device_name(self.device)
        else:
            check_device(self.device)

    def _check_engine(self) -> None:
        """Check which engine runs the chains, and what only one of them takes."""
        if self.engine not in ENGINES:
            raise RequestError(
                f"engine must be {' or '.join(ENGINES)}, got {shown(self.engine)}; local is the default."
            )
        if self.engine != "slurm" and (self.slurm or self.wait):
            given = "wait" if self.wait else "slurm"
            raise RequestError(f"{given} needs --engine slurm beside it; without it chains run on this machine.")
        if self.engine == "slurm" and self.rerun and not self.wait:
            raise RequestError(
                "rerun with the engine slurm needs --wait: the new results replace the old ones when all are there."
            )

    def _check_claims(self) -> None:
        """Check the times of claims."""
        if not _is_number(self.claim_beat) or not 0 < self.claim_beat < math.inf:
            raise RequestError(
                f"claim-beat must be a number of seconds above 0, got {shown(self.claim_beat)}; {BEAT_S:g} is the "
                "default."
            )
        least = BEATS_MISSED * self.claim_beat
        if not _is_number(self.claim_stale) or not least <= self.claim_stale < math.inf:
            raise RequestError(
                f"claim-stale must be at least {BEATS_MISSED} times claim-beat, {least:g} seconds, got "
                f"{shown(self.claim_stale)}; {STALE_S:g} is the default."
            )

    @property
    def task_memory(self) -> int | None:
        """Bytes that a task may use now; None where the system does not tell."""
        if self.memory is not None:
            return _bytes(self.memory)
        free = free_memory_gib()
        return None if free is None else round(free * 2**30)

    @property
    def uses_processes(self) -> bool:
        """True if each chain runs in its own process."""
        return self.isolate or self.jobs != 1 or self.engine == "slurm"

    @property
    def torch_device(self) -> torch.device:
        """The device that `device` names; "auto" is CUDA where there is one, else MPS, else the CPU."""
        return find_device(self.device)


def _bytes(size: str) -> int:
    """Return the bytes of a size of memory like 8G, 512M or 1.5T, in units of 1024; RequestError for another text."""
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    number = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if number < _LEAST_MEMORY:
        raise RequestError(
            f"memory must be a size from 512M, such as 8G, got {shown(size)}; leave it out to use what the system has "
            "left."
        )
    return number


def _is_whole(value: object) -> bool:
    """Return True for an int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    """Return True for an int or float that is neither bool nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
