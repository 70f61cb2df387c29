import errno
import hashlib
import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from bench_core.training.checkpoints import Checkpoints, DamagedCheckpointError, pack, unpack
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


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": path.read_bytes()[:-1], "flip": bytes(content), "empty": b""}[kind])


def write_whole(folder: Path, step: int, content: bytes) -> Path:
    """A file whose name holds the true digest of its content."""
    path = folder / f"{step:012d}-{hashlib.sha256(content).hexdigest()}.safetensors"
    path.write_bytes(content)
    return path


def test_unpacked_state_equals_the_packed_one_with_the_types_of_its_keys() -> None:
    assert same(STATE, unpack(pack(STATE)))


def test_packing_another_type_than_tensors_and_plain_values_is_refused_with_its_path() -> None:
    with pytest.raises(TypeError, match=r"a\.1 is a set; a checkpoint holds tensors and plain values"):
        pack({"a": [1, {2}]})


def test_file_holds_json_and_tensors_and_no_pickle() -> None:
    assert b"pickle" not in pack(STATE)
    assert pack(STATE)[8:9] == b"{"  # a safetensors header: JSON


def test_newest_checkpoint_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "a")
    assert checkpoints.load_latest() is None
    for step in (1, 2, 10):
        checkpoints.save(step, {"step": step})
    assert checkpoints.load_latest() == {"step": 10}
    assert [p.name[:12] for p in sorted((tmp_path / "a").iterdir())] == ["000000000002", "000000000010"]


@pytest.mark.parametrize("kind", ["cut", "flip", "empty"])
def test_older_checkpoint_is_loaded_where_the_newest_is_damaged(kind: str, tmp_path: Path) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    checkpoints.save(1, STATE)
    checkpoints.save(2, STATE | {"more": 1})
    newest = max(tmp_path.iterdir())
    damage(newest, kind)
    state = checkpoints.load_latest()
    assert state is not None
    assert same(STATE, state)
    assert messages == [
        f"checkpoint {newest} is damaged (its content does not match the SHA-256 in its name); "
        f"it is set aside as {newest.name}.damaged until the training has ended",
        "training resumes from an older checkpoint, at step 1",
    ]


def test_damage_to_all_checkpoints_is_reported_as_a_start_from_step_0(tmp_path: Path) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    for path in list(tmp_path.iterdir()):
        damage(path, "flip")
    assert checkpoints.load_latest() is None
    assert ["is damaged" in message for message in messages] == [True, True, False]
    assert messages[-1] == f"no undamaged checkpoint is left in {tmp_path}; training starts again from step 0"


