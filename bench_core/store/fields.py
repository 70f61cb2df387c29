"""Checks of the fields of a JSON object, and the tests of values that the schemas are made of.

    list(field_errors({"n": -1}, "scores[0]", {"n": is_count}))  ->  ["scores[0].n cannot be -1"]

JSON objects are dicts here, and are tested as such: a test for Mapping takes several times as long.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench_core.errors import shown

_LONGEST_NAME = 500  # characters
_LARGEST_INTEGER = 2**63  # the range of other tools
_DIGEST = re.compile("[0-9a-f]{64}")

Test = Callable[[Any], bool]


def field_errors(content: Any, where: str, tests: Mapping[str, Test], *, optional: bool = False) -> Iterator[str]:
    """Yield what is wrong with the fields of an object.

    Args:
        content: The object.
        where: Its place, for the message; "" at the top.
        tests: Field -> what its value must fulfil. Further fields are allowed.
        optional: Fields, and the object itself, may be missing, and null stands for a missing one.
    """
    if content is None and optional:
        return
    if not isinstance(content, dict):
        yield f"{where or 'it'} must be an object, got {shown(content)}"
        return
    for name, test in tests.items():
        value = content.get(name)
        if not optional and name not in content:
            yield f"{where}{'.' if where else ''}{name} is missing"
        elif not (optional and value is None) and not test(value):
            yield f"{where}{'.' if where else ''}{name} cannot be {shown(value)}"


def item_errors(
    content: Mapping[str, Any], name: str, kind: type, check: Callable[[str, Any], Iterator[str]]
) -> Iterator[str]:
    """Yield what is wrong with the items of a list or object; a list must be there, an object may be missing."""
    items: Any = content.get(name)
    if items is None and kind is not list:
        return
    if not isinstance(content.get(name), kind):
        yield f"{name} must be {'a list' if kind is list else 'an object'}"
        return
    pairs: Any = items.items() if kind is dict else enumerate(items)
    for position, item in pairs:
        if isinstance(position, str) and not is_name(position):
            yield f"a name in {name} must be one line of text, got {shown(position)}"
        yield from check(f"{name}[{position}]", item)


def is_text(value: Any) -> bool:
    """Return whether this is text."""
    return isinstance(value, str)


def is_texts(value: Any) -> bool:
    """Return whether this is a list of text."""
    return isinstance(value, list) and all(map(is_text, value))


def is_name(value: Any) -> bool:
    """Return whether this is one line that can be printed, and that no spreadsheet takes for a formula."""
    return isinstance(value, str) and value.isprintable() and value[:1].isalnum() and len(value) <= _LONGEST_NAME


def is_file_name(value: Any) -> bool:
    """Return whether this is a name that a file can have in every folder."""
    return is_name(value) and "/" not in value and "\\" not in value and len(value.encode()) <= 200


def is_digest(value: Any) -> bool:
    """Return whether this is a SHA-256, as keys are: 64 hexadecimal digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Return whether this is a number. NaN and infinity are; tables show them as failed."""
    return isinstance(value, float) or (_is_whole(value) and abs(value) < _LARGEST_INTEGER)


def is_number_or_none(value: Any) -> bool:
    """Return whether this is a number or null."""
    return value is None or is_number(value)


def is_bool(value: Any) -> bool:
    """Return whether this is true or false."""
    return isinstance(value, bool)


def is_bool_or_none(value: Any) -> bool:
    """Return whether this is true, false or null."""
    return value is None or is_bool(value)


def is_count(value: Any) -> bool:
    """Return whether this is a whole number >= 0."""
    return _is_whole(value) and 0 <= value < _LARGEST_INTEGER


def is_mapping(value: Any) -> bool:
    """Return whether this is an object."""
    return isinstance(value, dict)


def is_numbers(value: Any) -> bool:
    """Return whether this is an object of numbers and nulls."""
    return isinstance(value, dict) and all(map(is_number_or_none, value.values()))


def is_digests(value: Any) -> bool:
    """Return whether this maps names of files, different ones on every file system, to digests."""
    if not isinstance(value, dict) or not value:
        return False
    is_distinct = len({str(name).casefold() for name in value}) == len(value)
    return is_distinct and all(map(is_file_name, value)) and all(map(is_digest, value.values()))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
