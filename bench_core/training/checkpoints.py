"""Checkpoints: where a training stands, in one file that proves itself.

A checkpoint is a safetensors file: tensors by name, all else as JSON in its header; nothing in it is ever executed. It
is named after its step and the SHA-256 of its content, written beside, synced and renamed, and the last two are kept:
one that is torn, cut or damaged is not taken, and the one before it serves.
"""

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from bench_core.training.stopping import Stop

_NAME = re.compile(r"(\d{12})-([0-9a-f]{64})\.safetensors")
_KEPT = 2
_EPOCH_PART = 0.25  # of the interval: an epoch's end is a good moment once so much of it has passed


class Checkpoints:
    """The checkpoints of one training, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        every: float = 120.0,
        stop: Stop | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Nothing is written before `save`.

        Args:
            folder: Theirs alone; any number of processes may train the same chain in it.
            every: Seconds between two, >= 0.
            stop: Once somebody told the process to stop, the end of the next step is due, and `save` leaves.
            say: Told what could not be written, or is damaged.
        """
        self.folder, self.every, self.stop, self.say = folder, every, stop or Stop(), say
        self._last = time.monotonic()

    def due(self, epoch_ends: bool) -> bool:
        """Whether it is time for one."""
        passed = time.monotonic() - self._last
        return self.stop.asked() or passed >= self.every * (_EPOCH_PART if epoch_ends else 1.0)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write one. A full disk costs this checkpoint, not the training.

        Args:
            step: Batches done.
            state: Of dicts with text or whole numbers as keys, lists, tensors, text, numbers, bool and None.

        Raises:
            Stopped: The process was told to stop.
        """
        content = pack(state)
        target = self.folder / f"{step:012d}-{hashlib.sha256(content).hexdigest()}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(target, content)
        except OSError as error:
            self.say(f"no checkpoint at step {step} ({error.strerror}); the one before it is kept")
        else:
            for old in self._files()[_KEPT:]:
                old.unlink(missing_ok=True)
        self._last = time.monotonic()
        self.stop.check()

    def latest(self) -> dict[str, Any] | None:
        """What the newest good one holds; None where there is none."""
        for path in self._files():
            try:
                content = path.read_bytes()
            except OSError as error:
                self.say(f"checkpoint {path} cannot be read ({error.strerror}); an older one serves")
                continue
            if f"-{hashlib.sha256(content).hexdigest()}." in path.name:
                return unpack(content)
            self.say(f"checkpoint {path} is damaged; an older one serves")
        return None

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted((p for p in self.folder.glob("*.safetensors") if _NAME.fullmatch(p.name)), reverse=True)


def pack(state: Mapping[str, Any]) -> bytes:
    """A nested state as a safetensors file.

    Raises:
        TypeError: Something in it is neither tensor nor plain; says where.
    """
    tensors: dict[str, Tensor] = {}
    plain = _plain(state, "", tensors)
    return save(tensors, {"state": json.dumps(plain)})


def unpack(content: bytes) -> dict[str, Any]:
    """What `pack` was given; tensors on the CPU, tuples as lists."""
    size = int.from_bytes(content[:8], "little")
    plain = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["state"])
    state: dict[str, Any] = _nested(plain, load(content))
    return state


def _plain(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """Containers and tensors as objects of one tag, so that keys stay what they are."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _plain(item, f"{where}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_plain(item, f"{where}.{place}", tensors) for place, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where.lstrip('.')} is a {type(value).__name__}; a checkpoint holds tensors and plain values")


def _nested(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((tag, held),) = plain.items()
    if tag == "tensor":
        return tensors[held]
    if tag == "dict":
        return {key: _nested(item, tensors) for key, item in held}
    return [_nested(item, tensors) for item in held]


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and on the disk before it has its name."""
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
