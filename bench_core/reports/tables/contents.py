"""Parameters that belong to one axis of an entry: what tells apart two things of the same name."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench_core.store.record import Document

Leaves = dict[str, str]  # dotted name of a parameter -> its value as JSON

_encode = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class Content:
    """The parameters of one axis.

    Attributes:
        text: All of them in one canonical text.
        leaves: Each of them.
    """

    text: str
    leaves: Leaves


def content_of(document: Document | None, axis: str, names: Mapping[str, str]) -> Content | None:
    """Return the parameters that belong to one axis, by dotted name; the seed belongs to none.

    The encoder that a row has in place of the table's belongs to the method.

    Args:
        document: The document of an entry; what was found is kept in its memos.
        axis: "dataset", "encoder", "method" or "task".
        names: The names of the entry.

    Returns:
        None where the document is not known, or does not hold the table's encoder.
    """
    has_own_encoder = "own_encoder" in names
    if document is None or (axis == "encoder" and has_own_encoder):
        return None
    of_task, of_training = document.memos or ({}, {})
    memo = of_task if axis == "task" else of_training
    embedding = _encode(_without(document.embed, "pretrain")) if axis == "method" else ""
    key = ("content", axis, has_own_encoder, "fold" in names, embedding)
    if key not in memo:
        leaves = _leaves(document, axis, has_own_encoder=has_own_encoder, has_fold="fold" in names)
        memo[key] = Content(json.dumps(leaves, sort_keys=True), leaves)
    content: Content = memo[key]
    return content


def _leaves(document: Document, axis: str, *, has_own_encoder: bool, has_fold: bool) -> Leaves:
    if axis in ("dataset", "encoder"):
        leaves = dict(_flat(document.component(axis)))
        if axis == "dataset" and has_fold:
            leaves["config.fold"] = "null"  # as for the rows beside it, which have the whole set
        return leaves
    if axis == "task":
        others = _without(document.content, "task", "embed")
        return {**dict(_flat(document.component("task"))), **dict(_flat(others))}
    others_of_method = () if has_own_encoder else ("encoder",)
    training = _without(document.pretrain, "method", "dataset", "seed", *others_of_method)
    embedding = {"embed": _without(document.embed, "pretrain")}
    return {**dict(_flat(document.component("method"))), **dict(_flat(training)), **dict(_flat(embedding))}


def _without(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if name == "sha256" and tree.get("by_seed"):
            continue  # it belongs to the seed, as other seeds of the row have other weights
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _encode(value)  # "1" is not 1
