"""One command: started in a process group of its own, watched, and ended as a whole."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import IO

from bench_core.errors import RequestError

GRACE_S = 60.0  # to finish the step under way and write a checkpoint
_TAIL = 60
LOOK_S = 0.05  # between two looks at a process


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


class Child:
    """A command in a process group of its own, which ends as a whole: nothing that it started stays behind."""

    def __init__(
        self,
        command: Sequence[str],
        say: Callable[[str], None],
        limit: float | None = None,
        grace: float = GRACE_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            command: Its stdin is a pipe that closes when this process is no more, see `leave_with_parent`.
            say: Gets what the command prints, line by line, in a thread of its own.
            limit: Seconds; then it gets SIGTERM, so that it saves where it stands, and SIGKILL after the grace.
            grace: Seconds.
            environment: Over this process's.

        Raises:
            RequestError: The system has no process groups.
        """
        if not hasattr(os, "killpg"):
            raise RequestError("this system has no process groups; run without --isolate and --jobs.")
        self._limit, self._grace = limit, grace
        self._began, self._late, self._until = time.monotonic(), False, float("inf")
        self._tail: deque[str] = deque(maxlen=_TAIL)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self._reader = Thread(target=_read, args=(self._process.stdout, self._tail, say), daemon=True)
        self._reader.start()

    def look(self, stop: bool) -> Ended | None:
        """How it ended, or None while it runs; to be asked every `LOOK_S`.

        Args:
            stop: It shall stop: it is told so, and gets the grace.
        """
        if self._process.poll() is not None:
            self.end()
            return Ended(self._process.returncode, self._late, time.monotonic() - self._began, list(self._tail))
        now = time.monotonic()
        self._late = self._late or (self._limit is not None and now - self._began > self._limit and not stop)
        if self._until == float("inf") and (self._late or stop):
            self._process.terminate()  # it alone: its readers of data must serve the step under way
            self._until = now + self._grace
        if now > self._until:
            _kill(self._process)
        return None

    def end(self) -> None:
        """At once, with all that it started."""
        assert self._process.stdin is not None  # a pipe
        _kill(self._process)
        self._process.wait()
        self._process.stdin.close()
        self._reader.join(timeout=5)


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
            with suppress(OSError):  # a log on a full disk, a terminal that is gone: the command must not wait or fail
                say(tail[-1])


def _kill(process: subprocess.Popen[str]) -> None:
    """The whole group, what outlived its leader, too."""
    with suppress(ProcessLookupError, PermissionError):  # all gone; macOS says so in its own way
        os.killpg(process.pid, signal.SIGKILL)
