"""Checks of the JSON of a record and of an attempt, once, where it is read: a store may come from anybody.

Each function finds the first error and says it in words, or returns None. A record may hold further fields.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench_core.errors import shown
from bench_core.store.fields import (
    Test,
    field_errors,
    is_bool,
    is_bool_or_none,
    is_count,
    is_digest,
    is_file_name,
    is_mapping,
    is_name,
    is_number,
    is_number_or_none,
    is_text,
    is_texts,
    item_errors,
)
from bench_core.store.record import AXES

_ROUNDING = 1e-6  # by so much a value may leave the range of its unit
_UNIT_RANGES = {  # the smallest and the largest value that a unit allows
    "fraction": (0.0, 1.0),
    "points": (-100.0, 100.0),  # difference of two fractions, in per cent
    **dict.fromkeys(("difference", "correlation", "similarity"), (-1.0, 1.0)),
    **dict.fromkeys(("count", "bytes", "s", "classes", "ratio", "square"), (0.0, math.inf)),
}


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
    yield from item_errors(record, "scores", list, _score)
    yield from _repeated_metric(record["scores"])
    for part, tests in _PARTS.items():
        content = record.get(part)
        if content is not None and not isinstance(content, dict):
            yield f"{part} must be an object"
        yield from field_errors(content or {}, part, tests, optional=True)
    pretrain = (record.get("provenance") or {}).get("pretrain")
    yield from field_errors(pretrain, "provenance.pretrain", PROVENANCE, optional=True)
    if (outside := (record.get("facts") or {}).get("outside")) is not None:
        yield from field_errors(outside, "facts.outside", _OUTSIDE)
        yield from field_errors(outside, "facts.outside", _OUTSIDE_OPTIONAL, optional=True)
    yield from field_errors(record, "", _RECORD_OPTIONAL, optional=True)
    yield from item_errors(record, "curves", dict, _curve)
    yield from item_errors(record, "images", dict, _image)
    yield from item_errors(record, "items", dict, _items)


def _attempt_errors(attempt: Mapping[str, Any]) -> Iterator[str]:
    yield from field_errors(attempt, "", {"key": is_file_name})
    yield from field_errors(attempt, "", _ATTEMPT, optional=True)
    if attempt.get("kind") is not None:
        yield from _names(attempt)
        if attempt.get("doc") is not None:
            yield from _document(attempt["doc"])
        else:
            yield from field_errors(attempt, "", {"seed": is_count})


def _document(document: Any) -> Iterator[str]:
    """Check the fields of a document that are read anywhere."""
    pretrain: Any = document
    for name in ("embed", "pretrain"):
        pretrain = pretrain.get(name) if isinstance(pretrain, dict) else None
    if not isinstance(pretrain, dict):
        yield "doc.embed.pretrain must be an object"
        return
    yield from training_errors(pretrain, "doc.embed.pretrain")
    yield from _component(document.get("task"), "task")
    yield from field_errors(document, "doc", {"protocol": is_count}, optional=True)
    yield from field_errors(document["embed"], "doc.embed", {"protocol": is_count, "epoch": is_count}, optional=True)
    yield from item_errors(document, "others", dict, lambda where, other: _component(other, f"doc.{where}"))


def training_errors(pretrain: Any, where: str) -> Iterator[str]:
    """Yield what is wrong with the document of a training."""
    yield from field_errors(pretrain, where, {"seed": is_count})
    yield from field_errors(pretrain, where, _TRAINING, optional=True)
    if isinstance(pretrain, dict):
        yield from field_errors(pretrain.get("recipe"), "recipe", _RECIPE, optional=True)
        for axis in _TRAINED_AXES:
            yield from _component(pretrain.get(axis), axis)
        for name in ("init", "teacher"):
            yield from _start(pretrain.get(name), f"{where}.{name}")


def _component(component: Any, where: str) -> Iterator[str]:
    yield from field_errors(component, where, {"id": is_name, "revision": is_count})
    yield from field_errors(component, where, {"config": is_mapping, "held_out": _is_held_out}, optional=True)


def _is_held_out(value: Any) -> bool:
    """Return whether this says which part of a train split was held out."""
    fraction = value.get("fraction") if isinstance(value, dict) else None
    return isinstance(fraction, float) and 0 < fraction < 1


def _start(init: Any, where: str) -> Iterator[str]:
    """Check what a training starts from: nothing, a file, or another training and what that one starts from."""
    known: dict[str, Test] = {
        "sha256": is_digest,
        "chain": is_mapping,
        "part": is_text,
        "partial": (True,).__contains__,
    }
    yield from field_errors(init, where, known, optional=True)
    chain = init.get("chain") if isinstance(init, dict) else None
    if isinstance(chain, dict):
        yield from field_errors(chain, f"{where}.chain", {"recipe": is_mapping}, optional=True)
        yield from field_errors(chain.get("recipe"), f"{where}.chain.recipe", _RECIPE, optional=True)
        for axis in _TRAINED_AXES:
            if axis in chain:
                yield from _component(chain[axis], f"{where}.chain.{axis}")
        for name in ("init", "teacher"):
            yield from _start(chain.get(name), f"{where}.chain.{name}")


def repetition_error(document: Mapping[str, Any]) -> str | None:
    """Return what a record's document lacks so that its cell can be run again, or None; older records lack some."""
    return next(_repetition_errors(document), None)


