"""Tasks on embeddings that are larger than the memory they may use, at a fortieth of the benchmark's size."""

from pathlib import Path

import pytest
import torch

from benchmarks import large

RESETS = Path("/proc/self/clear_refs").exists()


@pytest.mark.skipif(not RESETS, reason="the memory of a process is read from Linux's /proc")
def test_tasks_on_50_000_items_take_no_more_than_a_fortieth_of_6_gib() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        contest = large.large(large.ITEMS // 40, penalties=[1e-2])  # raises where a task takes more
    finally:
        torch.set_num_threads(before)
    assert [way["name"] for way in contest["ways"]] == ["knn", "retrieval", "clustering", "linear"]
    assert all(way["peak_mib"] <= 6 * 1024 / 40 for way in contest["ways"])
