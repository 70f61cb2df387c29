"""Sharing of cores and GPUs among processes that run at the same time."""

import os

import torch
from joblib import cpu_count

from bench_core.devices import find_device


def process_environments(jobs: int, device: str) -> list[dict[str, str]]:
    """Return one set of environment variables for each of the processes that run at the same time.

    The cores that this process may use (by affinity and cgroup) are divided, unless OMP_NUM_THREADS is set. The visible
    GPUs are given in turn: with GPUs 0 and 1, three processes get 0, 1, 0. A single process gets all.

    Args:
        jobs: Number of processes, >= 1.
        device: As for `--device`. A GPU named there ("cuda:1") is used by every process.

    Returns:
        Variables to add to those of this process.
    """
    if jobs == 1:
        return [{}]
    threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads_per_process(jobs))}
    gpus = visible_gpus() if find_device(device) == torch.device("cuda") else []
    environments = []
    for number in range(jobs):
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        environments.append({**threads, **gpu})
    return environments


def threads_per_process(jobs: int) -> int:
    """Return the number of threads for each of `jobs` processes, >= 1.

    Together they have at most as many threads as there are cores, and as one process alone would have.
    """
    cores: int = cpu_count()
    return max(1, min(cores, torch.get_num_threads()) // jobs)


def visible_gpus() -> list[str]:
    """List the visible GPUs by the names that CUDA_VISIBLE_DEVICES uses."""
    count = torch.cuda.device_count()
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (variable.split(",") if variable else list(map(str, range(count))))[:count]
