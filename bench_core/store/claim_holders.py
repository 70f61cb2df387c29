"""The process that holds a claim: what its file says of it, and whether it is known to have ended."""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_START = 19  # place of the start time in /proc/PID/stat, counted from the state of the process
_NO_PROCESS = "no process"


@dataclass(frozen=True)
class Holder:
    """A process that holds a claim.

    Attributes:
        token: Text that belongs to this claim alone.
        host: Name of its machine.
        pid: Number of the process there.
        machine: Names this boot of the machine and the numbering of its processes; "" where that is not known.
        started: Start of the process in the kernel's count, so that another process of its number is not taken for it.
        since: When it claimed, by its own clock.
        command: What was typed; for people.
        beat_s: Seconds between two of its beats.
        beat: Date of its last beat by the clock of the file's machine, in nanoseconds. It is only compared with itself.
        is_replaced: Whether another process says that it has taken over.
    """

    token: str
    host: str = ""
    pid: int = 0
    machine: str = ""
    started: str = ""
    since: str = ""
    command: str = ""
    beat_s: float = 0.0
    beat: int = 0
    is_replaced: bool = False

    @property
    def words(self) -> str:
        """Name the process for people: "process 4711 on node3"."""
        return f"process {self.pid} on {self.host}" if self.host else "a process that its claim does not name"

    def is_this_process(self) -> bool:
        """Return whether it is the process that asks."""
        here = (socket.gethostname(), os.getpid(), this_machine(), process_start(os.getpid()))
        return (self.host, self.pid, self.machine, self.started) == here

    def is_dead(self) -> bool:
        """Return True if the process is known to have ended; False also where nobody here can know."""
        if not self.machine or self.machine != this_machine():
            return False
        found = process_start(self.pid)
        return found == _NO_PROCESS or bool(found and self.started and found != self.started)


def describe_this_process(token: str, since: str, command: str, beat_s: float) -> dict[str, Any]:
    """Return what the file of a claim of this process holds."""
    pid = os.getpid()
    return {
        "token": token,
        "host": socket.gethostname(),
        "pid": pid,
        "machine": this_machine(),
        "started": process_start(pid),
        "since": since,
        "command": command,
        "beat_s": beat_s,
    }


def parse_holder(content: bytes, beat: int) -> Holder:
    """Read the file of a claim. One that is damaged names nobody, and its digest is its token."""
    text = content.decode("utf-8", "replace")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        value, end = None, len(text)
    if not isinstance(value, Mapping) or not _is_whole(value):
        return Holder(sha256(content).hexdigest()[:32], beat=beat)
    fields = {name: value[name] for name in ("token", "host", "pid", "machine", "started", "since", "command")}
    return Holder(**fields, beat_s=float(value["beat_s"]), beat=beat, is_replaced=bool(text[end:].strip()))


def _is_whole(value: Mapping[str, Any]) -> bool:
    """Return whether the object of a file has every field, and a token that can be part of a file's name."""
    texts = all(isinstance(value.get(name), str) for name in ("host", "machine", "started", "since", "command"))
    token, pid, beat_s = (value.get(name) for name in ("token", "pid", "beat_s"))
    return (
        texts
        and isinstance(token, str)
        and token.isalnum()
        and len(token) <= 64
        and isinstance(pid, int)
        and isinstance(beat_s, int | float)
        and 0 <= beat_s < 1e9
    )


@cache
def this_machine() -> str:
    """Return the id of this boot and of the numbering of processes that this one sees; "" where there is none.

    Containers of one machine share its boot, and each may number its processes from 1.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def process_start(pid: int) -> str:
    """Return when a process of this machine started, in the kernel's count.

    Returns:
        "no process" if there is none, or if it has ended and waits for its parent; "" where that cannot be known.
    """
    if not this_machine():  # a system without /proc
        return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)  # sends nothing; it finds processes of other users that /proc may hide
        except ProcessLookupError:
            return _NO_PROCESS
        except (OSError, OverflowError):
            return ""
        return ""
    return _NO_PROCESS if fields[0] in "ZX" else fields[_START]
