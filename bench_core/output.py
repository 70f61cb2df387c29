r"""The one place that writes to the terminal, and that makes comma-separated values for spreadsheets.

    say("3 records copied")              a line on stdout
    say("nothing to retry", err=True)    a line on stderr
    csv_text([["=1+1", -0.5]])           "'=1+1,-0.5\n", which a spreadsheet shows and does not calculate

Text may come from a stranger's record or plugin. So control characters, which could move the cursor or recolour the
terminal, are written as `\u001b`; what the terminal's encoding lacks becomes `?`. Text that cannot be written ends no
work: `write` returns the error, and the command line ends with exit code 1 if it was on stdout (`cli/program.py`).
"""

import errno
import io
import json
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import lru_cache
from typing import Any, BinaryIO, TextIO

# https://owasp.org/www-community/attacks/CSV_Injection names all but the last, which ASVS 1.2.10 adds.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "\0")  # noqa: RUF001  # wide ones are meant
_NUMBER = r"[+-]?(?:\d[\d,]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_IS_SCORE = re.compile(  # -3.2, or as a table shows it: -3.2 ± 0.4, -3.2 [-3.9, -2.5] (2 of 5 seeds) †, -3.2 (stale)
    rf"{_NUMBER}(?: ?± ?{_NUMBER}| \[{_NUMBER}, {_NUMBER}\])?(?: \(\d+ of \d+ seeds\)| \(stale\))?(?: †)?"
)
_NEEDS_QUOTES = re.compile('[",\r\n]')

_own_stdout: list[TextIO] = []  # of the innermost `own_stdout`


# ------------------------------------------------------------------------------------------------- terminal


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    r"""Write text to stdout or stderr.

    Args:
        text: One line or several. Control characters other than line ends are shown as `\u001b`.
        err: Write to stderr.
        nl: End with a line end.
    """
    stream = sys.stderr if err else _own_stdout[-1] if _own_stdout else sys.stdout
    write(printable(text) + ("\n" if nl else ""), stream)


def write(text: str, stream: "TextIO | None") -> OSError | None:
    """Write text to a stream as far as its encoding allows.

    After an error the stream leads nowhere, so that Python's own flush at the end of the process is no error either.

    Returns:
        The error that lost the text, for example of a full disk. None where all was written, and where nobody reads:
        the stream is closed, or the reader or the terminal has gone away.
    """
    if stream is None or stream.closed:  # Python has no stream where the process began without one
        return None
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))  # one call: lines of processes do not mix
        stream.flush()
    except OSError as error:
        nobody_reads = _nobody_reads(error, stream)
        _lead_nowhere(stream)
        return None if nobody_reads else error
    return None


def printable(text: str) -> str:
    r"""Return text with its control characters spelled out, as JSON spells them; line ends, tabs and blanks stay.

    JSON remains JSON with the same values: what is spelled stands inside its strings.
    """
    return text if text.isprintable() else "".join(c if _is_harmless(c) else json.dumps(c)[1:-1] for c in text)


class SteadyStream(io.TextIOBase):
    """A text stream for others to print to: it passes text on by `write`, and never raises.

    Bytes go to its `buffer`, which is that of the stream below and may raise.

    Attributes:
        error: The first error that lost text, such as a full disk.
    """

    errors = "replace"

    def __init__(self, stream: TextIO | None) -> None:
        """Write to a stream; to none where that is None."""
        self.error: OSError | None = None
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only in Python, too, but not in its stubs
        """The encoding of the stream below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes below, to which click writes completions; one that leads nowhere if there is none."""
        below: BinaryIO | None = getattr(self._stream, "buffer", None)
        return below if below is not None and not below.closed else io.BytesIO()

    def write(self, text: str) -> int:
        """Write text at once."""
        lost = write(text, self._stream)
        self.error = self.error or lost
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return whether the stream below is a terminal."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream below; UnsupportedOperation where there is none."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()


@contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for `say`; what anybody else prints meanwhile, such as a plugin, goes to stderr."""
    _own_stdout.append(_own_stdout[-1] if _own_stdout else sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _own_stdout.pop()


@contextmanager
def on_stderr() -> Iterator[None]:
    """Write to stderr all that `say` writes to stdout otherwise: of work inside a command that prints its own."""
    _own_stdout.append(sys.stderr)
    try:
        yield
    finally:
        _own_stdout.pop()


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _nobody_reads(error: OSError, stream: TextIO) -> bool:
    """Return whether text was lost because its reader went away, and not because it could not be kept."""
    if isinstance(error, ConnectionError) or error.errno == errno.EINVAL:  # Windows says EINVAL of a closed pipe
        return True
    try:
        return error.errno == errno.EIO and stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)  # of a terminal
    except (OSError, ValueError):
        return False


def _lead_nowhere(stream: TextIO) -> None:
    with suppress(OSError, ValueError):  # no file of the system, such as a StringIO
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


# --------------------------------------------------------------------------------- comma-separated values


def csv_text(rows: Iterable[Sequence[Any]], *, raw_cells: bool = False) -> str:
    """Return rows as comma-separated values, one line each.

    Args:
        rows: The header and all other rows. None becomes an empty cell; numbers keep all digits.
        raw_cells: Leave text that a spreadsheet would take for a formula as it is. By default it gets a `'` in front.
    """
    return "".join(",".join([_field(value, raw_cells) for value in row]) + "\n" for row in rows)


def cell(value: Any) -> Any:
    """Return a value for a cell of a spreadsheet: text that would be taken for a formula gets a `'` in front.

    Numbers stay as they are, and so does text that is a number, or a score as tables show it: "-3.2 ± 0.4 †".
    """
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS) and not _IS_SCORE.fullmatch(value):
        return f"'{value}"
    return value


def _field(value: Any, raw: bool) -> str:
    """Return one field of a line; what is no text is a number, a truth value, or nothing."""
    if isinstance(value, str):
        return _text_field(value, raw)
    return "" if value is None else str(value)


@lru_cache(4096)
def _text_field(text: str, raw: bool) -> str:
    """Return one field of a line, in quotes where it must be (RFC 4180); the same few texts stand in many lines."""
    if not raw:
        text = cell(text)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
