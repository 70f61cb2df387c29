"""Everything that `bench` raises on purpose.

BenchError                  shown as one plain line; anything else keeps its traceback
├── RequestError            what was asked for cannot be done as asked (exit code 2)
│   ├── UnknownNameError    nothing of that kind has this name
│   ├── AmbiguousNameError  two distributions own this name
│   ├── ConfigError         a parameter does not exist, or its value does not fit
│   ├── PluginLoadError     the plugin that owns it is broken
│   └── DataMissingError    the data is not where it is looked for
├── StoreError              a record or artifact on disk is not what it should be
├── CheckError              a plugin fails a conformance check
└── TrainingError           a chain cannot go on (a loss that is not finite)
"""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 200  # characters of a value in a message


def one_line(text: str) -> str:
    """White space collapsed; what cannot be printed (newlines, escape sequences) is white space, too."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shown(value: object) -> str:
    """A value as a message names it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return f"a huge {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class BenchError(Exception):
    """Base of every error that is a message to the user; says what is wrong, what is right, what to type."""


class RequestError(BenchError):
    """What was asked for cannot be done as asked."""


class UnknownNameError(RequestError):
    """Nothing of this kind has this name.

    Args:
        kind: What was looked for, a singular noun ("objective").
        name: What was asked for.
        known: The names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        """Word the message, with the nearest name."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        close = get_close_matches(name, self.known, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else "."
        there = ", ".join(self.known) or "none"
        super().__init__(f"no {kind} named {shown(name)}{meant} Known: {there}.{' ' + hint if hint else ''}")


class AmbiguousNameError(RequestError):
    """Two distributions own this short name; the full id decides."""


class ConfigError(RequestError):
    """A parameter does not exist, or its value does not fit."""


class PluginLoadError(RequestError):
    """The plugin that owns what was asked for did not load."""


class DataMissingError(RequestError):
    """The data is not where it is looked for; says where that is and what to type."""


class StoreError(BenchError):
    """A record or artifact on disk is not what it should be."""


class CheckError(BenchError):
    """A plugin fails a conformance check."""


class TrainingError(BenchError):
    """A chain cannot go on: the loss is not finite."""
