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
