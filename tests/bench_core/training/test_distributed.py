"""A training by several ranks is the training by one process, for every method."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).parents[3]
PROGRAM = "tests.bench_core.training.ranks_program"
PROCESSES = 4


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what the processes of `ranks_program` have written."""
    out = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", PROGRAM, str(rank), str(port), out],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output[-4000:]
    finally:
        for process in processes:
            process.kill()
    return out


@pytest.fixture(scope="module")
def trained(out: Path) -> dict[int, dict[str, Tensor]]:
    """Number of ranks -> "METHOD on KIND" -> parameters before and after the training of all methods."""
    return {size: load_file(out / f"{size}.safetensors") for size in (1, 2, 3)}


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_train_every_method_as_one_process_does(trained: dict[int, dict[str, Tensor]], size: int) -> None:
    assert trained[size].keys() == trained[1].keys()
    differences = {}
    for name, (before, after) in trained[1].items():
        path = float((after - before).norm())
        difference = float((trained[size][name][1] - after).norm())
        differences[name] = difference / path if path else difference
    assert len(differences) > 60, "methods on the kinds of data that they read"
    assert all(torch.tensor(list(differences.values())) < 1e-6), differences


@pytest.mark.parametrize("size", [1, 4])
def test_checkpoint_of_two_ranks_is_resumed_by_any_number(out: Path, size: int) -> None:
    expected = load_file(out / "not stopped.safetensors")["all"]
    resumed = load_file(out / f"resumed by {size}.safetensors")["all"]
    assert torch.allclose(resumed, expected, rtol=0, atol=1e-9)
