"""Parameters of components: frozen dataclasses that `--set` and boards change and that keys are made of.

A Config is declared field by field with `param`, built from plain values with `build`, and turned into plain values
for a key with `plain`.
"""

import dataclasses
import sys
import tomllib
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench_core.errors import ConfigError, RequestError, did_you_mean, shown
from bench_core.ranges import Range, SearchSpace

T = TypeVar("T")


class Config:
    """Base of the frozen dataclasses that hold a component's parameters; checks each value against its `param` range.

    A class that checks several parameters together does so in its own `__post_init__`, after `super().__post_init__()`.
    """

    def __post_init__(self) -> None:
        """Check every parameter's range; ValueError names the parameter, its range and the value."""
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class NoConfig(Config):
    """The Config of a component that has no parameters."""


def param(
    default: Any,
    help: str,
    source: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: Collection[Any] | None = None,
    tune: SearchSpace | None = None,
    in_key: bool = True,
    added: bool = False,
    in_epochs: bool = False,
) -> Any:
    """Declare one parameter of a Config: default, meaning, source and range.

        temperature: float = param(0.5, "divides the cosine similarities", "README, CIFAR-10 command", gt=0)

    Args:
        default: The default value; immutable, and in range.
        help: One line that says what the parameter means and its unit; the range is shown beside it.
        source: Where the default comes from: paper section, README command, or "ours: why".
        gt: The value must be greater than this. All ranges hold for each element of a tuple; None is always allowed
            where the type allows it.
        ge: The value must be this or greater.
        lt: The value must be less than this.
        le: The value must be this or less.
        choices: The value must be one of these.
        tune: Search space from which `bench tune` draws this parameter (`log`, `uniform`, `choice`), if it may; see
            docs/tuning.md.
        in_key: False for a parameter that does not define a number, such as the path of data that has a digest.
        added: True for a parameter that came after numbers were published and whose default is what they were made
            with. Keys leave it out while it has its default, so that a new option makes no row stale. Another default
            needs a new `revision`.
        in_epochs: True for a part of the training that is counted in epochs, such as a warm-up. Where a request asks
            for fewer epochs, it gets shorter by the same ratio, see `shortened`. It needs `ge`, the least that a short
            run may have.

    Raises:
        ValueError: The default is out of range, the range contradicts itself, or `in_epochs` lacks `ge`.
    """
    span = Range(gt=gt, ge=ge, lt=lt, le=le, choices=choices)
    if not span.holds(default):
        raise ValueError(f"the default {default!r} must be {span}")
    if in_epochs and ge is None:
        raise ValueError(
            "in_epochs needs ge, the least that a short run may have: param(10, ..., ge=0, in_epochs=True)"
        )
    metadata = {"help": help, "source": source, "range": span, "tune": tune, "in_key": in_key, "added": added}
    return dataclasses.field(default=default, metadata={**metadata, "in_epochs": in_epochs})


