"""A command in its own process group: started, watched, and ended together with all processes that it started."""

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

GRACE_S = 60.0  # time to finish the current step and write a checkpoint
POLL_S = 0.05  # between two looks at a process
_STARTED = "BENCH_STARTED_BY"  # set in a process that another of ours has started with a pipe as its stdin
_LAST_LINES = 120  # from Python 3.14 on a fatal error prints the stack of C below that of Python


@dataclass(frozen=True)
class Ended:
    """The end of a process.

    Attributes:
        code: Exit code; minus the number of the signal if a signal ended it.
        timed_out: True if it was still running at its time limit.
        seconds: Time that it ran.
        last_lines: The last 120 lines that it printed, stdout and stderr together.
    """

    code: int
    timed_out: bool
    seconds: float
    last_lines: Sequence[str]


class ChildProcess:
    """A running command in its own process group, so that ending it ends all processes that it started."""

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        time_limit: float | None = None,
        grace: float = GRACE_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the command.

        Args:
            command: Program and arguments. Its stdin is a pipe that closes when this process ends, see
                `leave_with_parent`.
            on_line: Called with each line that the command prints, in a thread of its own.
            time_limit: Seconds that it may run; None is no limit. At the limit it gets SIGTERM, so that it can save a
                checkpoint, and SIGKILL after the grace.
            grace: Seconds from SIGTERM to SIGKILL.
            environment: Variables that are added to those of this process, or replace them.

        Raises:
            RequestError: The system has no process groups (Windows).
        """
        if not hasattr(os, "killpg"):
            raise RequestError("this system has no process groups; run without --isolate and --jobs.")
        self._time_limit, self._grace = time_limit, grace
        self._began = time.monotonic()
        self._timed_out = False
        self._kill_at = float("inf")
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            # The encoding is that of names in its lines.
            env={**os.environ, "PYTHONIOENCODING": "utf-8", **(environment or {}), _STARTED: str(os.getpid())},
        )
        self._reader = Thread(target=_read_lines, args=(self._process.stdout, self._last_lines, on_line), daemon=True)
        self._reader.start()

    def poll(self, stop: bool) -> Ended | None:
        """Return how the process ended, or None while it runs; send signals that are due. Call it every `POLL_S`.

        Args:
            stop: True if the process shall stop. It gets SIGTERM once, and SIGKILL after the grace.
        """
        if self._process.poll() is not None:
            self.kill()
            seconds = time.monotonic() - self._began
            return Ended(self._process.returncode, self._timed_out, seconds, list(self._last_lines))
        now = time.monotonic()
        if self._time_limit is not None and now - self._began > self._time_limit and not stop:
            self._timed_out = True
        if self._kill_at == float("inf") and (self._timed_out or stop):
            self._process.terminate()  # not the group: its data workers must serve the current step until it ends
            self._kill_at = now + self._grace
        if now > self._kill_at:
            _kill_group(self._process)
        return None

    def kill(self) -> None:
        """End the process and all that it started, without grace, and wait until its output is read."""
        assert self._process.stdin is not None  # a pipe
        _kill_group(self._process)
        self._process.wait()
        self._process.stdin.close()
        self._reader.join(timeout=5)


def leave_with_parent() -> None:
    """Send SIGTERM to this process when the process that started it ends, for then nothing else would end it.

    Does nothing if somebody typed the command, or a scheduler started it: the pipe at its stdin is then not ours.
    """
    if _STARTED not in os.environ or not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def wait_for_parent() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=wait_for_parent, daemon=True).start()


def restart_command() -> list[str]:
    """Return the command that starts this program again, with a traceback if it crashes below Python.

    `python -m` looks for modules in the current folder first; the program `bench` does not. The new process looks where
    this process looks.
    """
    current_folder_first = sys.path[:1] in ([""], [os.getcwd()])
    safe_path = [] if current_folder_first else ["-P"]
    return [sys.executable, *safe_path, "-X", "faulthandler", "-m", "bench_core"]


def _read_lines(lines: IO[str], last_lines: deque[str], on_line: Callable[[str], None]) -> None:
    """Read all output of a command, keep its last lines, and pass on every line."""
    with lines:
        for line in lines:
            last_lines.append(line.rstrip("\n"))
            with suppress(OSError):  # a full disk or a closed terminal must not make the command wait or fail
                on_line(last_lines[-1])


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Send SIGKILL to a process and all that it started, also to those that live on after it has ended."""
    with suppress(ProcessLookupError, PermissionError):  # none is left; on macOS that is a PermissionError
        os.killpg(process.pid, signal.SIGKILL)
