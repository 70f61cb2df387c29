"""Which chains fit beside one another: cores, memory and GPUs, all of them made up."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from bench_core.engines import resources
from bench_core.engines.resources import (
    Alone,
    Machine,
    Needs,
    Place,
    find_place,
    killed_for_memory,
    memory_kills,
    places_of,
    this_machine,
)

CPU = Place()
GPUS = [Place(device=f"cuda:{number}", has_own_memory=True) for number in (0, 1)]
SMALL = Needs(cores=1, memory_gib=1.0)


def machine(cores: int = 4, memory_gib: float | None = 100.0, places: Sequence[Place] = (CPU,)) -> Machine:
    return Machine(cores, memory_gib, places)


def on_cpu(needs: Needs, *others: Needs, most: int | None = None, **limits: float) -> bool:
    """Return True if a chain may start on a CPU beside others."""
    running = [(other, 0) for other in others]
    return find_place(needs, running, machine(**limits), [None], most) == 0  # type: ignore[arg-type]  # cores


@pytest.mark.parametrize(("threads", "running", "fits"), [(1, [1, 2], True), (2, [1, 2], False), (1, [4], False)])
def test_chains_are_added_while_their_threads_fit_into_the_cores(threads: int, running: list[int], fits: bool) -> None:
    assert on_cpu(Needs(threads, 1.0), *(Needs(other, 1.0) for other in running)) is fits


def test_chains_are_added_while_their_memory_fits_into_nine_tenths_of_what_is_free() -> None:
    assert on_cpu(Needs(1, 5.0), Needs(1, 4.0), memory_gib=10.0)
    assert not on_cpu(Needs(1, 5.1), Needs(1, 4.0), memory_gib=10.0)
    assert find_place(SMALL, [(SMALL, 0)], machine(memory_gib=None), [None]) == 0  # the system does not tell


def test_first_chain_starts_however_large_it_is() -> None:
    assert on_cpu(Needs(64, 500.0))


def test_number_that_was_typed_counts_chains_and_nothing_else() -> None:
    large = Needs(64, 500.0)
    assert on_cpu(large, large, most=2)
    assert not on_cpu(SMALL, SMALL, SMALL, most=2)


@pytest.mark.parametrize("most", [None, 3])
def test_chain_that_ran_out_of_memory_has_the_machine_for_itself(most: int | None) -> None:
    alone = Needs(1, 1.0, alone=Alone.MACHINE)
    assert on_cpu(alone, most=most)
    assert not on_cpu(alone, SMALL, most=most)
    assert not on_cpu(SMALL, alone, most=most)


def on_gpus(
    needs: Needs, *running: tuple[Needs, int], totals: Sequence[float | None] = (80.0, 80.0), most: int | None = None
) -> int | None:
    return find_place(needs, running, machine(cores=16, places=GPUS), totals, most)


def gpu(peak: float | None, alone: Alone = Alone.NOTHING) -> Needs:
    return Needs(1, 2.0, peak, alone)


def test_each_chain_has_a_gpu_before_any_has_two() -> None:
    assert on_gpus(gpu(None)) == 0
    assert on_gpus(gpu(None), (gpu(None), 0)) == 1
    assert on_gpus(gpu(5.0), (gpu(5.0), 0), (gpu(5.0), 1), (gpu(5.0), 0)) == 1


def test_second_chain_shares_a_gpu_only_where_both_peaks_are_known_and_fit() -> None:
    both = [(gpu(None), 0), (gpu(30.0), 1)]
    assert on_gpus(gpu(None), *both) is None
    assert on_gpus(gpu(41.0), *both) == 1  # 30 + 41 and half a GiB for each process: 90 % of 80
    assert on_gpus(gpu(41.1), *both) is None
    assert on_gpus(gpu(5.0), *both, totals=(80.0, None)) is None


def test_number_that_was_typed_shares_gpus_in_turn_whatever_their_memory() -> None:
    assert on_gpus(gpu(None), (gpu(None), 0), (gpu(None), 1), most=3) == 0
    assert on_gpus(gpu(None), (gpu(None), 0), (gpu(None), 1), (gpu(None), 0), most=4) == 1


def test_chain_that_ran_out_of_a_gpus_memory_has_a_gpu_for_itself() -> None:
    alone = gpu(5.0, Alone.DEVICE)
    assert on_gpus(alone, (gpu(5.0), 0)) == 1
    assert on_gpus(alone, (gpu(5.0), 0), (gpu(5.0), 1)) is None
    assert on_gpus(gpu(5.0), (alone, 0), (gpu(5.0), 1)) == 1
    assert on_gpus(gpu(5.0), (alone, 0), (alone, 1)) is None


@pytest.mark.parametrize(("cores", "for_chains"), [(1, 1), (2, 2), (3, 2), (16, 15)])
def test_one_core_stays_free_where_there_are_more_than_two(
    monkeypatch: pytest.MonkeyPatch, cores: int, for_chains: int
) -> None:
    monkeypatch.setattr(resources, "cpu_count", lambda: cores)
    assert this_machine("cpu").cores == for_chains
    assert this_machine("cpu").places == [Place()]


def test_line_says_what_chains_share() -> None:
    ends = "; --jobs 1 runs them one by one"
    assert machine(1, None).line() == f"chains run side by side as they fit into 1 core{ends}"
    assert machine(15, 59.6, GPUS).line().endswith(f"into 15 cores, 60 GiB of memory, 2 GPUs{ends}")


def test_named_gpus_are_places_and_none_is_touched() -> None:
    assert places_of("cuda:0,cuda:3") == [
        Place(device="cuda:0", has_own_memory=True), Place(device="cuda:3", has_own_memory=True)
    ]  # fmt: skip
    assert places_of("cuda:3") == [Place(has_own_memory=True)]


@pytest.mark.parametrize(
    ("device", "visible", "count", "expected"),
    [
        ("cuda", None, 2, ["0", "1"]),
        ("auto", "3,5", 2, ["3", "5"]),
        ("auto", "3,5,-1,7", 2, ["3", "5"]),  # CUDA ignores all after an invalid number
        ("auto", "GPU-ab,GPU-cd", 2, ["GPU-ab", "GPU-cd"]),
        ("cuda:1", None, 2, [None]),
        ("cpu", None, 2, [None]),
    ],
)
def test_visible_gpus_are_places(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, count: int, expected: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [place.environment.get("CUDA_VISIBLE_DEVICES") for place in places_of(device)] == expected


def test_kills_for_memory_are_counted_where_the_system_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 77\noom_kill 3\n")
    assert memory_kills(tmp_path / "vmstat") == 3
    assert memory_kills(tmp_path / "none") is None
    monkeypatch.setattr(resources, "memory_kills", lambda: 3)
    assert [killed_for_memory(before) for before in (2, 3, None)] == [True, False, True]
    monkeypatch.setattr(resources, "memory_kills", lambda: None)
    assert killed_for_memory(3)