def test_damaged_checkpoints_do_not_take_the_place_of_new_ones(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(step, {"step": step})
    for path in list(tmp_path.iterdir()):
        damage(path, "cut")
    assert checkpoints.load_latest() is None
    for step in (1, 2, 3):  # lower steps than those of the damaged files
        checkpoints.save(step, {"step": step})
    assert checkpoints.load_latest() == {"step": 3}
    assert sorted((p.name[:12], p.suffix) for p in tmp_path.iterdir()) == [
        ("000000000002", ".safetensors"),
        ("000000000003", ".safetensors"),
        ("000000000010", ".damaged"),
        ("000000000020", ".damaged"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        save({}),  # no metadata
        save({}, {"other": "1"}),
        save({}, {"state": "not JSON"}),
        save({}, {"state": "[" * 100_000}),
        save({}, {"state": json.dumps({"tensor": "0"})}),  # no such tensor
        save({}, {"state": json.dumps({"dict": 1})}),
        save({}, {"state": json.dumps({"dict": [], "list": []})}),
        save({}, {"state": json.dumps({"set": []})}),
        save({}, {"state": json.dumps({"list": []})}),
        save({}, {"state": json.dumps({"dict": [[{}, 1]]})}),
    ],
    ids=range(14),
)
def test_whole_file_that_cannot_be_unpacked_counts_as_damaged(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedCheckpointError):
        unpack(content)
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    checkpoints.save(1, {"step": 1})
    path = write_whole(tmp_path, 2, content)
    assert checkpoints.load_latest() == {"step": 1}
    assert messages[0].startswith(f"checkpoint {path} is damaged (it ")
    assert not path.exists()


def test_damaged_checkpoint_in_a_folder_that_cannot_be_changed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    checkpoints.save(1, {"step": 1})
    write_whole(tmp_path, 2, b"")

    def refuse(source: Path, target: Path) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    assert checkpoints.load_latest() == {"step": 1}
    assert messages[0].endswith("and cannot be renamed (Read-only file system)")


def test_checkpoint_that_cannot_be_read_now_is_passed_over_and_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    newest = max(tmp_path.iterdir())
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == newest:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        assert checkpoints.load_latest() == {"step": 1}
    assert messages[0] == f"checkpoint {newest} cannot be read (Stale file handle)"
    assert checkpoints.load_latest() == {"step": 2}


def test_full_disk_costs_one_checkpoint_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    checkpoints = Checkpoints(tmp_path, warn=messages.append)
    checkpoints.save(1, {"step": 1})

    def full(number: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    checkpoints.save(2, {"step": 2})
    assert messages == ["no checkpoint at step 2 (No space left on device); the one before it is kept"]
    assert checkpoints.load_latest() == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_checkpoint_is_due_after_the_interval_or_sooner_at_the_end_of_an_epoch_or_on_a_stop(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, interval=0.0).is_due(epoch_ends=False)
    stop = Stop()
    checkpoints = Checkpoints(tmp_path, interval=1000.0, stop=stop)
    checkpoints._last_save -= 300
    assert not checkpoints.is_due(epoch_ends=False)
    assert checkpoints.is_due(epoch_ends=True)
    checkpoints.save(1, {})
    assert not checkpoints.is_due(epoch_ends=True)
    stop._number = 15
    assert checkpoints.is_due(epoch_ends=False)
    with pytest.raises(Stopped):
        checkpoints.save(2, {"saved": True})
    assert checkpoints.load_latest() == {"saved": True}


OURS, OTHERS = {"method": "sha256:1", "encoder": "sha256:2"}, {"method": "sha256:3", "encoder": "sha256:2"}


def test_checkpoints_of_other_code_are_kept_and_not_loaded(tmp_path: Path) -> None:
    messages: list[str] = []
    ours = Checkpoints(tmp_path, warn=messages.append, sources=OURS)
    others = Checkpoints(tmp_path, sources=OTHERS)
    for step in (10, 20):
        others.save(step, {"step": step, "sources": OTHERS})
    assert ours.load_latest() is None
    assert messages == [
        f"the checkpoints in {tmp_path} are of other code (method); training starts again from step 0 "
        "(--resume-anyway goes on from them)"
    ]
    for step in (1, 2, 3):  # lower steps than those of the other code
        ours.save(step, {"step": step, "sources": OURS})
    assert [path.name[:12] for path in sorted(tmp_path.iterdir())] == [
        "000000000002", "000000000003", "000000000010", "000000000020",
    ]  # fmt: skip
    assert ours.load_latest() == {"step": 3, "sources": OURS}
    assert others.load_latest() == {"step": 20, "sources": OTHERS}
    anyway = Checkpoints(tmp_path, warn=messages.append, sources=OURS, resume_anyway=True)
    assert anyway.load_latest() == {"step": 20, "sources": OTHERS}
    assert len(messages) == 1


def test_checkpoints_that_do_not_name_their_code_are_loaded(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(5, {"step": 5})  # as older versions write them
    assert Checkpoints(tmp_path, sources=OURS).load_latest() == {"step": 5}
    Checkpoints(tmp_path, sources=OURS).save(6, {"step": 6})
    assert Checkpoints(tmp_path).load_latest() == {"step": 6}  # and where the code cannot be read