def _repetition_errors(document: Mapping[str, Any]) -> Iterator[str]:
    pretrain = document["embed"]["pretrain"]
    yield from field_errors(document, "", {"protocol": is_count})
    yield from field_errors(pretrain, "", {"recipe": is_mapping, "precision": ("fp32", "bf16").__contains__})
    for axis in AXES:
        component = document["task"] if axis == "task" else pretrain[axis]
        yield from field_errors(component, axis, {"config": is_mapping})
    yield from _repeated_starts(pretrain, "")


def _repeated_starts(training: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what the trainings lack that a training needs."""
    for name in ("init", "teacher"):
        if chain := (training.get(name) or {}).get("chain"):
            link = f"{where}{name}.chain"
            yield from field_errors(chain, link, {"method": is_mapping, "recipe": is_mapping})
            yield from field_errors(chain["method"], f"{link}.method", {"config": is_mapping})
            yield from _repeated_starts(chain, f"{link}.")


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    yield from field_errors(content.get("names"), "names", dict.fromkeys(AXES, is_name))


def _score(where: str, score: Any) -> Iterator[str]:
    errors = [*field_errors(score, where, _SCORE), *field_errors(score, where, _SCORE_OPTIONAL, optional=True)]
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
    if not is_mapping(curve) or not all(is_name(name) and isinstance(c, list) for name, c in curve.items()):
        yield f"{where} must hold lists"
    elif len({len(column) for column in curve.values()}) > 1:
        yield f"{where} must hold lists of one length"
    elif not all(is_number_or_none(value) for column in curve.values() for value in column):
        yield f"{where} must hold numbers"


def _image(where: str, image: Any) -> Iterator[str]:
    if not is_text(image):
        yield f"{where} must be text"


def _items(where: str, items: Any) -> Iterator[str]:
    """Check that per-item results can be unpacked."""
    errors = list(field_errors(items, where, _ITEMS))
    yield from errors
    if not errors:
        from bench_core.store.per_item import unpack_items  # loads numpy

        try:
            unpack_items(items)
        except ValueError as error:
            yield f"{where}: {error}"


def is_sources(value: Any) -> bool:
    """Return whether this maps axes to digests of code."""
    return isinstance(value, dict) and all(axis in AXES and is_name(digest) for axis, digest in value.items())


def is_all_sources(value: Any) -> bool:
    """Return whether this is a list of such mappings, one for each version of the code."""
    return isinstance(value, list) and all(map(is_sources, value))


_TRAINED_AXES = tuple(axis for axis in AXES if axis != "task")
_TRAINING: dict[str, Test] = {"recipe": is_mapping, "precision": is_text, "protocol": is_count, "init": is_mapping,
    "teacher": is_mapping,
}  # fmt: skip
_RECIPE: dict[str, Test] = {  # of its parameters, those that tables show
    "epochs": is_count, "batch_size": is_count, "optimizer": is_name, "learning_rate": is_number,
}  # fmt: skip
_SCORE: dict[str, Test] = {
    "metric": is_name, "unit": is_text, "value": is_number_or_none, "higher_is_better": is_bool_or_none,
}  # fmt: skip
_SCORE_OPTIONAL: dict[str, Test] = {
    "chance": is_number, "n": is_count, "embedding": is_name, "best": is_number, "ranks": is_bool,
    "caveat": is_text,
}  # fmt: skip
_RECORD_OPTIONAL: dict[str, Test] = {
    "protocol": is_text, "notes": is_texts, "ranks": is_bool, "family": is_text,
}  # fmt: skip
_OUTSIDE: dict[str, Test] = {"name": is_name, "digest": is_digest, "one_network": is_bool}
_OUTSIDE_OPTIONAL: dict[str, Test] = dict.fromkeys(("trained_on", "revision", "source"), is_text)
_ITEMS: dict[str, Test] = {
    "split": is_name, "which": is_name, "n": is_count, "type": ("hits", "float32").__contains__, "values": is_text,
}  # fmt: skip
PROVENANCE: dict[str, Test] = {
    "precision": is_text, "device": is_text, "threads": is_count, "bench": is_text, "commit": is_text,
    "dirty": is_bool, "torch": is_text, "started": is_text, "ended": is_text, "command": is_text,
    "sources": is_sources, "embed_sources": is_sources, "earlier_sources": is_all_sources,
    "start_sources": is_all_sources, "resumed": is_count, "ranks": is_count,
}  # fmt: skip
_PARTS: dict[str, dict[str, Test]] = {
    "facts": {
        "uses_labels": is_bool,
        "parameters": is_count,
        "starts_from": is_text,
        "warnings": is_texts,
        "recipe_from": is_text,
        "shortened": is_text,
        "uses_factors": is_bool,
        "transductive": is_bool,
        "taught_by": is_text,
        "kept_epoch": is_count,
    },
    "cost": dict.fromkeys(("pretrain_s", "embed_s", "task_s", "images_per_s", "peak_memory_gib"), is_number),
    "provenance": PROVENANCE,
}
_ATTEMPT: dict[str, Test] = {"kind": is_text, "error": is_text, "log": is_text, "log_tail": is_texts}
