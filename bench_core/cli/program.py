"""Runs `bench` as a program of its own: nothing that happens to its output can end or spoil the work.

    exit_code = run_as_program(lambda: main.main())

Stdout belongs to `bench_core.output.say`; whatever else is printed, by Python or not, goes to stderr. A stream that was
closed when the program began leads nowhere. What cannot be written is passed over; if it was on stdout because a disk
is full, the exit code is 1 at the end. Log lines, warnings and tracebacks, which may hold names of strangers' files,
are printed as `say` prints.
"""

import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

from bench_core.output import SteadyStream, printable, say


def run_as_program(main: Callable[[], object]) -> int | str | None:
    """Call a function that ends with SystemExit, and return the exit code. What it changes in the process stays so."""
    _open_standard_descriptors()
    out = SteadyStream(_own_stdout())
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, SteadyStream(sys.stderr))
    _print_safely()
    try:
        main()
        code: int | str | None = 0
    except SystemExit as end:
        code = end.code
    sys.stdout = sys.stderr  # for what others print when the process ends
    gc.freeze()  # so that Python does not search all that a large store became for cycles, once more, when it ends
    if out.error is not None and not code:
        say(f"Error: stdout: {out.error.strerror}. Output is missing; what was finished is kept.", err=True)
        return 1
    return code


def _own_stdout() -> TextIO | None:
    """Return a stream on stdout that nobody else has, and lead descriptor 1 to stderr.

    So JSON stays JSON where a plugin's C code or its child processes print.
    """
    try:
        if sys.stdout is None or sys.stdout.fileno() != 1:
            return sys.stdout
    except OSError:  # no file of the system, such as a StringIO
        return sys.stdout
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def _open_standard_descriptors() -> None:
    """Open descriptors 0, 1 and 2 where they were closed, and let writes to them wait.

    Otherwise the next files that are opened, records among them, would get these numbers, and would receive what a
    library or another process prints.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number
        with suppress(OSError, AttributeError):  # Windows before Python 3.12 cannot set it
            os.set_blocking(descriptor, True)


def _print_safely() -> None:
    """Print log lines, warnings and tracebacks with control characters spelled out."""
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(_LogHandler(logging.WARNING))
    show = warnings.formatwarning
    warnings.formatwarning = lambda *warning: printable(show(*warning))
    sys.excepthook = _print_traceback


class _LogHandler(logging.Handler):
    """Prints the message of a log record on stderr, as Python does where no handler is set up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            say(self.format(record), err=True)
        except Exception:
            self.handleError(record)


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
    say("".join(traceback.format_exception(kind, error, trace)), err=True, nl=False)
