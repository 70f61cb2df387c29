"""Stop signals: Ctrl-C, SIGTERM, and SIGUSR1 or SIGUSR2 that Slurm sends shortly before its time limit.

A signal raises `Stopped` at once, except in a block of `Stop.deferred()`. There it waits until the code calls
`raise_if_requested` (when a checkpoint was written after a training step) or the block ends. A second signal is never
deferred, but in a job of Slurm only a second Ctrl-C: Slurm may signal every process of the job, and each passes the
signal on to those that it started.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CALL_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: give the same command again, and it resumes
_JOB = "SLURM_JOB_ID"  # set in every process of a job
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class Stopped(BaseException):
    """Raised in a process that received a stop signal. `except Exception` does not catch it.

    Attributes:
        code: Exit code of the process: 130 after Ctrl-C, else `CALL_AGAIN`.
    """

    def __init__(self, number: int) -> None:
        """Build the exception of one signal.

        Args:
            number: Number of the signal, for example `signal.SIGTERM`.
        """
        super().__init__(signal.Signals(number).name)
        self.code = 130 if number == signal.SIGINT else CALL_AGAIN


class Stop:
    """Receives stop signals and defers them until a training step has ended."""

    def __init__(self) -> None:
        """Start without a request."""
        self._number: int | None = None
        self._deferred = False

    def is_requested(self) -> bool:
        """Return True once a stop signal was received."""
        return self._number is not None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer a signal that arrives in this block to the next `raise_if_requested`, or to the end of the block."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.raise_if_requested()

    def raise_if_requested(self) -> None:
        """Raise Stopped if a stop signal was received."""
        if self._number is not None:
            raise Stopped(self._number)

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Handle the stop signals in this block, and restore the handlers before it at the end.

        Python allows this only in the main thread of a process.
        """
        previous = {number: signal.signal(number, self.request) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def request(self, number: int, frame: FrameType | None = None) -> None:
        """Request a stop, as this signal does; the signature is that of a signal handler."""
        is_second = self._number is not None and (number == signal.SIGINT or _JOB not in os.environ)
        self._number = number
        if is_second or not self._deferred:
            self.raise_if_requested()
