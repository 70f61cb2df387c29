"""Parse the texts of `--set` and `--sweep`; their values are TOML."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bench_core.config import parse_toml
from bench_core.errors import ConfigError, shown

_BARE_TEXT = re.compile(r"[A-Za-z_~./][^\[\]{}\"'=,\n\r]*")  # a name or a path, which needs no quotes


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Parse texts NAME.PARAM=VALUE into {"NAME.PARAM": value}.

    Values are TOML. A name or path that is no TOML is taken as text.

    Raises:
        ConfigError: A text has no '=', or a value that is not TOML.
    """
    return {path: _parse_value(value, f"--set {path}") for path, value in _split(texts, "--set nac.flip=0.2")}


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Parse texts NAME.PARAM=A,B into {"NAME.PARAM": [a, b]}; each value as `parse_settings` reads it.

    Raises:
        ConfigError: A text has no '=', a value that is not TOML, or the parameter of another text.
    """
    sweeps: dict[str, list[Any]] = {}
    for path, values in _split(texts, "--sweep noisy_dim.noise=0,0.1,0.3"):
        if path in sweeps:
            raise ConfigError(f"--sweep {path} is given twice; put all its values into one")
        try:
            sweeps[path] = _parse_toml_value(f"[{values}]")  # also reads lists, and commas in quotes
        except ValueError:
            sweeps[path] = [_parse_value(value, f"--sweep {path}") for value in values.split(",")]
    return sweeps


def _split(texts: Sequence[str], example: str) -> Iterator[tuple[str, str]]:
    """Split each text at the first '='; the example is the option with a right text, for the message."""
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or "." not in path:
            raise ConfigError(f"{example.split()[0]} takes NAME.PARAM=VALUE, got {shown(text)}; for example {example}")
        yield path.strip(), value


def _parse_value(text: str, where: str) -> Any:
    """Parse one TOML value or bare text; ConfigError names `where`."""
    try:
        return _parse_toml_value(text)
    except ValueError as error:
        if not _BARE_TEXT.fullmatch(text.strip()):
            raise ConfigError(
                f'{where}: {shown(text)} is not a TOML value (0.2, true, [1, 2], "text"): {error}'
            ) from error
        return text.strip()


def _parse_toml_value(text: str) -> Any:
    """Parse one TOML value; ValueError where there is none, or more than one."""
    document = parse_toml(f"value = {text}")
    if list(document) != ["value"]:
        raise ValueError("it has more than one line")
    return document["value"]
