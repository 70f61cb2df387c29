import errno
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from bench_core.training.checkpoints import Checkpoints, pack, unpack
from bench_core.training.stopping import Stop, Stopped

STATE = {
    "weights": OrderedDict(a=torch.arange(6.0).reshape(2, 3), b=torch.tensor(True)),
    "steps": [1, 2.5, None, "text", True, {"3": {3: torch.zeros(0)}}],
    "not_finite": float("inf"),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def test_a_state_comes_back_as_it_was_with_the_types_of_its_keys() -> None:
    assert same(STATE, unpack(pack(STATE)))


def test_what_is_neither_tensor_nor_plain_is_refused_by_its_place() -> None:
    with pytest.raises(TypeError, match=r"a\.1 is a set; a checkpoint holds tensors and plain values"):
        pack({"a": [1, {2}]})


def test_nothing_that_a_file_holds_is_executed() -> None:
    assert b"pickle" not in pack(STATE)
    assert pack(STATE)[8:9] == b"{"  # a safetensors header: JSON


def test_the_newest_is_taken_and_two_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "a")
    assert kept.latest() is None
    for step in (1, 2, 10):
        kept.save(step, {"step": step})
    assert kept.latest() == {"step": 10}
    assert [p.name[:12] for p in sorted((tmp_path / "a").iterdir())] == ["000000000002", "000000000010"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_one_is_not_taken_and_the_one_before_serves(damage: str, tmp_path: Path) -> None:
    said: list[str] = []
    kept = Checkpoints(tmp_path, say=said.append)
    kept.save(1, STATE)
    kept.save(2, STATE | {"late": 1})
    path = max(tmp_path.iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": path.read_bytes()[:-1], "flip": bytes(content), "empty": b""}[damage])
    found = kept.latest()
    assert found is not None
    assert same(STATE, found)
    assert "is damaged; an older one serves" in said[0]


def test_a_full_disk_costs_a_checkpoint_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    kept = Checkpoints(tmp_path, say=said.append)
    kept.save(1, {"step": 1})

    def full(number: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    kept.save(2, {"step": 2})
    assert said == ["no checkpoint at step 2 (No space left on device); the one before it is kept"]
    assert kept.latest() == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_it_is_time_after_the_interval_sooner_at_an_epochs_end_and_when_told_to_stop(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, every=0.0).due(epoch_ends=False)
    stop = Stop()
    kept = Checkpoints(tmp_path, every=1000.0, stop=stop)
    kept._last -= 300
    assert not kept.due(epoch_ends=False)
    assert kept.due(epoch_ends=True)
    kept.save(1, {})
    assert not kept.due(epoch_ends=True)
    stop._number = 15
    assert kept.due(epoch_ends=False)
    with pytest.raises(Stopped):
        kept.save(2, {"saved": True})
    assert kept.latest() == {"saved": True}
