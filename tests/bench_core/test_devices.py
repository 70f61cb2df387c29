import mmap
import platform
import sys
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

from bench_core import Objective, devices
from bench_core.devices import (
    _peak_of_process_gib,
    check_device,
    device_name,
    exact_float32,
    find_device,
    peak_memory_gib,
    place_on_device,
    reset_peak_memory,
    to_channels_last,
)
from bench_core.errors import RequestError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_usable_device_passes_the_check(name: str) -> None:
    check_device(name)
    assert find_device("cpu") == CPU


@pytest.mark.parametrize("name", ["meta", "gpu", "cuda:99", "cuda:-1", ""])
def test_device_that_cannot_be_used_is_refused_with_its_name_and_what_to_try(name: str) -> None:
    with pytest.raises(RequestError, match=rf"device '{name}' cannot be used here: .*Try auto or cpu\.$"):
        check_device(name)


def test_device_name_holds_type_and_model() -> None:
    kind, _, model = device_name(CPU).partition(": ")
    assert kind == "cpu"
    assert model


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_peak_memory_is_measured_since_the_reset() -> None:
    _touch_memory(256)
    reset_peak_memory(CPU)
    before = peak_memory_gib(CPU)
    _touch_memory(128)
    after = peak_memory_gib(CPU)
    assert before is not None
    assert after is not None
    assert 0.1 < after - before < 0.2


def _touch_memory(mib: int) -> None:
    """Use memory and give it back to the system at once; an allocator may keep what is freed, and use it again."""
    with mmap.mmap(-1, mib * 2**20) as block:
        for _ in range(mib):
            block.write(bytes(2**20))


def test_peak_of_the_whole_process_is_plausible() -> None:
    peak = _peak_of_process_gib()
    assert peak is None or 0.05 < peak < 500


def test_channels_last_changes_the_layout_of_convolutions_and_no_value() -> None:
    convolution = nn.Conv2d(3, 4, 3)
    net = nn.Sequential(convolution, nn.Flatten(), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert to_channels_last(net) is net
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_exact_float32_changes_nothing_on_a_cpu() -> None:
    tf32 = torch.backends.cudnn.allow_tf32
    with exact_float32(CPU):
        assert torch.backends.cudnn.allow_tf32 == tf32


@pytest.mark.parametrize(("processor", "name"), [("arm", "cpu: arm"), ("", "cpu: aarch64")])
def test_where_the_system_does_not_tell_the_model_python_names_the_processor(
    processor: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "no model here")
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    devices._processor.cache_clear()
    try:
        assert device_name(CPU) == name
    finally:
        devices._processor.cache_clear()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_method_is_compiled_only_where_that_is_asked_for(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[nn.Module]()
    monkeypatch.setattr(nn.Module, "compile", lambda self: calls.append(self))
    method = cast(Objective, nn.Conv2d(3, 4, 2))
    assert place_on_device(method, CPU, compiled) is method
    assert calls == [method] * compiled


def test_first_of_several_devices_is_the_one_of_this_process() -> None:
    assert devices.find_device("cuda:2,cuda:0") == torch.device("cuda:2")


def files(folder: Path, contents: dict[str, str]) -> Path:
    """Write files below a folder."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


MEMINFO = "MemTotal: 9999999 kB\nMemAvailable: 8388608 kB\n"  # 8 GiB
GIB = 2**30


def test_free_memory_is_that_of_the_machine_where_nothing_limits_it(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", {"meminfo": MEMINFO, "self/cgroup": "0::/me\n"})
    groups = files(tmp_path / "groups", {"me/memory.max": "max\n", "me/memory.current": "5\n"})
    assert devices.free_memory_gib(proc, groups) == 8.0
    assert devices.free_memory_gib(tmp_path / "none", groups) is None


def test_free_memory_is_what_the_tightest_group_leaves_and_its_cached_files_are_free(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", {"meminfo": MEMINFO, "self/cgroup": "0::/job/step\n"})
    stat = f"anon 1\ninactive_file {GIB}\n"
    tight = {"job/memory.max": f"{4 * GIB}", "job/memory.current": f"{2 * GIB}", "job/memory.stat": stat}
    wide = {"job/step/memory.max": f"{7 * GIB}", "job/step/memory.current": "0", "job/step/memory.stat": ""}
    assert devices.free_memory_gib(proc, files(tmp_path / "groups", tight | wide)) == 3.0


def test_free_memory_knows_groups_of_the_first_version(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", {"meminfo": MEMINFO, "self/cgroup": "4:memory:/job\n3:cpu:/\n"})
    group = {"memory.limit_in_bytes": f"{GIB}", "memory.usage_in_bytes": "0", "memory.stat": "total_inactive_file 0\n"}
    groups = files(tmp_path / "groups", {f"memory/job/{name}": text for name, text in group.items()})
    assert devices.free_memory_gib(proc, groups) == 1.0
