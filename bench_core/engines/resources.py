"""What each of several processes side by side gets of this machine."""

import os

import torch
from joblib import cpu_count

from bench_core.devices import find_device


def places(jobs: int, device: str) -> list[dict[str, str]]:
    """The environment of so many processes at once, over this one's.

    They share out the cores that this process may use, by affinity and cgroup, where OMP_NUM_THREADS does not say
    otherwise, and take the visible GPUs in turn. One alone gets all.

    Args:
        jobs: From 1.
        device: As `--device` says it; one GPU that is named there is everybody's.
    """
    if jobs == 1:
        return [{}]
    shared = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads_of(jobs))}
    gpus = visible_gpus() if find_device(device) == torch.device("cuda") else []
    return [{**shared, **({"CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else {})} for n in range(jobs)]


def threads_of(jobs: int) -> int:
    """Of each of so many processes at once: together no more than there are cores, or than one alone would start."""
    cores: int = cpu_count()
    return max(1, min(cores, torch.get_num_threads()) // jobs)


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them, one by one."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else list(map(str, range(count))))[:count]
