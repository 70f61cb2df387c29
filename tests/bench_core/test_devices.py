import sys

import pytest
import torch

from bench_core.devices import _whole_process_gib, peak_memory_gib, reset_peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process begin anew")
def test_the_peak_is_what_was_taken_since_it_was_reset() -> None:
    torch.ones(64, 2**20)  # 256 MiB, given back at once
    reset_peak_memory(CPU)
    before = peak_memory_gib(CPU)
    torch.ones(32, 2**20)  # 128 MiB
    after = peak_memory_gib(CPU)
    assert before is not None
    assert after is not None
    assert 0.1 < after - before < 0.2


def test_elsewhere_it_is_the_process_as_a_whole() -> None:
    whole = _whole_process_gib()
    assert whole is None or 0.05 < whole < 500
