"""All errors that `bench` raises on purpose, and helpers that format values for messages.

BenchError                  shown as one plain line; any other exception shows its traceback
├── RequestError            the command cannot be carried out as it was typed (exit code 2)
│   ├── UnknownNameError    no component of this kind has this name
│   ├── AmbiguousNameError  two packages register this name
│   ├── ConfigError         a parameter does not exist, or its value does not fit
│   ├── PluginLoadError     a plugin that is needed cannot be loaded
│   └── DataMissingError    a dataset is missing or damaged
├── StoreError              a record or another file of the store is damaged or does not fit
├── CheckError              a plugin fails a conformance check
└── TrainingError           a training cannot continue (the loss is not finite)
"""

from collections.abc import Iterable
from difflib import get_close_matches

_MAX_LENGTH = 200  # characters of a value in a message


def one_line(text: str) -> str:
    """Return text on one line: runs of white space and of unprintable characters become one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shown(value: object) -> str:
    """Return the repr of a value for a message, cut after 200 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number with thousands of digits; lists nested too deeply
        return f"a huge {type(value).__name__}"
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: "; did you mean 'nac'?", or "." where no name is similar.

    Upper and lower case do not matter: `NAC` is as near to `nac` as a name can be.
    """
    folded = {other.casefold(): other for other in sorted(known, reverse=True)}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else "."


class BenchError(Exception):
    """Base of all errors that are a message to the user: what is wrong, what would be right, what to type."""


class RequestError(BenchError):
    """The command cannot be carried out as it was typed."""


_MOST_NAMES = 100  # of a message that lists them; above, its hint says where they are listed


class UnknownNameError(RequestError):
    """No component of this kind has this name.

    Args:
        kind: Kind of the thing, a singular noun ("method").
        name: The unknown name.
        known: All names that exist.
        hint: A sentence added to the message.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        """Write the message, which suggests the most similar name."""
        self.kind, self.name, self.known = kind, name, sorted(known)
        many = len(self.known) > _MOST_NAMES
        names = f"{len(self.known)} names" if many else ", ".join(self.known) or "none"
        meant = did_you_mean(name, self.known)
        super().__init__(f"no {kind} named {shown(name)}{meant} Known: {names}.{' ' + hint if hint else ''}")


class AmbiguousNameError(RequestError):
    """Two packages register this short name; the full id `package/name` tells them apart."""


class ConfigError(RequestError):
    """A parameter does not exist, or its value does not fit."""


class PluginLoadError(RequestError):
    """A plugin that is needed cannot be loaded."""


class DataMissingError(RequestError):
    """A dataset is missing or damaged; the message names the path that was tried and what to type."""


class StoreError(BenchError):
    """A record or another file of the store is damaged or does not fit."""


class CheckError(BenchError):
    """A plugin fails a conformance check."""


class TrainingError(BenchError):
    """A training cannot continue: the loss is not finite."""
