"""Sharing of cores and GPUs among processes."""

import pytest
import torch

from bench_core.engines.resources import process_environments, threads_per_process


def test_single_process_keeps_the_environment_of_this_one() -> None:
    assert process_environments(1, "cpu") == [{}]


def test_cores_are_divided_and_each_process_gets_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.engines.resources.cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert [threads_per_process(jobs) for jobs in (2, 3, 8, 9)] == [4, 2, 1, 1]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)  # torch counts no hyper-threads
    assert threads_per_process(2) == 2
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert process_environments(2, "cpu") == [{"OMP_NUM_THREADS": "2"}] * 2


def test_number_of_threads_set_by_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert process_environments(2, "cpu") == [{}, {}]


@pytest.mark.parametrize(
    ("device", "visible", "count", "expected"),
    [
        ("cuda", None, 2, ["0", "1", "0"]),
        ("auto", "3,5", 2, ["3", "5", "3"]),
        ("auto", "3,5,-1,7", 2, ["3", "5", "3"]),  # CUDA ignores all after an invalid number
        ("auto", "GPU-ab,GPU-cd", 2, ["GPU-ab", "GPU-cd", "GPU-ab"]),
        ("cuda", None, 1, ["0", "0", "0"]),
        ("cuda:1", None, 2, [None] * 3),
        ("cpu", None, 2, [None] * 3),
    ],
)
def test_visible_gpus_are_given_in_turn(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, count: int, expected: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [environment.get("CUDA_VISIBLE_DEVICES") for environment in process_environments(3, device)] == expected
