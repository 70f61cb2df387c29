"""Being told to stop: Ctrl-C, SIGTERM, and Slurm's SIGUSR1 shortly before its limit.

While a training holds its breath (a step is under way) a signal waits for the step's end, so that what is saved is
whole; at any other moment it is raised at once. The second signal is never held.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CALL_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command goes on from here
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Stopped(BaseException):
    """The process was told to stop; no `except Exception` holds it.

    Attributes:
        code: What the process leaves with: 130 after Ctrl-C, else `CALL_AGAIN`.
    """

    def __init__(self, number: int) -> None:
        """Name the signal."""
        super().__init__(signal.Signals(number).name)
        self.code = 130 if number == signal.SIGINT else CALL_AGAIN


class Stop:
    """Whether the process was told to stop."""

    def __init__(self) -> None:
        """Nobody has said anything."""
        self._number: int | None = None
        self._held = False

    def asked(self) -> bool:
        """Whether somebody has."""
        return self._number is not None

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal in here waits for `check` or the end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self.check()

    def check(self) -> None:
        """Raise Stopped if the process was told to stop."""
        if self._number is not None:
            raise Stopped(self._number)

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Catch the signals, and give them back at the end; only in the main thread of a process."""
        before = {number: signal.signal(number, self.ask) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def ask(self, number: int, frame: FrameType | None = None) -> None:
        """Tell the process to stop, as this signal does."""
        second = self._number is not None
        self._number = number
        if second or not self._held:
            self.check()
