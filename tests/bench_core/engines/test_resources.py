"""How several processes share out a machine."""

import pytest
import torch

from bench_core.engines.resources import places, threads_of


def test_one_process_alone_has_what_this_one_has() -> None:
    assert places(1, "cpu") == [{}]


def test_cores_are_divided_and_nobody_is_left_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.engines.resources.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert [threads_of(jobs) for jobs in (2, 3, 8, 9)] == [4, 2, 1, 1]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)  # as many as there are cores of their own
    assert threads_of(2) == 2
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert places(2, "cpu") == [{"OMP_NUM_THREADS": "2"}] * 2


def test_a_number_of_threads_that_the_user_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert places(2, "cpu") == [{}, {}]


@pytest.mark.parametrize(
    ("device", "visible", "count", "given"),
    [
        ("cuda", None, 2, ["0", "1", "0"]),
        ("auto", "3,5", 2, ["3", "5", "3"]),
        ("auto", "3,5,-1,7", 2, ["3", "5", "3"]),  # CUDA reads as far as they are devices
        ("auto", "GPU-ab,GPU-cd", 2, ["GPU-ab", "GPU-cd", "GPU-ab"]),
        ("cuda", None, 1, ["0", "0", "0"]),
        ("cuda:1", None, 2, [None] * 3),
        ("cpu", None, 2, [None] * 3),
    ],
)
def test_visible_gpus_are_taken_in_turn(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, count: int, given: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [place.get("CUDA_VISIBLE_DEVICES") for place in places(3, device)] == given
