"""Checks of the JSON of a record and of an attempt, once, where it is read: a store may come from anybody.

Each function finds the first error and says it in words, or returns None. A record may hold further fields.
JSON objects are dicts here, and are tested as such: a test for Mapping takes several times as long.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench_core.errors import shown
from bench_core.store.record import AXES

_LONGEST_NAME = 500  # characters
_LARGEST_INTEGER = 2**63  # the range of other tools
_ROUNDING = 1e-6  # by so much a value may leave the range of its unit
_UNIT_RANGES = {  # the smallest and the largest value that a unit allows
    "fraction": (0.0, 1.0),
    "points": (-100.0, 100.0),  # difference of two fractions, in per cent
    **dict.fromkeys(("difference", "correlation", "similarity"), (-1.0, 1.0)),
    **dict.fromkeys(("count", "bytes", "s", "classes", "ratio", "square"), (0.0, math.inf)),
}

Test = Callable[[Any], bool]


def record_error(record: Mapping[str, Any]) -> str | None:
    """Return the first error of a record, or None; its `doc` must be a mapping."""
    return next(_record_errors(record), None)


def attempt_error(attempt: Mapping[str, Any]) -> str | None:
    """Return the first error of an attempt, or None.

    Attempts of older code may lack everything but `key`; those without `kind` count for nothing.
    """
    return next(_attempt_errors(attempt), None)


def _record_errors(record: Mapping[str, Any]) -> Iterator[str]:
    yield from _document(record["doc"])
    yield from _names(record)
    yield from _each(record, "scores", list, _score)
    yield from _repeated_metric(record["scores"])
    for part, tests in _PARTS.items():
        content = record.get(part)
        if content is not None and not isinstance(content, dict):
            yield f"{part} must be an object"
        yield from _fields(content or {}, part, tests, optional=True)
    pretrain = (record.get("provenance") or {}).get("pretrain")
    yield from _fields(pretrain, "provenance.pretrain", _PROVENANCE, optional=True)
    yield from _fields(record, "", _RECORD_OPTIONAL, optional=True)
    yield from _each(record, "curves", dict, _curve)
    yield from _each(record, "images", dict, _image)
    yield from _each(record, "items", dict, _items)


def _attempt_errors(attempt: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields(attempt, "", {"key": _is_name})
    yield from _fields(attempt, "", _ATTEMPT, optional=True)
    if attempt.get("kind"):
        yield from _names(attempt)
        if attempt.get("doc") is not None:
            yield from _document(attempt["doc"])
        else:
            yield from _fields(attempt, "", {"seed": _is_count})


def _document(document: Any) -> Iterator[str]:
    """Check the fields of a document that tables read."""
    pretrain: Any = document
    for name in ("embed", "pretrain"):
        pretrain = pretrain.get(name) if isinstance(pretrain, dict) else None
    if not isinstance(pretrain, dict):
        yield "doc.embed.pretrain must be an object"
        return
    yield from _fields(pretrain, "doc.embed.pretrain", {"seed": _is_count})
    yield from _fields(pretrain, "doc.embed.pretrain", {"recipe": _is_mapping}, optional=True)
    yield from _fields(pretrain.get("recipe"), "recipe", _RECIPE, optional=True)
    for axis in AXES:
        component = document.get("task") if axis == "task" else pretrain.get(axis)
        yield from _fields(component, axis, {"id": _is_name, "revision": _is_count})


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _fields(content.get("names"), "names", dict.fromkeys(AXES, _is_name))


def _score(where: str, score: Any) -> Iterator[str]:
    errors = [*_fields(score, where, _SCORE), *_fields(score, where, _SCORE_OPTIONAL, optional=True)]
    yield from errors
    if not errors:
        for name in ("value", "chance", "best"):
            if error := unit_error(score.get(name), score["unit"]):
                yield f"{where}.{name} {error}"


def unit_error(value: float | None, unit: str) -> str | None:
    """Return why a value cannot be in its unit, or None: "1.5 is no fraction: it must lie in [0, 1]".

    Any value fits a unit that has no range here. NaN and infinity are numbers that could not be measured; they fit.
    """
    if value is None or not math.isfinite(value) or unit not in _UNIT_RANGES:
        return None
    low, high = _UNIT_RANGES[unit]
    if low - _ROUNDING <= value <= high + _ROUNDING:
        return None
    allowed = f"lie in [{low:g}, {high:g}]" if math.isfinite(high) else f"be at least {low:g}"
    return f"{shown(value)} is beyond what the unit {unit} allows: it must {allowed}"


def _repeated_metric(scores: list[Mapping[str, Any]]) -> Iterator[str]:
    metrics = [score["metric"] for score in scores]
    if len(set(metrics)) < len(metrics):
        repeated = next(metric for metric in metrics if metrics.count(metric) > 1)
        yield f"scores holds the metric {shown(repeated)} twice"


def _curve(where: str, curve: Any) -> Iterator[str]:
    """Check that the columns of a curve are numbers and have one length."""
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
    """Check that per-item results can be unpacked."""
    errors = list(_fields(items, where, _ITEMS))
    yield from errors
    if not errors:
        from bench_core.store.per_item import unpack_items  # loads torch

        try:
            unpack_items(items)
        except ValueError as error:
            yield f"{where}: {error}"


def _each(
    content: Mapping[str, Any], name: str, kind: type, check: Callable[[str, Any], Iterator[str]]
) -> Iterator[str]:
    """Check every item of a list or mapping; a list must be there, a mapping may be missing."""
    items: Any = content.get(name)
    if items is None and kind is not list:
        return
    if not isinstance(content.get(name), kind):
        yield f"{name} must be {'a list' if kind is list else 'an object'}"
        return
    pairs: Any = items.items() if kind is dict else enumerate(items)
    for position, item in pairs:
        if isinstance(position, str) and not _is_name(position):
            yield f"a name in {name} must be one line of text, got {shown(position)}"
        yield from check(f"{name}[{position}]", item)


def _fields(content: Any, where: str, tests: Mapping[str, Test], *, optional: bool = False) -> Iterator[str]:
    """Check the fields of an object; where they are optional, null stands for a missing one."""
    if content is None and optional:
        return
    if not isinstance(content, dict):
        yield f"{where} must be an object, got {shown(content)}"
        return
    for name, test in tests.items():
        value = content.get(name)
        if not optional and name not in content:
            yield f"{where}{'.' if where else ''}{name} is missing"
        elif not (optional and value is None) and not test(value):
            yield f"{where}{'.' if where else ''}{name} cannot be {shown(value)}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_name(value: Any) -> bool:
    """Return whether this is one line that can be printed, and that no spreadsheet takes for a formula."""
    return isinstance(value, str) and value.isprintable() and value[:1].isalnum() and len(value) <= _LONGEST_NAME


def _is_number(value: Any) -> bool:
    """Return whether this is a number. NaN and infinity are; tables show them as failed."""
    return isinstance(value, float) or (_is_whole(value) and abs(value) < _LARGEST_INTEGER)


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_bool_or_none(value: Any) -> bool:
    return value is None or _is_bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 0 <= value < _LARGEST_INTEGER


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_sources(value: Any) -> bool:
    """Return whether this maps axes to digests of code."""
    return isinstance(value, dict) and all(axis in AXES and _is_name(digest) for axis, digest in value.items())


def _is_all_sources(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_sources, value))


_RECIPE: dict[str, Test] = {  # of its parameters, those that tables show
    "epochs": _is_count, "batch_size": _is_count, "optimizer": _is_name, "learning_rate": _is_number,
}  # fmt: skip
_SCORE: dict[str, Test] = {
    "metric": _is_name, "unit": _is_text, "value": _is_number_or_none, "higher_is_better": _is_bool_or_none,
}  # fmt: skip
_SCORE_OPTIONAL: dict[str, Test] = {
    "chance": _is_number, "n": _is_count, "embedding": _is_name, "best": _is_number, "ranks": _is_bool,
    "caveat": _is_text,
}  # fmt: skip
_RECORD_OPTIONAL: dict[str, Test] = {
    "protocol": _is_text, "notes": _is_texts, "ranks": _is_bool, "family": _is_text,
}  # fmt: skip
_ITEMS: dict[str, Test] = {
    "split": _is_name, "which": _is_name, "n": _is_count, "type": ("hits", "float32").__contains__, "values": _is_text,
}  # fmt: skip
_PROVENANCE: dict[str, Test] = {
    "precision": _is_text, "device": _is_text, "threads": _is_count, "bench": _is_text, "commit": _is_text,
    "dirty": _is_bool, "torch": _is_text, "started": _is_text, "ended": _is_text, "command": _is_text,
    "sources": _is_sources, "embed_sources": _is_sources, "earlier_sources": _is_all_sources,
    "start_sources": _is_all_sources, "resumed": _is_count,
}  # fmt: skip
_PARTS: dict[str, dict[str, Test]] = {
    "facts": {
        "uses_labels": _is_bool,
        "parameters": _is_count,
        "starts_from": _is_text,
        "warnings": _is_texts,
        "recipe_from": _is_text,
        "shortened": _is_text,
    },
    "cost": dict.fromkeys(("pretrain_s", "embed_s", "task_s", "images_per_s", "peak_memory_gib"), _is_number),
    "provenance": _PROVENANCE,
}
_ATTEMPT: dict[str, Test] = {"kind": _is_text, "error": _is_text, "log": _is_text, "log_tail": _is_texts}
