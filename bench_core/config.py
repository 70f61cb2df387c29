"""Frozen dataclasses <-> plain values: what `--set` and `board.toml` change, what keys are made of."""

import dataclasses
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from bench_core.errors import ConfigError, RequestError, shown

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class NoConfig:
    """For a component without parameters."""


def param(default: Any, help: str, source: str, *, in_key: bool = True, added: bool = False) -> Any:
    """A field of a Config: its default, what it means (unit, range), and where the default comes from.

    Args:
        default: Immutable.
        help: One line.
        source: Paper section, README command, or "ours: why".
        in_key: Whether it takes part in what defines a number; the path of data that has a digest does not.
        added: It came after numbers were published, and its default is what they were made with: keys leave it out
            while it has its default, so that a new option makes no row stale. Another default needs a new `revision`.
    """
    metadata = {"help": help, "source": source, "in_key": in_key, "added": added}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameter:
    """One line of `bench show`."""

    name: str
    type: str
    default: Any
    help: str
    source: str


def parameters(config_type: type) -> list[Parameter]:
    """Every parameter of a Config, in order."""
    hints = typing.get_type_hints(config_type)
    return [
        Parameter(
            f.name,
            _spell(hints[f.name]),
            f.default,
            f.metadata.get("help", ""),
            f.metadata.get("source", ""),
        )
        for f in dataclasses.fields(config_type)
    ]


def build(config_type: type[T], values: Mapping[str, Any], where: str, base: T | None = None) -> T:
    """An instance with these values over its defaults (or over `base`).

    Args:
        config_type: A frozen dataclass.
        values: Plain values, as TOML gives them.
        where: Named in errors: `nac` in "nac.flip".
        base: What is kept where `values` says nothing.

    Raises:
        ConfigError: A name that does not exist, a type that does not fit, a value that is refused.
    """
    hints = typing.get_type_hints(config_type)
    known = [f.name for f in dataclasses.fields(config_type)]  # type: ignore[arg-type]  # every Config is one
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]!r}?" if close else "."
            raise ConfigError(f"{where}.{name} does not exist{meant} Parameters: {', '.join(known) or 'none'}.")
    fitted = {name: _fit(value, hints[name], f"{where}.{name}") for name, value in values.items()}
    try:
        if base is not None:
            return dataclasses.replace(base, **fitted)  # type: ignore[type-var]  # every Config is a dataclass
        return config_type(**fitted)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {config_type.__name__} breaks: {type(error).__name__}: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML document from a file.

    Raises:
        RequestError: It cannot be read, or is not TOML.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise RequestError(f"{path} is not TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parsed; ValueError for all that can be wrong with it."""
    try:
        document = tomllib.loads(text)
        if not _is_bounded(document):
            raise ValueError("a whole number has more than 64 bits")
    except RecursionError as error:
        raise ValueError("lists or tables lie too deep in each other") from error
    return document


def _is_bounded(value: Any) -> bool:
    """Whether its whole numbers are such as TOML promises; those of thousands of digits cannot even be printed."""
    if isinstance(value, dict | list):
        return all(map(_is_bounded, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def plain(config: Any) -> dict[str, Any]:
    """Every parameter that defines a number, with its value, as JSON knows them (tuples become lists)."""
    hints = typing.get_type_hints(type(config))
    fields = [
        f
        for f in dataclasses.fields(config)
        if f.metadata.get("in_key", True) and not (f.metadata.get("added") and getattr(config, f.name) == f.default)
    ]
    return {f.name: _plain(_fit(getattr(config, f.name), hints[f.name], f.name)) for f in fields}


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _fit(value: Any, hint: Any, where: str) -> Any:
    """The value as its type says; a whole number serves as float, a list as tuple. Nothing else is converted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return _fit(value, option, where)
            except ConfigError:
                continue
    elif hint is types.NoneType:
        if value is None or value == "none":  # TOML has no null
            return None
    elif origin is typing.Literal:
        if value in args:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            items = args[:1] * len(value) if args[1:] == (Ellipsis,) else args
            if len(items) == len(value):
                return tuple(_fit(v, t, where) for v, t in zip(value, items, strict=True))
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
            return float(value)
    elif not isinstance(hint, type):
        raise ConfigError(f"{where} has a type that no Config may have ({hint}); use numbers, text, tuples or Literal")
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} must be {_spell(hint)}, got {shown(value)}")


def _spell(hint: Any) -> str:
    """A type as a person writes it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(repr(a) for a in args)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_spell(a) for a in args)
    if origin is tuple:
        return f"list of {_spell(args[0])}" if args[1:] == (Ellipsis,) else f"[{', '.join(map(_spell, args))}]"
    return "none" if hint is types.NoneType else str(hint.__name__)
