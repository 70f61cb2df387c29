"""Texts of `--set` and `--sweep` -> values, each read as TOML."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bench_core.config import parse_toml
from bench_core.errors import ConfigError, shown

_TEXT = re.compile(r"[A-Za-z_~./][^\[\]{}\"'=,\n\r]*")  # taken as text without quotes: a name or a path


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """`NAME.PARAM=VALUE` texts -> settings; values are TOML, a bare word is taken as text.

    Raises:
        ConfigError: No '=', or a value that is not TOML.
    """
    return {path: _parse(value, f"--set {path}") for path, value in _pairs(texts, "--set nac.flip=0.2")}


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`NAME.PARAM=V1,V2` texts -> lists of values, each as `parse_settings` reads it.

    Raises:
        ConfigError: No '=', or a value that is not TOML.
    """
    sweeps: dict[str, list[Any]] = {}
    for path, values in _pairs(texts, "--sweep noisy_dim.noise=0,0.1,0.3"):
        if path in sweeps:
            raise ConfigError(f"--sweep {path} stands there twice; put all its values into one")
        try:
            sweeps[path] = _value(f"[{values}]")  # lists and quoted commas, too
        except ValueError:
            sweeps[path] = [_parse(value, f"--sweep {path}") for value in values.split(",")]
    return sweeps


def _pairs(texts: Sequence[str], example: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or "." not in path:
            raise ConfigError(f"{example.split()[0]} takes NAME.PARAM=VALUE, got {shown(text)}; for example {example}")
        yield path.strip(), value


def _parse(value: str, where: str) -> Any:
    try:
        return _value(value)
    except ValueError as error:
        if not _TEXT.fullmatch(value.strip()):
            raise ConfigError(
                f'{where}: {shown(value)} is not a TOML value (0.2, true, [1, 2], "text"): {error}'
            ) from error
        return value.strip()


def _value(text: str) -> Any:
    """One TOML value; ValueError where it is none, or goes on after its end."""
    document = parse_toml(f"value = {text}")
    if list(document) != ["value"]:
        raise ValueError("it has more than one line")
    return document["value"]
