"""Checkpoint files of a training: written whole, checked when they are read.

A checkpoint is a safetensors file, for example `000000000390-9c1e...-3f2a....safetensors`: step, code and SHA-256 of
the content are its name, tensors are stored by name, all else as JSON in the header. Nothing in it is ever executed. It
is written under a temporary name, synced and renamed, and the last two are kept, so that a damaged one costs a few
minutes: the one before it is loaded, and the damaged file is renamed to `*.safetensors.damaged`.

Checkpoints of other code are neither loaded, unless that is asked for, nor deleted before the training has ended: an
author who takes an edit back goes on from them.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench_core.files import files_below, move, write_bytes
from bench_core.keys import key_of
from bench_core.store.record_schema import is_sources
from bench_core.training.stopping import Stop

_NAME = re.compile(r"\d{12}-(?P<code>[0-9a-f]{16}-)?[0-9a-f]{64}\.safetensors")  # older ones do not name their code
_NUM_KEPT = 2
_EPOCH_END_SHARE = 0.25  # an epoch's end is a good moment to save: a quarter of the interval is enough there


class DamagedCheckpointError(Exception):
    """The content of a checkpoint file is not what was written to it, or cannot be unpacked."""


class Checkpoints:
    """The checkpoints of one training, in a folder that holds nothing else."""

    def __init__(
        self,
        folder: Path,
        interval: float = 120.0,
        stop: Stop | None = None,
        warn: Callable[[str], None] = lambda text: None,
        *,
        sources: Mapping[str, str] | None = None,
        resume_anyway: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Name the folder; nothing is written before `save`.

        Args:
            folder: Where the files are. Two processes may train the same chain in it, one of which only slept: their
                files are equal, and the newest ones are kept.
            interval: Seconds between two checkpoints, >= 0.
            stop: Once a stop is requested a checkpoint is due after the next step, and `save` raises Stopped.
            warn: Called with a line of text where a checkpoint cannot be written, is damaged, is of other code, or is
                where a training goes on.
            sources: Part of the training ("method") -> digest of its code; without them all checkpoints are loaded.
            resume_anyway: Whether checkpoints of other code are loaded, too.
            check: Called after each step and before a checkpoint is written. It raises where this process shall not go
                on, because another one has taken over; then nothing is written.
        """
        self.folder, self.interval, self.stop, self.warn = folder, interval, stop or Stop(), warn
        self.sources, self.resume_anyway, self.check = dict(sources or {}), resume_anyway, check
        self._code = f"{key_of(self.sources)[:16]}-" if self.sources else ""
        self._last_save = time.monotonic()

    def is_due(self, epoch_ends: bool) -> bool:
        """Return True if it is time to save: the interval is over, or a stop is requested."""
        seconds = time.monotonic() - self._last_save
        share = _EPOCH_END_SHARE if epoch_ends else 1.0
        return self.stop.is_requested() or seconds >= self.interval * share

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint and delete all of this code but the newest two.

        Where it cannot be written (the disk is full), the training goes on and the checkpoints before it are kept.

        Args:
            step: Batches done.
            state: The state that `load_latest` shall return: nested dicts and lists of tensors, text, numbers, bool and
                None. Keys are text or whole numbers.

        Raises:
            Stopped: A stop was requested.
        """
        content = pack(state)
        self.check()
        target = self.folder / f"{step:012d}-{self._code}{hashlib.sha256(content).hexdigest()}.safetensors"
        try:
            write_bytes(target, content)
        except OSError as error:
            self.warn(f"no checkpoint at step {step} ({error.strerror}); the one before it is kept")
        else:
            with suppress(OSError):  # an old one that cannot be deleted stays, and does no harm
                for old in list(filter(self._is_of_this_code, self._newest_first()))[_NUM_KEPT:]:
                    old.unlink(missing_ok=True)
        self._last_save = time.monotonic()
        self.stop.raise_if_requested()

    def load_latest(self) -> dict[str, Any] | None:
        """Return the state in the newest undamaged checkpoint of this code, or None if there is none.

        A damaged file gets another name, so that it no longer counts as one of the two that are kept.
        """
        any_damaged = False
        paths = self._newest_first()
        usable = [path for path in paths if self.resume_anyway or self._is_of_this_code(path)]
        for path in usable:
            try:
                state = _read(path)
            except FileNotFoundError:  # another process that trains the same chain deleted it in the meantime
                continue
            except OSError as error:  # a fault of the disk or the network, which may pass: the file keeps its name
                any_damaged = True
                self.warn(f"checkpoint {path} cannot be read ({error.strerror})")
                continue
            except DamagedCheckpointError as error:
                any_damaged = True
                self._set_aside(path, error)
                continue
            if any_damaged:
                self.warn(f"training resumes from an older checkpoint, at step {int(path.name[:12])}")
            return state
        if any_damaged:
            self.warn(f"no undamaged checkpoint is left in {self.folder}; training starts again from step 0")
        elif paths and not usable:
            self.warn(
                f"the checkpoints in {self.folder} are of other code{self._which_parts(paths[0])}; training starts "
                "again from step 0 (--resume-anyway goes on from them)"
            )
        return None

    def _is_of_this_code(self, path: Path) -> bool:
        """Return True unless the name of a checkpoint says that it is of other code."""
        match = _NAME.fullmatch(path.name)
        return match is not None and (not self._code or match["code"] in (None, self._code))

    def _which_parts(self, path: Path) -> str:
        """Name the parts of which the code of a checkpoint differs, for a message; "" where it cannot be read."""
        try:
            theirs = _read(path).get("sources") or {}
        except (OSError, DamagedCheckpointError):
            return ""
        if not is_sources(theirs):
            return ""
        parts = [name for name in {**self.sources, **theirs} if self.sources.get(name) != theirs.get(name)]
        return f" ({', '.join(parts)})" if parts else ""

    def _set_aside(self, path: Path, error: Exception) -> None:
        """Rename a damaged checkpoint so that it is not listed any more."""
        target = path.with_name(f"{path.name}.damaged")
        try:
            move(path, target)
        except OSError as failure:
            self.warn(f"checkpoint {path} is damaged ({error}) and cannot be renamed ({failure.strerror})")
        else:
            self.warn(
                f"checkpoint {path} is damaged ({error}); it is set aside as {target.name} until the training has ended"
            )

    def _newest_first(self) -> list[Path]:
        paths = files_below(self.folder, ".safetensors")
        return [path for path in reversed(paths) if _NAME.fullmatch(path.name)]


def pack(state: Mapping[str, Any]) -> bytes:
    """Return a nested state as the content of a safetensors file.

    Raises:
        TypeError: A value is neither a tensor nor plain; the message says where it is.
    """
    tensors: dict[str, Tensor] = {}
    plain = _to_plain(state, "", tensors)
    return save(tensors, {"state": json.dumps(plain)})


def unpack(content: bytes) -> dict[str, Any]:
    """Return the state that `pack` was given; tensors on the CPU, tuples as lists.

    Raises:
        DamagedCheckpointError: `pack` cannot have written this content.
    """
    try:
        header_size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + header_size])
        plain = json.loads(header["__metadata__"]["state"])
        state = _from_plain(plain, load(content))
    except (SafetensorError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise DamagedCheckpointError(f"it cannot be unpacked: {type(error).__name__}: {error}") from error
    if not isinstance(state, dict):
        raise DamagedCheckpointError(f"it holds a {type(state).__name__} instead of a dict")
    return state


def _read(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint file; DamagedCheckpointError if the file is not what was written."""
    content = path.read_bytes()
    if f"-{hashlib.sha256(content).hexdigest()}." not in path.name:
        raise DamagedCheckpointError("its content does not match the SHA-256 in its name")
    return unpack(content)


def _to_plain(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON can hold it, and move its tensors into `tensors`.

    A container or tensor becomes an object with one tag, for example `{"dict": [[3, {"tensor": "0"}]]}`: JSON's own
    objects would turn the key 3 into text.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _to_plain(item, f"{where}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_to_plain(item, f"{where}.{index}", tensors) for index, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where.lstrip('.')} is a {type(value).__name__}; a checkpoint holds tensors and plain values")


def _from_plain(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `_to_plain` was given."""
    if not isinstance(plain, dict):
        return plain
    ((tag, content),) = plain.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "dict":
        return {key: _from_plain(item, tensors) for key, item in content}
    if tag == "list":
        return [_from_plain(item, tensors) for item in content]
    raise ValueError(f"unknown tag {tag!r}")
