"""Parse the texts of `--set` and `--sweep`. The type of a parameter decides how its value is read.

nac.flip=1e-1                  a number: values are TOML
vae.init=nac                   a name or a path needs no quotes
image_folder.path=2024-05-01   text, because the parameter is text; TOML alone would read a date
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_core.config import fits, parse_toml
from bench_core.errors import ConfigError, shown

_BARE_TEXT = re.compile(r"[A-Za-z_~./][^\[\]{}\"'=,\n\r]*")  # a name or a path, which needs no quotes
_UNQUOTED_LINE = re.compile(r"[^\"'\n\r][^\n\r]*")
_QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'")


@dataclass(frozen=True)
class Typed:
    """A value as it was typed, until the type of its parameter is known.

    Attributes:
        option: What messages name: "--set nac.flip".
        text: The characters after the `=`.
    """

    option: str
    text: str

    def read(self, declared: Any = None) -> Any:
        """Return the plain value.

        Args:
            declared: The parameter's type. Where it takes text but not the number, date or truth value that TOML
                reads, the value is the text as typed. None reads TOML or a bare word.

        Raises:
            ConfigError: The text is neither TOML nor a value of this type.
        """
        text = self.text.strip()
        is_text = declared is not None and bool(_UNQUOTED_LINE.fullmatch(text)) and fits(text, declared)
        try:
            value = _parse_toml_value(text)
        except ValueError as error:
            if is_text or _BARE_TEXT.fullmatch(text):
                return text
            raise ConfigError(
                f'{self.option}: {shown(self.text)} is not a TOML value (0.2, true, [1, 2], "text"): {error}'
            ) from error
        return text if is_text and not isinstance(value, list | dict) and not fits(value, declared) else value


def read_typed(values: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Read values, or lists of values, that were typed; values that come from Python stay as they are.

    Args:
        values: Parameter -> value, or list of values.
        types: Parameter -> its declared type; a parameter that is missing here does not exist and is refused later.
    """
    return {param: _read(value, types.get(param)) for param, value in values.items()}


def _read(value: Any, declared: Any) -> Any:
    if isinstance(value, list):
        return [_read(item, declared) for item in value]
    return value.read(declared) if isinstance(value, Typed) else value


def parse_settings(texts: Sequence[str]) -> dict[str, Typed]:
    """Parse texts NAME.PARAM=VALUE into {"NAME.PARAM": value}.

    Raises:
        ConfigError: A text has no '=', or two are of the same parameter.
    """
    settings: dict[str, Typed] = {}
    for path, text in _split(texts, "--set nac.flip=0.2"):
        if path in settings:
            raise ConfigError(f"--set {path} is given twice; give it once, or compare values: --sweep {path}=A,B")
        settings[path] = Typed(f"--set {path}", text)
    return settings


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[Typed]]:
    """Parse texts NAME.PARAM=A,B into {"NAME.PARAM": [a, b]}; commas in lists and in quotes separate nothing.

    Raises:
        ConfigError: A text has no '=', or two are of the same parameter.
    """
    sweeps: dict[str, list[Typed]] = {}
    for path, text in _split(texts, "--sweep noisy_dim.noise=0,0.1,0.3"):
        if path in sweeps:
            raise ConfigError(f"--sweep {path} is given twice; put all its values into one")
        sweeps[path] = [Typed(f"--sweep {path}", value) for value in _split_list(text)]
    return sweeps


def _split(texts: Sequence[str], example: str) -> Iterator[tuple[str, str]]:
    """Split each text at the first '='; the example is the option with a right text, for the message."""
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or "." not in path:
            raise ConfigError(f"{example.split()[0]} takes NAME.PARAM=VALUE, got {shown(text)}; for example {example}")
        yield path.strip(), value


def _split_list(text: str) -> list[str]:
    """Split a text at the commas outside of brackets and quotes, `beta(2, 5),gaussian`; one at the end is ignored."""
    parts, depth, position = [""], 0, 0
    while position < len(text):
        may_be_quoted = depth > 0 or not parts[-1].strip()  # the ' of /data/it's is no quote
        quoted = _QUOTED.match(text, position) if may_be_quoted else None
        piece = quoted[0] if quoted else text[position]
        position += len(piece)
        depth += (piece in "[{(") - (piece in ")}]")
        if piece == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += piece
    if not parts[-1].strip() and (len(parts) == 1 or parts[-2].strip()):
        parts.pop()
    return parts


def _parse_toml_value(text: str) -> Any:
    """Parse one TOML value; ValueError where there is none, or more than one."""
    document = parse_toml(f"value = {text}")
    if list(document) != ["value"]:
        raise ValueError("it has more than one line")
    return document["value"]
