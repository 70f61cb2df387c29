"""One command: started in a process group of its own, watched, and ended as a whole."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import IO

from bench_core.errors import RequestError
from bench_core.stopping import Stop

GRACE_S = 60.0  # to finish the step under way and write a checkpoint
_TAIL = 60
_LOOK_S = 0.05


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; of a signal, that is below 0.
        late: It was still running at its limit.
        seconds: It ran.
        said: Its last lines.
    """

    code: int
    late: bool
    seconds: float
    said: Sequence[str]


def watch(
    command: Sequence[str],
    stop: Stop,
    say: Callable[[str], None],
    limit: float | None = None,
    grace: float = GRACE_S,
) -> Ended:
    """Run a command until it ends, is late, or this process is told to stop; nothing that it started stays behind.

    Args:
        command: Its stdin is a pipe that closes when this process is no more, see `leave_with_parent`.
        stop: Once it is asked, the command is told so, and gets the grace.
        say: Gets what the command prints, line by line.
        limit: Seconds; then it gets SIGTERM, so that it saves where it stands, and SIGKILL after the grace.
        grace: Seconds.

    Raises:
        Stopped: This process was told to stop.
        RequestError: The system has no process groups.
    """
    if not hasattr(os, "killpg"):
        raise RequestError("this system has no process groups; run without --isolate.")
    began, late, until = time.monotonic(), False, float("inf")
    tail: deque[str] = deque(maxlen=_TAIL)
    with stop.held():
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018  # both are pipes
        reader = Thread(target=_read, args=(process.stdout, tail, say), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                now = time.monotonic()
                late = late or (limit is not None and now - began > limit and not stop.asked())
                if until == float("inf") and (late or stop.asked()):
                    process.terminate()  # it alone: its readers of data must serve the step under way
                    until = now + grace
                if now > until:
                    _kill(process)
                time.sleep(_LOOK_S)
        finally:
            _kill(process)
            process.wait()
            process.stdin.close()
            reader.join(timeout=5)
    return Ended(process.returncode, late, time.monotonic() - began, list(tail))


def leave_with_parent() -> None:
    """Tell this process to stop once the one that watches it is no more: nobody else would end it."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return  # nobody does; somebody typed the command

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=wait, daemon=True).start()


def itself() -> list[str]:
    """How this program is started anew, with a traceback of what crashes below Python.

    `python -m` looks for modules in the current folder first, the program `bench` does not; what starts anew looks
    where this process looks.
    """
    here = sys.path[:1] in ([""], [os.getcwd()])
    return [sys.executable, *([] if here else ["-P"]), "-X", "faulthandler", "-m", "bench_core"]


def _read(lines: IO[str], tail: deque[str], say: Callable[[str], None]) -> None:
    with lines:
        for line in lines:
            tail.append(line.rstrip("\n"))
            say(tail[-1])


def _kill(process: subprocess.Popen[str]) -> None:
    """The whole group, what outlived its leader, too."""
    with suppress(ProcessLookupError, PermissionError):  # all gone; macOS says so in its own way
        os.killpg(process.pid, signal.SIGKILL)
