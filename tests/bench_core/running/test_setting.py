"""Rules that run settings keep, wherever they are made."""

import dataclasses
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.running.setting import RunSetting


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": -1}, "workers must be a whole number from 0, got -1"),
        ({"workers": 1.5}, "workers must be a whole number from 0, got 1.5"),
        ({"checkpoint_every": -1}, "checkpoint-every must be a number of seconds from 0, got -1"),
        ({"checkpoint_every": float("nan")}, "checkpoint-every must be a number of seconds from 0, got nan"),
        ({"checkpoint_every": "often"}, "checkpoint-every must be a number of seconds from 0, got 'often'"),
        ({"jobs": 0}, "jobs must be auto or a whole number from 1, got 0"),
        ({"jobs": "2"}, "jobs must be auto or a whole number from 1, got '2'"),
        ({"jobs": True}, "jobs must be auto or a whole number from 1, got True"),
        ({"time_limit": 0, "isolate": True}, "time-limit must be a number of seconds above 0, got 0"),
        ({"time_limit": "5", "isolate": True}, "time-limit must be a number of seconds above 0, got '5'"),
        ({"time_limit": True, "isolate": True}, "time-limit must be a number of seconds above 0, got True"),
        ({"time_limit": float("nan"), "isolate": True}, "time-limit must be a number of seconds above 0, got nan"),
        ({"memory": "8"}, "memory must be a size from 512M, such as 8G, got '8'; leave it out"),
        ({"memory": "511M"}, "memory must be a size from 512M, such as 8G, got '511M'"),
        ({"memory": "-8G"}, "memory must be a size from 512M, such as 8G, got '-8G'"),
        ({"memory": "8X"}, "memory must be a size from 512M, such as 8G, got '8X'"),
        ({"memory": 8}, "memory must be a size from 512M, such as 8G, got 8"),
        ({"time_limit": 5}, "time-limit works only where each chain has its own process, .* add --isolate or --jobs 2"),
        (
            {"device": "abacus"},
            "device 'abacus' cannot be used here: it is none of auto, cpu, cuda, cuda:NUMBER and mps",
        ),
        ({"device": "abacus", "jobs": 2}, "device 'abacus' cannot be used here"),
        ({"device": "cuda:99", "jobs": "auto"}, "device 'cuda:99' cannot be used here"),
        ({"device": "abacus", "jobs": "auto"}, "device 'abacus' cannot be used here"),
        ({"device": "cuda:0,cpu", "jobs": 2}, "device 'cuda:0,cpu' cannot be used here: several are different GPUs"),
        ({"device": "cuda:0,cuda:0", "jobs": 2}, "several are different GPUs, such as cuda:0,cuda:1"),
        ({"device": "cuda:0,", "jobs": 2}, "device '' cannot be used here: it is none of auto, cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
    ],
)
def test_value_out_of_range_is_refused_with_what_would_be_right(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        RunSetting(**values)


@pytest.mark.parametrize("values", [{"isolate": True}, {"jobs": 2}])
def test_device_is_left_alone_by_a_process_that_only_starts_others(values: dict[str, Any]) -> None:
    setting = RunSetting(device="cuda:99", time_limit=5, **values)
    assert setting.uses_processes


def test_setting_cannot_be_changed_after_its_checks() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunSetting().jobs = 0  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("memory", "size"),
    [("8G", 8 * 2**30), ("512M", 2**29), ("1.5g", 3 * 2**29), ("2 GiB", 2**31), ("1TB", 2**40)],
)
def test_memory_of_tasks_is_read_in_units_of_1024(memory: str, size: int) -> None:
    assert RunSetting(memory=memory).task_memory == size


def test_tasks_may_use_what_the_system_has_left_where_no_memory_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.running.setting.free_memory_gib", lambda: 1.5)
    assert RunSetting().task_memory == 3 * 2**29
    monkeypatch.setattr("bench_core.running.setting.free_memory_gib", lambda: None)
    assert RunSetting().task_memory is None
