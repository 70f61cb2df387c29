"""The description of a dataset as JSON, so that an encoder can be built where the dataset is not."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from bench_core.contracts import DataSpec
from bench_core.errors import StoreError, shown

_LISTS = ("shape", "mean", "std")  # tuples, which JSON has as lists


def spec_to_json(data: DataSpec) -> dict[str, Any]:
    """Return a description as plain values; parts that have their defaults are left out."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(data):
        value = getattr(data, field.name)
        if value == field.default:
            continue
        if field.name == "modalities":
            value = {name: spec_to_json(modality) for name, modality in value.items()}
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        plain[field.name] = value
    return plain


def spec_from_json(plain: Any, where: str) -> DataSpec:
    """Build a description from plain values.

    Args:
        plain: What `spec_to_json` returned, read from a file.
        where: The file, for messages.

    Raises:
        StoreError: It describes no data.
    """
    known = get_type_hints(DataSpec)
    if not isinstance(plain, Mapping) or not plain.keys() <= known.keys():
        raise StoreError(f"{where} does not describe its data: {shown(plain)}.")
    values = dict(plain)
    if not _is_shape(values.get("shape")) or not isinstance(values.get("splits"), Mapping):
        raise StoreError(f"{where} does not describe its data: shape or splits are missing.")
    for name in _LISTS:
        if values.get(name) is not None:
            if not _are_numbers(values[name]):
                raise StoreError(
                    f"{where} does not describe its data: {name} = {shown(values[name])} is no list of numbers."
                )
            values[name] = tuple(values[name])
    if values.get("modalities") is not None:
        if not isinstance(values["modalities"], Mapping):
            raise StoreError(f"{where} does not describe its data: modalities = {shown(values['modalities'])}.")
        values["modalities"] = {name: spec_from_json(part, where) for name, part in values["modalities"].items()}
    return DataSpec(**values)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) in (int, float) for number in value)
