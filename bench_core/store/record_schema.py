"""What a record and an attempt must hold, so that whoever reads one need not ask: a store may come from anybody.

Each function answers with the first fault, in words, or None. What is not named here may stand in a record, too.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench_core.errors import shown

_AXES = ("dataset", "encoder", "method", "task")
_LONGEST = 500  # characters of a name
_LARGEST = 2**63  # of whole numbers, as other tools keep them

Test = Callable[[Any], bool]


def record_fault(record: Mapping[str, Any]) -> str | None:
    """Of a record, `doc` of which is a mapping."""
    return next(_record_faults(record), None)


def attempt_fault(attempt: Mapping[str, Any]) -> str | None:
    """Of an attempt; those of older code may lack all but `key`, and without `kind` count for nothing."""
    return next(_attempt_faults(attempt), None)


def _record_faults(record: Mapping[str, Any]) -> Iterator[str]:
    yield from _document(record["doc"])
    yield from _names(record)
    yield from _each(record, "scores", list, _score)
    for part, fields in _PARTS.items():
        held = record.get(part)
        if held is not None and not isinstance(held, Mapping):
            yield f"{part} must be an object"
        for field, test in fields.items():
            yield from _fields(held or {}, part, {field: test}, optional=True)
    yield from _fields((record.get("provenance") or {}).get("pretrain"), "provenance.pretrain", _MADE, optional=True)
    yield from _fields(record, "", {"protocol": _is_text, "notes": _is_texts}, optional=True)
    yield from _each(record, "curves", Mapping, _curve)
    yield from _each(record, "images", Mapping, _image)
    yield from _each(record, "items", Mapping, _items)


def _attempt_faults(attempt: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields(attempt, "", {"key": _is_name})
    yield from _fields(attempt, "", {"kind": _is_text, "error": _is_text, "log": _is_text}, optional=True)
    if attempt.get("kind"):
        yield from _names(attempt)
        if attempt.get("doc") is not None:
            yield from _document(attempt["doc"])
        else:
            yield from _fields(attempt, "", {"seed": _is_count})


def _document(doc: Any) -> Iterator[str]:
    """What defines a number, as far as tables read it."""
    place: Any = doc
    for name in ("embed", "pretrain"):
        place = place.get(name) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping):
        yield "doc.embed.pretrain must be an object"
        return
    yield from _fields(place, "doc.embed.pretrain", {"seed": _is_count})
    yield from _fields(place, "doc.embed.pretrain", {"recipe": _is_mapping}, optional=True)
    yield from _fields(place.get("recipe"), "recipe", {"epochs": _is_count, "batch_size": _is_count}, optional=True)
    for part, where in [(place.get(axis), axis) for axis in _AXES[:3]] + [(doc.get("task"), "task")]:
        yield from _fields(part, where, {"id": _is_name, "revision": _is_count})


def _names(held: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields(held.get("names"), "names", dict.fromkeys(_AXES, _is_name))


def _score(where: str, score: Any) -> Iterator[str]:
    needed = {"metric": _is_name, "unit": _is_text, "value": _is_number_or_none, "higher_is_better": _is_bool_or_none}
    yield from _fields(score, where, needed)
    yield from _fields(score, where, {"chance": _is_number, "n": _is_count, "embedding": _is_name}, optional=True)


def _curve(where: str, curve: Any) -> Iterator[str]:
    """Columns of one length."""
    if not _is_mapping(curve) or not all(_is_name(name) and isinstance(c, list) for name, c in curve.items()):
        yield f"{where} must hold lists"
    elif len({len(column) for column in curve.values()}) > 1:
        yield f"{where} must hold lists of one length"
    elif not all(_is_number_or_none(value) for column in curve.values() for value in column):
        yield f"{where} must hold numbers"


def _image(where: str, image: Any) -> Iterator[str]:
    if not _is_text(image):
        yield f"{where} must be text"


def _items(where: str, items: Any) -> Iterator[str]:
    """Per-item results that can be read."""
    faults = list(_fields(items, where, _KEPT))
    yield from faults
    if not faults:
        from bench_core.store.per_item import unpack_items  # loads torch

        try:
            unpack_items(items)
        except ValueError as error:
            yield f"{where}: {error}"


def _each(held: Mapping[str, Any], name: str, kind: type, faults: Callable[[str, Any], Iterator[str]]) -> Iterator[str]:
    """Of every item of a list or mapping; only a list has to be there."""
    items = held.get(name)
    if items is None and kind is not list:
        return
    named: Any = items.items() if isinstance(items, Mapping) else enumerate(items) if isinstance(items, list) else ()
    if not isinstance(items, kind):
        yield f"{name} must be {'a list' if kind is list else 'an object'}"
        return
    for place, item in named:
        if isinstance(place, str) and not _is_name(place):
            yield f"a name in {name} must be one line of text, got {shown(place)}"
        yield from faults(f"{name}[{place}]", item)


def _fields(held: Any, where: str, tests: Mapping[str, Test], *, optional: bool = False) -> Iterator[str]:
    """Of an object's fields; null stands for one that is not there."""
    if held is None and optional:
        return
    if not isinstance(held, Mapping):
        yield f"{where} must be an object, got {shown(held)}"
        return
    for name, test in tests.items():
        value = held.get(name)
        if not optional and name not in held:
            yield f"{where}{'.' if where else ''}{name} is missing"
        elif not (optional and value is None) and not test(value):
            yield f"{where}{'.' if where else ''}{name} cannot be {shown(value)}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_name(value: Any) -> bool:
    """One line that can be printed, and that no spreadsheet takes for a formula."""
    return isinstance(value, str) and value.isprintable() and value[:1].isalnum() and len(value) <= _LONGEST


def _is_number(value: Any) -> bool:
    """NaN and infinity are numbers, too; tables show them as failed."""
    return isinstance(value, float) or (_is_whole(value) and abs(value) < _LARGEST)


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_bool_or_none(value: Any) -> bool:
    return value is None or _is_bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 0 <= value < _LARGEST


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_KEPT: dict[str, Test] = {
    "split": _is_name, "which": _is_name, "n": _is_count, "type": ("hits", "float32").__contains__, "values": _is_text,
}  # fmt: skip
_MADE: dict[str, Test] = {
    "precision": _is_text, "device": _is_text, "threads": _is_count, "bench": _is_text, "commit": _is_text,
    "dirty": _is_bool, "torch": _is_text, "started": _is_text, "ended": _is_text, "command": _is_text,
}  # fmt: skip
_PARTS: dict[str, dict[str, Test]] = {
    "facts": {"uses_labels": _is_bool, "parameters": _is_count, "starts_from": _is_text, "warnings": _is_texts},
    "cost": dict.fromkeys(("pretrain_s", "embed_s", "task_s", "images_per_s", "peak_memory_gib"), _is_number),
    "provenance": _MADE,
}


AXES = ("dataset", "encoder", "method", "task")


def seed_of(doc: Mapping[str, Any]) -> int:
    """The chain's seed."""
    return int(doc["embed"]["pretrain"]["seed"])
