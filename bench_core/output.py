r"""The one place that writes to the terminal, and that makes cells for spreadsheets.

    say("3 records copied")              a line on stdout
    say("nothing to retry", err=True)    a line on stderr
    cell("=1+1")                         "'=1+1", which a spreadsheet shows and does not calculate

Text may come from a stranger's record or plugin. So control characters, which could move the cursor or recolour the
terminal, are written as `\x1b`; what the terminal's encoding lacks becomes `?`. A reader that has gone away is no
error: the work goes on without it.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # https://owasp.org/www-community/attacks/CSV_Injection
_NUMBER = r"[+-]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_IS_NUMBER = re.compile(rf"{_NUMBER}(?: ?± ?{_NUMBER})?")  # of a number, and of one with its interval

_own_stdout: list[TextIO] = []  # of the innermost `own_stdout`


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    r"""Write text to stdout or stderr.

    Args:
        text: One line or several. Control characters other than line ends are shown as `\x1b`.
        err: Write to stderr.
        nl: End with a line end.
    """
    stream = sys.stderr if err else _own_stdout[-1] if _own_stdout else sys.stdout
    write(printable(text) + ("\n" if nl else ""), stream)


def write(text: str, stream: "TextIO | None") -> None:
    """Write text to a stream as far as its encoding allows; write nothing where the stream is closed."""
    if stream is None or stream.closed:  # Python has no stream where the process began without one
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))  # one call: lines of processes do not mix
        stream.flush()
    except BrokenPipeError:
        _close(stream)


def printable(text: str) -> str:
    """Return text with its control characters spelled out; line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t\N{NO-BREAK SPACE}" else _spelled(c) for c in text)


def cell(value: Any) -> Any:
    """Return a value for a cell of a spreadsheet: text that would be taken for a formula gets a `'` in front.

    Numbers stay as they are, and so does text that is a number, or a number with its interval: "-3.2 ± 0.4".
    """
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not _IS_NUMBER.fullmatch(value):
        return f"'{value}"
    return value


@contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for `say`; what anybody else prints meanwhile, such as a plugin, goes to stderr."""
    _own_stdout.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _own_stdout.pop()


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _close(stream: TextIO) -> None:
    """Point a stream whose reader has gone away to nowhere, so that Python's own last flush is no error either."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # no file of the system, such as a StringIO
        pass