def check_ranges(config: Any) -> None:
    """Check every field of a dataclass that `param` declared against its range.

    Raises:
        ValueError: A value is out of range; the message names the parameter, its range and the value.
    """
    for field in dataclasses.fields(config):
        span: Range | None = field.metadata.get("range")
        value = getattr(config, field.name)
        if span is not None and not span.holds(value):
            each = "each be" if isinstance(value, tuple) else "be"
            raise ValueError(f"{field.name} must {each} {span}, got {shown(value)}{span.why_not(value)}")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a Config, as `bench show` prints it."""

    name: str
    type: str
    default: Any
    help: str
    source: str
    range: str
    tune: SearchSpace | None
    in_epochs: bool


def parameters(config_type: type) -> list[Parameter]:
    """List every parameter of a Config, in the order of its fields."""
    hints = typing.get_type_hints(config_type)
    return [
        Parameter(
            name=field.name,
            type=_spell(hints[field.name]),
            default=field.default if field.default_factory is dataclasses.MISSING else field.default_factory(),
            help=field.metadata.get("help", ""),
            source=field.metadata.get("source", ""),
            range=str(field.metadata.get("range", "")),
            tune=field.metadata.get("tune"),
            in_epochs=field.metadata.get("in_epochs", False),
        )
        for field in dataclasses.fields(config_type)
    ]


def build(
    config_type: type[T], values: Mapping[str, Any], where: str, base: T | None = None, *, beside: Sequence[str] = ()
) -> T:
    """Build a Config from plain values, over its defaults or over `base`.

    Args:
        config_type: A frozen dataclass.
        values: Parameter name -> plain value, as TOML gives it.
        where: Prefix in error messages: `nac` in "nac.flip".
        base: An instance whose values stay where `values` has none.
        beside: What may be set under the same prefix beside the parameters, for the message about an unknown name.

    Raises:
        ConfigError: A parameter does not exist, or a value has the wrong type or is out of range.
    """
    hints = typing.get_type_hints(config_type)
    known = [f.name for f in dataclasses.fields(config_type)]  # type: ignore[arg-type]  # every Config is one
    for name in values:
        if name not in known:
            meant = did_you_mean(name, [*known, *beside])
            more = f" Also: {', '.join(beside)}." if beside else ""
            raise ConfigError(f"{where}.{name} does not exist{meant} Parameters: {', '.join(known) or 'none'}.{more}")
    fitted = {name: _fit(value, hints[name], f"{where}.{name}") for name, value in values.items()}
    try:
        if base is None:
            made: T = config_type(**fitted)
        else:
            made = dataclasses.replace(base, **fitted)  # type: ignore[type-var]  # every Config is a dataclass
        check_ranges(made)  # again, because a plugin's dataclass may not derive from Config
        return made
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {config_type.__name__} breaks: {type(error).__name__}: {error}") from error


def shortened(config: Any, epochs: int, usual: int) -> dict[str, Any]:
    """Return the parameters that are shorter in a shorter run: of 10 epochs instead of 1000, a warm-up of 10 lasts 0.1.

    These are the parameters that `param` declared as `in_epochs`. Whole numbers are rounded down, and no value falls
    below its `ge`.

    Args:
        config: A frozen dataclass.
        epochs: Epochs of the run.
        usual: Epochs that the values of the config were chosen for.

    Returns:
        Name -> value, for those whose value changes; none if the run is no shorter than usual.
    """
    hints = typing.get_type_hints(type(config))
    changed = {}
    for field in dataclasses.fields(config) if epochs < usual else ():
        if field.metadata.get("in_epochs"):
            value = _fit(getattr(config, field.name), hints[field.name], field.name)
            shorter = _shorten(value, epochs, usual, field.metadata["range"].ge)
            if shorter != value:
                changed[field.name] = shorter
    return changed


def _shorten(value: Any, epochs: int, usual: int, least: float) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple(_shorten(v, epochs, usual, least) for v in value)
    shorter = value * epochs // usual if isinstance(value, int) else value * epochs / usual
    return max(type(value)(least), shorter)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML document from a file; a byte order mark, which editors on Windows write, is passed over.

    Raises:
        RequestError: It cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise ValueError("it has null characters, as UTF-16 has; save it as UTF-8")
        return parse_toml(text)
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not TOML: it is not UTF-8 ({error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise RequestError(f"{path} is not TOML: {error}") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML document; anything wrong with it is a ValueError."""
    try:
        document = tomllib.loads(text)
        if not _is_bounded(document):
            raise ValueError("a whole number has more than 64 bits")
    except RecursionError as error:
        raise ValueError("lists or tables lie too deep in each other") from error
    return document


def _is_bounded(value: Any) -> bool:
    """Tell whether all whole numbers have at most 64 bits, as TOML promises; thousands of digits cannot be printed."""
    if isinstance(value, dict | list):
        return all(map(_is_bounded, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def plain(config: Any) -> dict[str, Any]:
    """Return every parameter that is part of a key, with its value as JSON has it (tuples become lists)."""
    hints = typing.get_type_hints(type(config))
    fields = [
        f
        for f in dataclasses.fields(config)
        if f.metadata.get("in_key", True) and not (f.metadata.get("added") and getattr(config, f.name) == f.default)
    ]
    return {f.name: _plain(_fit(getattr(config, f.name), hints[f.name], f.name)) for f in fields}


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def fits(value: Any, hint: Any) -> bool:
    """Return whether a parameter of this type takes the value; ranges are not looked at."""
    try:
        _fit(value, hint, "")
    except ConfigError:
        return False
    return True


def _fit(value: Any, hint: Any, where: str) -> Any:
    """Convert a value to its declared type: a whole number to float, a list to tuple, and nothing else.

    `bench_core.plugin_checks` has seen to it that a plugin declares no type but those below.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in sorted(args, key=lambda option: option is not types.NoneType):  # "none" is None before it is text
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
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} must be {_spell(hint)}, got {shown(value)}")


def _spell(hint: Any) -> str:
    """Write a type as people do: "int", "float | none", "list of int"."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(repr(a) for a in args)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_spell(a) for a in args)
    if origin is tuple:
        return f"list of {_spell(args[0])}" if args[1:] == (Ellipsis,) else f"[{', '.join(map(_spell, args))}]"
    return "none" if hint is types.NoneType else str(hint.__name__)
